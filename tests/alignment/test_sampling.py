from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skpadim.alignment.frames import AlignedFrame
from skpadim.alignment.hidden import hidden_patches, rarely_seen
from skpadim.alignment.motion import Motion
from skpadim.alignment.sampling import Sampler

RNG = np.random.default_rng(0)


def shifted(down, across, size):
    return Motion(1 + 0j, complex(across / size, down / size))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_whole_pixels_are_copied_and_what_is_not_there_is_filled(dtype):
    photo = torch.from_numpy(RNG.integers(0, 256, (1, 16, 16, 3), dtype=np.uint8))
    photo = photo if dtype == torch.uint8 else photo / 255
    sampler = Sampler(1.0, (16, 16), (16, 16))
    fill = torch.full((3, 16, 16), 9.0 if dtype == torch.uint8 else 0.5)
    motion = shifted(3, -2, 16)
    found = sampler.sample(sampler.reduce(photo), motion, fill)
    assert found.dtype == dtype
    assert_allclose(found[0, :13, 2:], photo[0, 3:, :14], atol=1e-5)
    outside = sampler.outside(motion)
    assert_array_equal(found[0][outside], fill.permute(1, 2, 0)[outside])
    expected = np.zeros((16, 16), bool)
    expected[13:], expected[:, :2] = True, True
    assert_array_equal(outside, expected)


def test_grey_photos_get_three_colours():
    sampler = Sampler(1.0, (8, 8), (8, 8))
    photo = torch.from_numpy(RNG.integers(0, 256, (1, 8, 8, 1), dtype=np.uint8))
    found = sampler.sample(photo, Motion(), torch.zeros(3, 8, 8))
    assert_array_equal(found, photo.expand(-1, -1, -1, 3))


def test_a_large_photo_is_antialiased():
    # Stripes of one pixel, sampled without, would beat.
    stripes = torch.zeros(1, 200, 200, 3, dtype=torch.uint8)
    stripes[:, :, ::2] = 200
    sampler = Sampler(1.0, (32, 32), (32, 32))
    turned = Motion(cmath.rect(1, math.radians(10)))
    found = sampler.sample(sampler.reduce(stripes), turned, torch.full((3, 32, 32), 100.0))
    assert abs(found[0, 4:-4, 4:-4].float() - 100).max() < 6


def test_a_crop_is_the_middle_of_the_whole():
    photo = torch.from_numpy(RNG.integers(0, 256, (1, 40, 50, 3), dtype=np.uint8))
    motion = Motion(cmath.rect(1, 0.1), 0.02j)
    whole, cropped = (Sampler(1.25, (20, 24), seen) for seen in ((20, 24), (12, 16)))
    nothing = torch.zeros(3, 1, 1)
    parts = [each.sample(each.reduce(photo), motion, nothing) for each in (whole, cropped)]
    assert_array_equal(parts[0][:, 4:16, 4:20], parts[1])


def test_turned_pixels_come_from_where_the_definition_says():
    ramp = torch.linspace(0, 1, 64)[None, None, :, None].expand(1, 64, 64, 3).contiguous()
    sampler = Sampler(1.0, (64, 64), (64, 64))
    found = sampler.sample(ramp, Motion(cmath.rect(1, math.radians(90))), torch.zeros(3, 64, 64))
    # A point of the template lies, in a photo of a part turned clockwise by 90 degrees, where y has become
    # -x.
    assert_allclose(found[0, :, 30, 0], np.linspace(1, 0, 64), atol=1e-5)


def test_patches_are_hidden_of_which_over_a_quarter_is_outside():
    sampler = Sampler(1.0, (16, 16), (16, 16))
    hidden = hidden_patches(
        sampler, [Motion(), shifted(0, 1, 16), shifted(0, 2, 16), shifted(-6, 0, 16)], (4, 4)
    )
    assert not hidden[0].any()
    assert not hidden[1].any()
    assert_array_equal(hidden[2].numpy(), np.tile([False, False, False, True], (4, 1)))
    assert_array_equal(hidden[3].numpy()[:, 0], [True, True, False, False])


def test_places_that_over_a_tenth_of_good_photos_hide_are_rarely_seen():
    hidden = torch.zeros(20, 3, 2, dtype=torch.bool)
    hidden[:2, 0, 0] = True  # a tenth
    hidden[:3, 2, 1] = True
    expected = np.zeros((9, 4), bool)
    expected[6:, 2:] = True
    assert_array_equal(rarely_seen(hidden, (9, 4)), expected)


def test_pixels_that_share_a_patch_that_is_seen_are_kept():
    hidden = torch.zeros(1, 3, 1, dtype=torch.bool)
    hidden[0, 0] = True
    # Of 10 rows, the first patch has 0 to 3, the second 3 to 6.
    assert_array_equal(rarely_seen(hidden, (10, 1))[:, 0], [True] * 3 + [False] * 7)


def frame(motion, resized=(20, 20), seen=(20, 20)):
    return AlignedFrame(resized, seen, 1.0, motion)


def test_a_map_comes_back_to_where_the_photo_shows_it():
    seen = torch.from_numpy(RNG.random((20, 20), dtype=np.float32))
    back = frame(shifted(5, -3, 20)).map_at(seen, (20, 20))
    assert_allclose(back[5:, :17], seen[:15, 3:], atol=1e-5)
    assert back[:5].isnan().all()
    assert back[:, 17:].isnan().all()


def test_what_a_crop_leaves_out_is_not_looked_at():
    back = frame(Motion(), seen=(10, 12)).map_at(torch.ones(10, 12), (40, 40))
    assert_array_equal(back.isnan().numpy()[:, 20], [True] * 10 + [False] * 20 + [True] * 10)


@pytest.mark.parametrize("size", [(7, 9), (20, 20), (55, 43)])
def test_no_marked_pixel_is_lost_and_each_peak_lies_in_its_mark(size):
    moved = frame(Motion(cmath.rect(1.02, 0.4), 0.03 - 0.02j))
    for row, column in RNG.integers(6, 14, (30, 2)):
        seen = torch.zeros(20, 20, dtype=torch.bool)
        seen[row, column] = True
        mask = moved.mask_at(seen, size)
        rows, columns = moved.pixels_at(np.array([row]), np.array([column]), size)
        assert mask[rows[0], columns[0]]
        assert mask.sum() <= max(1, 4 * (size[0] * size[1]) / 400)


def test_pixels_lie_where_the_definition_moves_them():
    moved = Motion(cmath.rect(1.0, 0.3), 0.1 + 0.05j)
    rows, columns = frame(moved).pixels_at(np.array([4]), np.array([15]), (40, 80))
    z = moved.turn * complex(15.5 / 20 - 0.5, 4.5 / 20 - 0.5) + moved.shift
    assert (rows[0], columns[0]) == (int((z.imag + 0.5) * 40), int((z.real + 0.5) * 80))


def test_maps_and_masks_as_they_lie_have_the_size_that_the_network_sees():
    moved = frame(Motion(cmath.rect(1, 0.2)), seen=(12, 14))
    assert moved.as_it_lies(torch.ones(12, 14)).shape == (12, 14)
    assert moved.as_it_lies(torch.ones(12, 14, dtype=torch.bool)).dtype == torch.bool

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

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

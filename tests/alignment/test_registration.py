from __future__ import annotations

import cmath

import numpy as np
import pytest
import torch

from skpadim.alignment.edges import edge_images, make_levels, normalised, pyramid, small_grey
from skpadim.alignment.motion import Motion
from skpadim.alignment.refine import Likeness
from skpadim.alignment.registration import Placement, Registration
from skpadim.alignment.search import Limits
from skpadim.alignment.template import centred, fits_of, learn_template
from tests.alignment.shapes import part, parts, textures

ANY = Limits(angle=180, shift=0.25, scale=0.05)
SIDE = 128


def seen(photo, levels):
    grey = small_grey(torch.from_numpy(photo).permute(2, 0, 1)[None], levels[-1].size)
    return grey, pyramid(edge_images(grey), levels)


def register(photo, limits=ANY):
    levels = make_levels(1.0)
    grey, edges = seen(part(SIDE), levels)
    return Registration(grey, edges[-1], 1.0, limits).find(*seen(photo, levels))


@pytest.mark.parametrize(
    ("angle", "shift", "scale"),
    [(0, (0, 0), 1), (7.3, (5.2, -9.6), 1), (-41, (12, 3.3), 1.04), (92, (0, 0), 0.96), (179.5, (-8, -8), 1)],
)
def test_a_moved_part_is_found_to_a_fraction_of_a_pixel(angle, shift, scale):
    found = register(part(SIDE, angle=angle, shift=shift, scale=scale, seed=1))
    assert abs((found.motion.angle - angle + 180) % 360 - 180) < 0.2
    assert abs(found.motion.shift * SIDE - complex(shift[1], shift[0])) < 0.15
    assert abs(found.motion.scale - scale) < 0.004
    assert found.fit > 0.9


def test_what_may_not_move_does_not():
    moved = part(SIDE, angle=4, shift=(3, 5), scale=1.03)
    assert register(moved, Limits(0, 0.25, 0)).motion.turn == 1
    turned = register(moved, Limits(180, 0.25, 0))
    assert abs(turned.motion.scale - 1) < 1e-6
    assert abs(turned.motion.angle - 4) < 0.5


def test_light_changes_no_place():
    photo = part(SIDE, angle=20, shift=(2, 4))
    as_it_is, darker = register(photo), register((photo * 0.4 + 30).astype(np.uint8))
    assert abs(as_it_is.motion.angle - darker.motion.angle) < 0.1
    assert abs(as_it_is.motion.shift - darker.motion.shift) * SIDE < 0.1


@pytest.mark.parametrize("photo", [np.full((SIDE, SIDE, 3), 77, np.uint8), textures(1, SIDE)[0][..., None]])
def test_where_no_part_is_nothing_fits(photo):
    assert register(np.repeat(photo, 3 // photo.shape[-1], axis=-1)).fit < 0.5


def test_a_blank_photo_has_no_edges():
    assert not edge_images(torch.full((1, 1, 16, 16), 0.3)).any()


def test_pictures_are_centred_and_of_norm_1():
    one = normalised(torch.arange(70.0).sin().view(2, 1, 5, 7))
    assert torch.allclose(one.mean((2, 3)), torch.zeros(2, 1), atol=1e-6)
    assert torch.allclose(one.flatten(2).norm(dim=2), torch.ones(2, 1))


def test_grey_is_itu_r_bt_601():
    pixels = torch.tensor([255, 0, 51], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert torch.allclose(small_grey(pixels, (8, 8)), torch.tensor(0.299 + 0.114 * 0.2))


def test_likeness_is_numpys_correlation_where_both_are_known():
    rng = np.random.default_rng(0)
    picture, photo = rng.normal(size=(2, 60)).astype(np.float32)
    inside = np.arange(60) < 40
    likeness = Likeness(torch.from_numpy(picture).view(1, 1, 6, 10))
    rows = torch.from_numpy(np.stack([photo * inside, photo * 0])), torch.from_numpy(np.stack([inside] * 2))
    found, nothing = likeness(rows[0], rows[1].float())
    assert found == pytest.approx(np.corrcoef(picture[inside], photo[inside])[0, 1], abs=1e-5)
    assert nothing == 0


def test_too_little_is_no_likeness():
    rows = torch.arange(60.0).sin()[None], torch.zeros(1, 60)
    rows[1][:, :10] = 1
    assert Likeness(torch.arange(60.0).cos().view(1, 1, 6, 10))(*rows) == [0.0]


def test_a_template_lies_where_parts_do_on_average():
    photos, moves = parts(12, SIDE, max_angle=10, max_shift=8, seed=3)
    pixels = torch.from_numpy(photos).permute(0, 3, 1, 2)
    template = learn_template(small_grey(pixels, make_levels(1.0)[-1].size), 1.0, ANY)
    truth = [Motion(cmath.rect(1, np.radians(a)), complex(x, d) / SIDE) for a, d, x in moves]
    # From the template to the part as it is drawn unmoved: the same from every photo.
    same = [t.inverse().after(p.motion) for t, p in zip(truth, template.placements, strict=True)]
    assert np.ptp([each.angle for each in same]) < 0.2
    shifts = np.array([each.shift for each in same]) * SIDE
    assert abs(shifts - shifts.mean()).max() < 0.1
    assert abs(np.mean([p.motion.angle for p in template.placements])) < 0.2
    assert fits_of(template.placements).min() > 0.9


def test_the_middle_of_motions_is_the_identity():
    rng = np.random.default_rng(0)
    turned = np.exp(1j * rng.uniform(0.2, 0.4, 20)) * rng.uniform(1.0, 1.1, 20)
    shifts = rng.normal(0.1, 0.05, 20) + 1j * rng.normal(-0.2, 0.05, 20)
    motions = centred(
        [Motion(complex(turn), complex(shift)) for turn, shift in zip(turned, shifts, strict=True)]
    )
    assert abs(np.mean([each.angle for each in motions])) < 1
    assert np.mean([np.log(each.scale) for each in motions]) == pytest.approx(0, abs=1e-9)
    nearest = abs(np.mean([each.turn.conjugate() * each.shift for each in motions]))
    assert nearest == pytest.approx(0, abs=1e-9)


def test_placements_go_through_numbers():
    placement = Placement(Motion(0.5 + 0.1j, 0.2 - 0.3j), 0.7)
    assert Placement.from_numbers(placement.numbers()) == placement

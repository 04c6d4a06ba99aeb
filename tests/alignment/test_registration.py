from __future__ import annotations

import numpy as np
import pytest
import torch

from skpadim.alignment.edges import edge_images, make_levels, pyramid, small_grey
from skpadim.alignment.motion import Motion
from skpadim.alignment.registration import Placement, Registration
from skpadim.alignment.search import Limits
from tests.alignment.shapes import part, textures

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


def test_placements_go_through_numbers():
    placement = Placement(Motion(0.5 + 0.1j, 0.2 - 0.3j), 0.7)
    assert Placement.from_numbers(placement.numbers()) == placement

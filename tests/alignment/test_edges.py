from __future__ import annotations

import numpy as np
import torch
from numpy.testing import assert_allclose

from skpadim.alignment.edges import (
    edge_images,
    grey_on_canvas,
    make_levels,
    normalised,
    pyramid,
    small_grey,
)


def test_a_blank_photo_has_no_edges():
    assert not edge_images(torch.full((1, 1, 16, 16), 0.3)).any()


def test_pictures_are_centred_and_of_norm_1():
    one = normalised(torch.arange(70.0).sin().view(2, 1, 5, 7))
    assert torch.allclose(one.mean((2, 3)), torch.zeros(2, 1), atol=1e-6)
    assert torch.allclose(one.flatten(2).norm(dim=2), torch.ones(2, 1))


def test_grey_is_itu_r_bt_601():
    pixels = torch.tensor([255, 0, 51], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert torch.allclose(small_grey(pixels, (8, 8)), torch.tensor(0.299 + 0.114 * 0.2))


def test_levels_double_and_keep_the_shape_of_the_frame():
    assert [level.size for level in make_levels(2.0)] == [(12, 24), (24, 48), (48, 96)]
    assert make_levels(0.05)[0].size == (24, 8)  # a strip is not squeezed to nothing
    edges = normalised(torch.arange(96.0 * 48).sin().view(1, 1, 48, 96))
    found = pyramid(edges, make_levels(2.0))
    assert [each.shape[2:] for each in found] == [(12, 24), (24, 48), (48, 96)]
    assert all(abs(each.norm() - 1) < 1e-5 for each in found)
    mean = edges.view(24, 2, 48, 2).mean((1, 3))
    assert torch.allclose(found[1][0, 0], normalised(mean[None, None])[0, 0], atol=1e-6)


def test_photos_lie_in_a_frame_by_their_shares_and_their_border_goes_on():
    level = make_levels(1.0)[0]
    photo = torch.from_numpy(np.random.default_rng(0).random((1, 1, 12, 24), dtype=np.float32))
    padded = grey_on_canvas(photo, level, (0.5, 1.0))[0, 0]
    assert_allclose(padded[6:18], photo[0, 0], atol=1e-5)
    assert_allclose(padded[:6], photo[0, 0, :1].expand(6, -1), atol=1e-5)
    assert_allclose(padded[18:], photo[0, 0, -1:].expand(6, -1), atol=1e-5)
    tall = torch.from_numpy(np.random.default_rng(0).random((1, 1, 48, 24), dtype=np.float32))
    assert_allclose(grey_on_canvas(tall, level, (2.0, 1.0))[0, 0], tall[0, 0, 12:36], atol=1e-5)

"""What a network sees of photos of a wrong aspect: which patches are padding, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skpadim.view import PhotoView

SIZE, PATCHES, MEAN = (24, 32), (6, 4), (0.5, 0.5, 0.5)


def view(way):
    return PhotoView(way, SIZE, SIZE, PATCHES, "bilinear", MEAN)


def plain_hidden(resized):
    """Patches of 4 x 8 pixels of which more than a quarter is beside a photo in the centre."""
    padding = np.ones(SIZE, bool)
    top, left = ((whole - part) // 2 for whole, part in zip(SIZE, resized, strict=True))
    padding[top : top + resized[0], left : left + resized[1]] = False
    hidden = np.zeros(PATCHES, bool)
    for row, column in np.ndindex(PATCHES):
        hidden[row, column] = padding[4 * row : 4 * row + 4, 8 * column : 8 * column + 8].mean() > 0.25
    return hidden


SEEN_AS = {(24, 32): (24, 32), (10, 20): (16, 32), (100, 500): (6, 32), (60, 20): (24, 8), (90, 95): (24, 25)}


def test_patches_are_hidden_of_which_over_a_quarter_is_padding():
    batch = view("pad").batch([], list(SEEN_AS))
    for found, resized in zip(batch.hidden.numpy(), SEEN_AS.values(), strict=True):
        assert_array_equal(found, plain_hidden(resized))
    assert not batch.hidden[0].any() and batch.hidden[2].any()


@pytest.mark.parametrize("way", ["stretch", "crop"])
def test_photos_that_are_not_padded_hide_nothing(way):
    assert view(way).batch([], list(SEEN_AS)).hidden is None
    assert view(way).shown(list(SEEN_AS)) is None
    assert view(way).rarely_seen([(10, 500)] * 5) is None


def test_windows_show_the_photo():
    rows, columns = view("pad").shown([(100, 500)])[0]
    assert (rows, columns) == (slice(9, 15), slice(0, 32))


def test_what_over_a_tenth_of_good_photos_leave_to_padding_is_rarely_seen():
    padded = np.kron(plain_hidden((16, 32)), np.ones((4, 8), bool))
    assert_array_equal(view("pad").rarely_seen([(10, 20)] * 2 + [(24, 32)] * 8), padded)
    assert not view("pad").rarely_seen([(10, 20)] + [(24, 32)] * 9).any()
    assert view("pad").rarely_seen([]) is None


def test_every_photo_has_its_own_way_back():
    pad, crop = (view(way).batch([], [(10, 20), (60, 20)]).frames for way in ("pad", "crop"))
    seen = torch.arange(32.0).expand(24, 32)
    whole = pad[1].map_at(seen, (24, 8)).numpy()
    assert_array_equal(whole, np.broadcast_to(np.arange(12, 20), (24, 8)))
    rows = crop[1].map_at(seen.T.contiguous().T, (96, 32)).numpy()
    assert np.isnan(rows[:36]).all() and np.isnan(rows[60:]).all()
    assert_array_equal(rows[36:60], seen)
    assert torch.allclose(pad[0].map_at(torch.ones(24, 32), (10, 20)), torch.ones(10, 20))


def test_marks_beside_a_photo_are_those_of_its_nearest_pixel():
    (frame,) = view("pad").batch([], [(16, 32)]).frames
    seen = torch.zeros(24, 32, dtype=torch.bool)
    seen[3, 7] = True  # one row above the photo
    marked = np.argwhere(frame.mask_at(seen, (16, 32)).numpy())
    assert marked.tolist() == [[0, 7]]
    assert [each.tolist() for each in frame.pixels_at(np.array([3]), np.array([7]), (16, 32))] == [[0], [7]]


def test_more_sizes_come_than_are_kept():
    seen = view("pad")
    sizes = [(10 + i, 20) for i in range(200)]
    hidden = seen.batch([], sizes).hidden
    assert torch.equal(hidden[7], seen.batch([], [sizes[7]]).hidden[0])

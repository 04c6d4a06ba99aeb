"""Copies: images with the same pixels, wherever they stand in the stream, and no others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from skpadim.images.collection import check_images
from skpadim.images.copies import (
    as_numbers,
    copy_groups,
    explain_copies,
    explain_scattered_copies,
    pixel_digests,
)


def draw(n_images, *, side=12, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n_images, side, side, 3), dtype=np.uint8)


def groups(X, batch_size=4, size=(12, 12)):
    batches = check_images(X).batches(batch_size, size, None, 1)
    digests = [digest for batch in batches for digest in pixel_digests(batch.pixels)]
    return copy_groups(as_numbers(digests))


def first_of_the_same(X):
    """Compare every pair, pixel by pixel."""
    return [next(j for j, other in enumerate(X) if np.array_equal(image, other)) for image in X]


@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("as_float", [False, True])
def test_groups_are_those_of_comparing_every_pair(batch_size, as_float):
    chosen = np.random.default_rng(1).integers(0, 15, 30)
    X = draw(15)[chosen]
    found = groups(X.astype(np.float32) / 300 if as_float else X, batch_size)
    assert found.tolist() == first_of_the_same(X)
    assert found.dtype.kind == "i"


def test_one_value_of_one_pixel_tells_images_apart():
    X = np.repeat(draw(1), 6, axis=0)
    for index in range(1, 6):
        X[index, 2 * index, index, index % 3] ^= 1
    assert groups(X).tolist() == [*range(6)]
    assert groups(X.astype(np.float32) / 300).tolist() == [*range(6)]


def test_the_same_values_in_another_shape_are_no_copy():
    values = torch.arange(72, dtype=torch.uint8)
    wide, high = values.reshape(1, 4, 6, 3), values.reshape(1, 6, 4, 3)
    digests = [pixel_digests(image.permute(0, 3, 1, 2))[0] for image in (wide, high, wide)]
    assert copy_groups(as_numbers(digests)).tolist() == [0, 1, 0]


def test_bytes_that_share_a_batch_with_floats_are_still_bytes():
    photos = draw(3)
    X = [photos[0], photos[1], photos[2], photos[0], photos[1].astype(np.float32) / 300, photos[1]]
    assert groups(X, batch_size=3).tolist() == [0, 1, 2, 0, 4, 1]
    # The first row is in whole 255ths, the rest is not.
    mixed = photos[2].astype(np.float32) / 255
    mixed[1:] += np.float32(1e-4)
    assert groups([photos[2], mixed.clip(0, 1), mixed.clip(0, 1)]).tolist() == [0, 1, 1]


def test_files_of_other_names_and_formats_are_copies(tmp_path):
    from PIL import Image

    photos = draw(2)
    for name, photo in [("a.png", photos[0]), ("b.png", photos[1]), ("c.bmp", photos[0])]:
        Image.fromarray(photo).save(tmp_path / name)
    assert groups(sorted(tmp_path.iterdir())).tolist() == [0, 1, 0]


def test_memory_layout_of_the_batch_does_not_decide():
    pixels = torch.from_numpy(draw(5)).permute(0, 3, 1, 2)
    assert pixel_digests(pixels) == pixel_digests(pixels.contiguous())


@pytest.mark.parametrize("since", [0, 1, 7, 30])
def test_copies_of_old_ones_are_found_among_new_ones(since):
    digests = np.random.default_rng(2).integers(0, 12, 30).astype(np.uint64)
    assert copy_groups(digests, since).tolist() == first_of_the_same(digests)[since:]


def test_eight_bytes_are_kept_of_an_image():
    assert {len(digest) for digest in pixel_digests(torch.from_numpy(draw(3)).permute(0, 3, 1, 2))} == {8}


def test_message_counts_and_names_them():
    digests = np.array([4, 5, 5, 4, 5], dtype=np.uint64)
    assert explain_copies(digests[:2], str) is None
    said = explain_copies(digests, lambda place: f"X[{place}]")
    assert said.startswith("3 of 5 images in X are exact copies of others, the first: X[2] of X[1]. ")
    assert "left out together" in said and "Pass each image once" in said
    said = explain_copies(digests, lambda place: f"X[{place}]", since=3)
    assert said.startswith("2 of 2 images in X are exact copies of others, the first: X[3] of X[0]. ")


def test_copies_in_other_groups_are_told():
    digests = np.array([4, 5, 5, 4, 5], dtype=np.uint64)
    names = [f"X[{place}]" for place in range(5)]
    together = np.array([1, 2, 2, 1, 2], dtype=np.uint64)
    assert explain_scattered_copies(digests, together, names.__getitem__) is None
    scattered = np.array([1, 2, 2, 1, 3], dtype=np.uint64)
    said = explain_scattered_copies(digests, scattered, names.__getitem__)
    assert said.startswith(
        "1 of 5 images in X are exact copies of images of other groups, the first: X[4] of X[1]. "
    )
    assert "false_alarm_rate" in said and "one group" in said
    assert explain_scattered_copies(digests, scattered, names.__getitem__, since=4).startswith(
        "1 of 1 images"
    )


def test_nothing_seen_has_no_copies():
    assert copy_groups(np.empty(0, np.uint64)).tolist() == []
    assert explain_copies(np.empty(0, np.uint64), str) is None

"""Parts of photos are whole batches, and as many whoever works on them."""

from __future__ import annotations

import pytest

from skpadim.parallel.partition import part_size


@pytest.mark.parametrize("n_images", [1, 31, 100, 5_000, 20_000, 1_000_000])
@pytest.mark.parametrize("batch_size", [1, 32, 100])
def test_parts_are_whole_batches_neither_few_nor_large(n_images, batch_size):
    size = part_size(n_images, batch_size)
    assert size % batch_size == 0
    assert size < 1024 + batch_size
    assert -(-n_images // size) >= min(16, -(-n_images // batch_size)) / 2


def test_photos_of_unknown_number_come_in_the_largest_parts():
    assert part_size(None, 32) == part_size(10**6, 32) == 1024
    assert part_size(None, 32, most=256) == 256


def test_there_are_not_too_many_parts_to_merge():
    assert 10**8 / 4096 <= part_size(10**8, 32) < 10**8 / 4096 + 32

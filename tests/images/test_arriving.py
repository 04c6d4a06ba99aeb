"""Photos of which nobody knows how many will come."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from skpadim.images.arriving import as_arriving

GREY = np.zeros((8, 8), np.uint8)


class Endless:
    """An iterable without a length."""

    def __iter__(self):
        while True:
            yield GREY


class Bag:
    """It is asked for as little as a bag of Dask."""

    npartitions = 2

    def __init__(self):
        self.computed = []

    def to_delayed(self):
        return [Partition(self, number) for number in range(self.npartitions)]


class Partition:
    def __init__(self, bag, number):
        self.bag, self.number = bag, number

    def compute(self):
        self.bag.computed.append(self.number)
        return [GREY, GREY, GREY]


def test_no_more_is_taken_than_a_part_wants():
    taken = []
    parts = as_arriving(taken.append(number) or GREY for number in range(100)).parts(7)
    first, second = next(parts), next(parts)
    assert (len(taken), first.first, second.first, len(second)) == (14, 0, 7, 7)
    assert len(next(as_arriving(Endless()).parts(5))) == 5


def test_partitions_of_a_bag_are_computed_one_at_a_time():
    bag = Bag()
    parts = as_arriving(bag).parts(2)
    next(parts)
    assert bag.computed == [0]
    assert [len(part) for part in parts] == [2, 2]


def test_messages_name_a_photo_by_its_place_among_all():
    with pytest.raises(TypeError, match=r"X\[3\] must be a path"):
        list(as_arriving(iter([GREY, GREY, GREY, 5])).parts(2))


@pytest.mark.parametrize(
    "X", [[GREY], (GREY,), np.zeros((3, 8, 8)), pd.Series(["a.png"]), "a.png", {"a": 1}, 3], ids=type
)
def test_collections_do_not_arrive(X):
    assert as_arriving(X) is None

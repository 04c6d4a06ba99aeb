"""Which photos are shown: plain sorting, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skpadim.plotting.choice import check_choice, choose, peaks, take


def test_highest_scores_come_first_and_equal_ones_as_they_came():
    scores = np.random.default_rng(0).integers(0, 5, 40).astype(float)
    scores[3] = np.nan
    plain = sorted(set(range(40)) - {3}, key=lambda index: (-scores[index], index))
    assert choose(scores, None, "score").tolist() == [*plain, 3]
    assert choose(scores, 7, "score").tolist() == plain[:7]
    assert choose(scores, 7, "given").tolist() == list(range(7))


def test_peaks_are_of_what_was_looked_at():
    maps = [np.array([[1.0, np.nan], [3.0, 2.0]]), np.full((2, 2), np.nan), np.array([[np.inf, 1]])]
    assert_array_equal(peaks(maps), [3.0, np.nan, np.inf])


def test_take_takes_of_any_iterable_and_counts():
    assert take("y", iter("abc"), np.array([2, 0]), 3) == ["c", "a"]
    assert take("y", None, np.array([2, 0]), 3) is None
    with pytest.raises(ValueError, match="masks holds 3, expected one per image: 4"):
        take("masks", iter("abc"), np.array([0]), 4)


@pytest.mark.parametrize("max_images", [0, -1, 2.5, True])
def test_other_numbers_are_refused(max_images):
    with pytest.raises(ValueError, match="max_images is"):
        check_choice(max_images, "score")
    check_choice(None, "given")
    check_choice(np.int64(3), "score")

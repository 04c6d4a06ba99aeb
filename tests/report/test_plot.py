"""Where scores stand."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from skpadim.report.plot import HEIGHT, LENGTH, Axis, dots, make_axis


@pytest.mark.parametrize("axis", [Axis(2.0, 12.0, is_log=False), Axis(2.0, 512.0, is_log=True)])
def test_places_go_from_end_to_end(axis):
    assert axis.place(2.0) == 0
    assert axis.place(1e9) == axis.place(math.inf) == 1
    assert axis.place(-5.0) == 0
    # Halfway: the mean of the ends, or of their logarithms.
    assert axis.place(32.0 if axis.is_log else 7.0) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (Axis(13.0, 68.0, is_log=False), [20, 40, 60]),
        (Axis(0.0, 1.0, is_log=False), [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (Axis(-0.011, 0.02, is_log=False), [-0.01, 0, 0.01, 0.02]),
        (Axis(3.0, 120.0, is_log=True), [5, 10, 20, 50, 100]),
    ],
)
def test_ticks_are_round(axis, expected):
    assert axis.ticks() == pytest.approx(expected)


def test_the_axis_holds_all_scores_and_the_threshold():
    axis = make_axis([3.0, 5.0, math.nan, math.inf], 9.0)
    assert not axis.is_log
    assert axis.low < 3 < 9 < axis.high < 10
    assert make_axis([3.0, 5.0, 36.1], 9.0).is_log
    assert not make_axis([0.0, 5.0, 36.1], 9.0).is_log, "nought has no logarithm"


@pytest.mark.parametrize("score", [0.0, 4.0])
def test_one_score_alone_has_an_axis(score):
    axis = make_axis([score], score)
    assert axis.low < score < axis.high
    assert axis.ticks()


def test_every_score_has_a_dot_and_dots_that_coincide_one():
    scores = np.linspace(1, 9, 50)
    axis = make_axis(scores, 5.0)
    places = [tuple(map(int, found)) for found in re.findall(r"M(\d+) (\d+)h0", dots(scores, axis))]
    expected = sorted(round(LENGTH * (score - axis.low) / (axis.high - axis.low)) for score in scores)
    assert [x for x, _ in places] == expected
    assert all(0 < y < HEIGHT for _, y in places)
    many = dots(np.full(100_000, 5.0), axis)
    assert many.count("M") <= HEIGHT

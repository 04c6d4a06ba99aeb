"""Grids of pairs: where each photo stands, and figures as pictures."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skpadim.plotting.figures import figure_image, make_pairs

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.mark.parametrize(("n", "n_columns"), [(1, 1), (3, 1), (4, 2), (8, 2), (12, 3), (50, 4)])
def test_pairs_stand_side_by_side_row_by_row(n, n_columns):
    axes = make_pairs(None, [1.0] * n)
    axes[0, 0].figure.canvas.draw()
    left, right = (np.array([single.get_position().p0 for single in side]) for side in axes.T)
    assert_allclose(left[:, 1], right[:, 1])
    assert len(np.unique(left[:, 1].round(6))) == -(-n // n_columns)
    order = np.lexsort((left[:, 0].round(6), -left[:, 1].round(6)))
    assert order.tolist() == list(range(n))
    assert (left[:, 0] < right[:, 0]).all()
    assert axes[0, 0].figure.get_size_inches()[0] < 14


def test_a_part_of_a_figure_gives_the_whole():
    figure = plt.figure(figsize=(4, 2))
    part, _ = figure.subfigures(1, 2)
    part.subplots()
    assert figure_image(part, 50).size == (200, 100)

"""Outlines, hatches and the legend: only of what is there."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skpadim.plotting.marks import MARKED, draw_outline, hatch, legend_handles, over_grey

plt = pytest.importorskip("matplotlib.pyplot")


def test_nothing_is_drawn_of_an_empty_mask():
    _, axes = plt.subplots()
    empty = np.zeros((4, 5), dtype=bool)
    draw_outline(axes, empty, 1.0, **MARKED)
    hatch(axes, empty)
    assert not axes.collections
    assert not legend_handles([empty], [], [empty.astype(float)])


def test_outline_closes_at_the_border():
    _, axes = plt.subplots()
    draw_outline(axes, np.ones((4, 5), dtype=bool), 1.0, **MARKED)
    vertices = np.concatenate([path.vertices for path in axes.collections[0].get_paths()])
    assert_allclose(vertices.min(axis=0), -0.5)
    assert_allclose(vertices.max(axis=0), (4.5, 3.5))


def test_colours_over_grey_are_a_plain_blend():
    position = np.linspace(0, 1, 256)[:, None]
    weight = 0.6 * position**2 * (3 - 2 * position)
    expected = weight * plt.get_cmap("cividis")(position[:, 0])[:, :3] + (1 - weight) * 0.5
    assert_allclose(over_grey("cividis", 0.6)(np.arange(256))[:, :3], expected, atol=1e-12)

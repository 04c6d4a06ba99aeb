"""Outlines and runs against the plain definitions: a winding of angles, and one pixel after another."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skpadim.datasets.outlines import box, circle, decompress, fill, roll, unroll

CORNERS = st.tuples(st.integers(-4, 40), st.integers(-4, 40))


def is_inside(x, y, outline):
    """Say by the crossings of a ray to the right, from exact integers: twice a coordinate is one."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(outline, outline[1:] + outline[:1], strict=True):
        if (2 * y0 > 2 * y) != (2 * y1 > 2 * y):
            crossings += x < x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    return crossings % 2 == 1


def compress(runs):
    """Write runs as COCO's documentation says."""
    text = ""
    for index, run in enumerate(runs):
        value = run - (runs[index - 2] if index > 2 else 0)
        while True:
            bits, value = value & 31, value >> 5
            last = value == (-1 if bits & 16 else 0)
            text += chr(48 + bits + (0 if last else 32))
            if last:
                break
    return text


@settings(max_examples=150, deadline=None)
@given(st.lists(CORNERS, min_size=3, max_size=9))
def test_pixels_whose_middles_are_inside(outline):
    expected = np.array([[is_inside(x + 0.5, y + 0.5, outline) for x in range(36)] for y in range(30)])
    marked = fill(tuple(outline), (30, 36))
    if expected.any():
        # A middle that lies on an edge may go either way.
        differs = np.argwhere(marked != expected)
        assert all(is_on_edge(x + 0.5, y + 0.5, outline) for y, x in differs)


def is_on_edge(x, y, outline):
    for (x0, y0), (x1, y1) in zip(outline, outline[1:] + outline[:1], strict=True):
        length = math.hypot(x1 - x0, y1 - y0)
        if length and abs((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) / length < 1e-9:
            return True
    return False


def test_whole_pixels():
    marked = fill(box(2, 1, 5, 3), (4, 6))
    assert_array_equal(np.argwhere(marked), [[y, x] for y in (1, 2) for x in (2, 3, 4)])


def test_neighbours_share_no_pixel_and_leave_none_out():
    corner = (17.5, 9.5)  # the middle of a pixel
    frame = [(0, 0), (30, 0), (30, 20), (0, 20)]
    parts = [fill((a, b, corner), (20, 30)) for a, b in zip(frame, frame[1:] + frame[:1], strict=True)]
    assert_array_equal(np.sum(parts, axis=0), 1)


def test_outline_that_runs_around_a_hole_and_back():
    ring = ((0, 0), (9, 0), (9, 9), (0, 9), (0, 0), (3, 3), (3, 6), (6, 6), (6, 3), (3, 3))
    expected = np.ones((9, 9), dtype=bool)
    expected[3:6, 3:6] = False
    assert_array_equal(fill(ring, (9, 9)), expected)


def test_outline_that_goes_beyond_the_photo():
    assert fill(box(-5, -5, 50, 50), (7, 8)).all()
    assert not fill(box(20, 20, 50, 50), (7, 8)).any()


def test_outline_too_thin_to_hold_the_middle_of_a_pixel():
    marked = fill(((0.6, 2.7), (7.4, 2.7), (7.4, 2.8), (0.6, 2.8)), (5, 9))
    assert_array_equal(np.argwhere(marked), [[2, x] for x in range(8)])
    diagonal = fill(((0.1, 0.1), (4.9, 4.9), (0.1, 0.1)), (5, 5))
    assert_array_equal(diagonal, np.eye(5, dtype=bool))


@pytest.mark.parametrize("radius", [3.5, 20.25])
def test_area_of_a_circle(radius):
    marked = fill(circle((30, 30), (30, 30 - radius)), (60, 60))
    away = np.hypot(*(np.indices((60, 60)) + 0.5 - 30))
    assert marked[away < radius - 0.05].all()
    assert not marked[away > radius + 0.05].any()


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_runs_column_after_column(height, width, data):
    values = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(values).reshape(width, height).T  # so that values go down the columns
    runs, value = [0], False
    for marked in values:
        if marked != value:
            runs.append(0)
            value = marked
        runs[-1] += 1
    assert roll(mask) == tuple(runs)
    assert_array_equal(unroll(runs, (height, width)), mask)
    assert decompress(compress(runs)) == tuple(runs)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 2**33), min_size=1, max_size=20))
def test_compressed_runs(runs):
    assert decompress(compress(runs)) == tuple(runs)


def test_runs_as_coco_s_own_tool_writes_them():
    """By pycocotools 2.0.11, of a square with a square hole."""
    mask = np.zeros((40, 50), dtype=bool)
    mask[10:30, 20:40] = True
    mask[15:25, 25:35] = False
    text = "Zi0d0d000000000AF0:0F0:0F0:0F0:0F0:0F0:0F0:0F0:0F0:0F0:?00000000V<"
    assert_array_equal(unroll(decompress(text), mask.shape), mask)
    assert_array_equal(unroll(decompress("0130003"), (3, 5)), np.eye(3, 5, dtype=bool))
    assert decompress("04") == (0, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [("1 2", "' ' does not occur"), ("é", "does not occur"), ("1P", "end within a number")],
)
def test_runs_that_are_not_compressed(text, message):
    with pytest.raises(ValueError, match=message):
        decompress(text)

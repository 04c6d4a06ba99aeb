"""FeaturePyramid against numpy and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import KFold, cross_val_score, train_test_split
from sklearn.utils import _safe_indexing
from torch.nn import functional

from plain import draw_pyramid
from skpadim import FeaturePyramid, PatchGaussian
from skpadim.pyramid import CoarseToFine, check_batches

N_IMAGES = 6


def numbered_pyramid():
    """Return a pyramid in which no two numbers are equal."""
    shapes = [(N_IMAGES, 2, 5, 4), (N_IMAGES, 3, 2, 2), (N_IMAGES, 1, 1, 3)]
    edges = np.cumsum([0, *(np.prod(shape) for shape in shapes)])
    levels = [
        np.arange(start, stop, dtype=np.float32).reshape(shape)
        for start, stop, shape in zip(edges, edges[1:], shapes, strict=False)
    ]
    return FeaturePyramid(levels, ("a", "b", "c"), (40, 32))


def embedding_of(levels):
    """Return the paper's embedding as torch computes it."""
    size = tuple(max(level.shape[axis] for level in levels) for axis in (2, 3))
    parts = [
        functional.interpolate(torch.from_numpy(np.array(level, order="C")), size, mode="nearest")
        for level in levels
        if level.shape[1]
    ]
    return torch.cat(parts, dim=1).numpy()


MASK = np.array([True, False, True, True, False, False])


KEYS = {
    "slice": slice(1, 4),
    "step": slice(None, None, -2),
    "all": slice(None),
    "beyond the end": slice(4, 99),
    "empty slice": slice(3, 3),
    "list": [4, 0, 0],
    "array": np.array([5, 2, 3], dtype=np.int32),
    "negative": np.array([-1, -6]),
    "range": range(0, 6, 3),
    "mask": MASK,
    "mask as a list": MASK.tolist(),
    "mask of nothing": np.zeros(N_IMAGES, dtype=bool),
    "empty list": [],
    "empty array": np.array([], dtype=np.int64),
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())
def test_images_are_indexed_as_numpy_indexes_rows(key):
    pyramid = numbered_pyramid()
    numpy_key = np.empty(0, dtype=int) if isinstance(key, list) and not key else key
    for chosen in (pyramid[key], pyramid[key, ...]):
        assert (chosen.layer_names, chosen.image_size) == (("a", "b", "c"), (40, 32))
        for found, level in zip(chosen.levels, pyramid.levels, strict=True):
            assert_array_equal(found, level[numpy_key], strict=True)
        assert_array_equal(np.asarray(chosen), np.asarray(pyramid)[numpy_key], strict=True)


@pytest.mark.parametrize("key", [0, 5, -1, -6, np.int64(2), np.array(3)[()]])
def test_an_int_gives_a_pyramid_of_one_image(key):
    pyramid = numbered_pyramid()
    for chosen in (pyramid[key], pyramid[key, ...]):
        assert len(chosen) == 1
        for found, level in zip(chosen.levels, pyramid.levels, strict=True):
            assert_array_equal(found[0], level[key])


@pytest.mark.parametrize(
    "key",
    [6, -7, 99, [0, 6], [0.5], "a", MASK[:-1], (0, 1), (..., 0), (slice(2), slice(2)), None, True, [[0, 1]]],
)
def test_what_is_no_image_is_refused(key):
    with pytest.raises(IndexError):
        numbered_pyramid()[key]


def test_iteration_ends():
    assert [int(single.levels[2][0, 0, 0, 0]) for single in numbered_pyramid()] == [
        int(level[0, 0, 0]) for level in numbered_pyramid().levels[2]
    ]


sides = st.integers(1, 40)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 3), sides, sides), min_size=1, max_size=3),
    st.integers(1, 3),
    st.booleans(),
)
@example([(2, 54, 54), (3, 27, 27), (1, 13, 13)], 1, True)
@example([(2, 13, 13), (3, 54, 54)], 2, False)
@example([(2, 45, 87), (3, 87, 45)], 1, False)
def test_as_an_array_it_is_the_papers_embedding_bit_for_bit(shapes, n_images, channels_last):
    rng = np.random.default_rng(0)
    levels = [rng.normal(size=(n_images, *shape)).astype(np.float32) for shape in shapes]
    if channels_last:  # as a network on the CPU leaves them
        levels = [np.ascontiguousarray(level.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for level in levels]
    pyramid = FeaturePyramid(levels)
    array = np.asarray(pyramid)
    assert (array.shape, array.dtype) == (pyramid.shape, pyramid.dtype)
    assert (array.ndim, len(array)) == (pyramid.ndim, len(pyramid))
    if array.size:
        assert_array_equal(array, embedding_of(levels), strict=True)


def test_array_protocol():
    pyramid = numbered_pyramid()
    expected = embedding_of(pyramid.levels)
    assert_array_equal(np.asarray(pyramid, dtype=np.float64), expected.astype(np.float64), strict=True)
    assert_array_equal(np.asarray(pyramid, np.float16), expected.astype(np.float16), strict=True)
    copy = np.array(pyramid, copy=True)
    copy[:] = -1
    single = FeaturePyramid(pyramid.levels[:1])
    np.asarray(single)[:] = -1
    assert_array_equal(np.asarray(pyramid), expected)
    with pytest.raises(ValueError, match="only by copying"):
        np.array(pyramid, copy=False)


def test_levels_of_several_types_meet_in_the_widest():
    levels = [np.ones((2, 1, 2, 2), np.float32), np.full((2, 1, 1, 1), 1 / 3)]
    pyramid = FeaturePyramid(levels)
    assert pyramid.dtype == np.float64
    array = np.asarray(pyramid)
    assert array.dtype == np.float64
    assert_array_equal(array[:, 1], 1 / 3)


def test_read_only_levels_are_read():
    pyramid = numbered_pyramid()
    for level in pyramid.levels:
        level.flags.writeable = False
    assert_array_equal(np.asarray(pyramid), embedding_of(pyramid.levels))


def test_defaults_and_text():
    pyramid = FeaturePyramid([np.zeros((4, 8, 6, 3)), np.ones((4, 16, 2, 5))])
    assert pyramid.layer_names == ("level0", "level1")
    assert pyramid.shape == (4, 24, 6, 5)
    assert pyramid.image_size == (6, 5)
    assert repr(pyramid) == "FeaturePyramid(4 images; level0: 8x6x3, level1: 16x2x5)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "at least one"),
        (([np.zeros((3, 4))],), r"\(3, 4\)"),
        (([np.zeros((3, 1, 2, 2)), np.zeros((4, 1, 2, 2))],), r"\[3, 4\]"),
        (([np.zeros((3, 1, 2, 2))], ("a", "b")), "layer_names must name the 1 levels"),
    ],
)
def test_no_pyramid_of_nonsense(arguments, message):
    with pytest.raises(ValueError, match=message):
        FeaturePyramid(*arguments)


@pytest.mark.parametrize("indices", [np.array([3, 0, 3]), [1, 2], MASK, slice(1, 3), np.arange(6) > 3])
def test_scikit_learn_indexes_it(indices):
    pyramid = numbered_pyramid()
    chosen = _safe_indexing(pyramid, indices)
    assert isinstance(chosen, FeaturePyramid)
    assert_array_equal(np.asarray(chosen), np.asarray(pyramid)[indices])


def test_train_test_split_keeps_images_and_labels_together():
    pyramid = numbered_pyramid()
    numbers = pyramid.levels[0][:, 0, 0, 0]
    X_train, X_test, y_train, y_test = train_test_split(pyramid, numbers, test_size=2, random_state=0)
    assert (len(X_train), len(X_test)) == (4, 2)
    assert_array_equal(X_train.levels[0][:, 0, 0, 0], y_train)
    assert_array_equal(X_test.levels[0][:, 0, 0, 0], y_test)
    assert sorted([*y_train, *y_test]) == numbers.tolist()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        train_test_split(pyramid, numbers[:-1])


def test_cross_val_score_equals_the_folds_by_hand():
    pyramid = draw_pyramid(24, [(3, 6, 6), (4, 3, 3)], image_size=(12, 12))

    def mean_score(estimator, X, y=None):
        return estimator.score_samples(X).mean()

    gaussian = PatchGaussian(false_alarm_rate=0.2)
    found = cross_val_score(gaussian, pyramid, cv=3, scoring=mean_score, error_score="raise")
    expected = [
        mean_score(clone(gaussian).fit(pyramid[train]), pyramid[test])
        for train, test in KFold(3).split(np.arange(24))
    ]
    assert_allclose(found, expected, rtol=1e-12)


def test_coarse_layers_come_first_and_go_back_to_where_they_were():
    shapes = [(2, 5, 4), (3, 1, 3), (1, 2, 2), (4, 2, 2)]
    order = CoarseToFine(shapes)
    assert order.sort("abcd") == ["b", "c", "d", "a"]
    assert order.as_given(order.sort("abcd")) == list("abcd")
    assert order.shapes == [shapes[1], shapes[2], shapes[3], shapes[0]]
    layer_of_channel = np.repeat(list("abcd"), [2, 3, 1, 4])
    assert "".join(layer_of_channel[order.channels()]) == "bbbcddddaa"


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.uint8])
def test_batches_become_floats_to_compute_with(dtype):
    values = torch.arange(24).reshape(2, 3, 2, 2).to(dtype)
    (only,) = check_batches([[values[:0]], [values]], torch.device("cpu"))
    expected = torch.float32 if dtype in (torch.float16, torch.float32) else torch.float64
    assert only[0].dtype == expected
    assert torch.equal(only[0], values.to(expected))

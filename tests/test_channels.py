"""RandomChannelSelector against indexing of the paper's embedding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from scipy.stats import chi2
from sklearn.exceptions import NotFittedError

from plain import draw_pyramid
from skpadim import FeaturePyramid, RandomChannelSelector

SHAPES = [(6, 8, 8), (9, 4, 4), (5, 2, 2)]


def table(n_channels, n_rows=2):
    return np.arange(float(n_rows * n_channels)).reshape(n_rows, n_channels)


def indices(n_all, n_channels, random_state):
    return RandomChannelSelector(n_channels, random_state=random_state).fit(table(n_all)).channel_indices_


@pytest.mark.parametrize("n_channels", [1, 2, 7, 19, 20])
@pytest.mark.parametrize("seed", [0, 1])
def test_selection_is_that_of_the_embedding(n_channels, seed):
    pyramid = draw_pyramid(3, SHAPES, image_size=(32, 32))
    selector = RandomChannelSelector(n_channels, random_state=seed)
    selected = selector.fit_transform(pyramid)
    assert isinstance(selected, FeaturePyramid)
    expected = np.asarray(pyramid)[:, selector.channel_indices_]
    assert_array_equal(np.asarray(selected), expected, strict=True)
    assert (selected.layer_names, selected.image_size) == (pyramid.layer_names, (32, 32))
    assert [level.shape[2:] for level in selected.levels] == [(8, 8), (4, 4), (2, 2)]


def test_layers_keep_their_order():
    coarse_first = draw_pyramid(2, SHAPES[::-1])
    selector = RandomChannelSelector(8).fit(coarse_first)
    expected = np.asarray(coarse_first)[:, selector.channel_indices_]
    assert_array_equal(np.asarray(selector.transform(coarse_first)), expected)


@pytest.mark.parametrize("shape", [(4, 20), (4, 20, 3, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_selection_of_arrays(shape, dtype):
    X = np.random.default_rng(0).normal(size=shape).astype(dtype)
    selector = RandomChannelSelector(7)
    assert_array_equal(selector.fit_transform(X), X[:, selector.channel_indices_], strict=True)


def test_batches_on_the_device_are_selected_alike():
    pyramid = draw_pyramid(3, SHAPES)
    selector = RandomChannelSelector(3).fit(pyramid)
    batch = selector.select([torch.from_numpy(level) for level in pyramid.levels])
    for found, level in zip(batch, selector.transform(pyramid).levels, strict=True):
        assert_array_equal(found.numpy(), level, strict=True)


@pytest.mark.parametrize(
    ("n_all", "n_channels", "n_kept"),
    [(150, "auto", 100), (100, "auto", 100), (30, "auto", 30), (150, None, 150), (150, 149, 149)],
)
def test_number_of_channels(n_all, n_channels, n_kept):
    selector = RandomChannelSelector(n_channels).fit(table(n_all))
    kept = selector.channel_indices_
    assert kept.dtype == np.int64
    assert len(set(kept.tolist())) == len(kept) == n_kept
    assert kept.min() >= 0 and kept.max() < n_all
    assert (np.diff(kept) > 0).all()
    assert selector.n_features_in_ == n_all


def test_only_the_number_of_channels_matters():
    empty = FeaturePyramid([np.empty((0, *shape)) for shape in SHAPES])
    chosen = [
        RandomChannelSelector(5).fit(X).channel_indices_
        for X in (empty, draw_pyramid(2, SHAPES), table(20), table(20) * -3)
    ]
    for other in chosen[1:]:
        assert_array_equal(other, chosen[0])


def test_every_channel_is_as_likely_as_any_other():
    n_all, n_channels, n_fits = 12, 5, 1000
    X, counts = table(n_all), np.zeros(n_all)
    for seed in range(n_fits):
        counts[RandomChannelSelector(n_channels, random_state=seed).fit(X).channel_indices_] += 1
    share = n_channels / n_all
    deviations = (counts - n_fits * share) ** 2 / (n_fits * share * (1 - share))
    # Channels exclude each other: of n counts with a fixed sum, the statistic has n - 1 degrees of freedom.
    assert chi2.sf(deviations.sum() * (n_all - 1) / n_all, n_all - 1) > 1e-3


def test_random_state_decides():
    assert_array_equal(indices(200, 10, 0), indices(200, 10, 0))
    assert not np.array_equal(indices(200, 10, 0), indices(200, 10, 1))
    shared = np.random.RandomState(0)
    first, second = indices(200, 10, shared), indices(200, 10, shared)
    assert_array_equal(first, indices(200, 10, np.random.RandomState(0)))
    assert not np.array_equal(first, second)
    assert not np.array_equal(indices(200, 10, None), indices(200, 10, None))


def test_support_and_names():
    selector = RandomChannelSelector(4).fit(table(9))
    kept = selector.channel_indices_
    assert_array_equal(selector.get_support(indices=True), kept)
    assert_array_equal(np.flatnonzero(selector.get_support()), kept)
    assert selector.get_feature_names_out().tolist() == [f"x{index}" for index in kept]
    names = [f"layer1_{index}" for index in range(9)]
    assert selector.get_feature_names_out(names).tolist() == [names[index] for index in kept]
    with pytest.raises(ValueError, match="input_features"):
        selector.get_feature_names_out(names[:-1])


def test_inverse_puts_channels_back():
    X = table(9) + 1
    selector = RandomChannelSelector(4).fit(X)
    back = selector.inverse_transform(selector.transform(X))
    assert_array_equal(back, X * selector.get_support())


@pytest.mark.parametrize(
    ("n_channels", "message"),
    [
        (21, "n_channels=21 .* 20 channels.* between 1 and 20"),
        (0, "n_channels"),
        (-3, "n_channels"),
        (2.5, "n_channels"),
        ("many", "n_channels"),
    ],
)
def test_bad_number_of_channels(n_channels, message):
    with pytest.raises(ValueError, match=message):
        RandomChannelSelector(n_channels).fit(draw_pyramid(2, SHAPES))


@pytest.mark.parametrize(
    "X",
    [np.ones((2, 19)), np.ones((2, 21, 4, 4)), draw_pyramid(2, SHAPES[:2])],
    ids=["2-D", "4-D", "pyramid"],
)
def test_other_number_of_channels_than_in_the_fit(X):
    selector = RandomChannelSelector(3).fit(draw_pyramid(2, SHAPES))
    with pytest.raises(ValueError, match=r"features, but RandomChannelSelector is expecting 20"):
        selector.transform(X)


@pytest.mark.parametrize("X", [np.ones(5), np.full((2, 3), np.nan), [["a", "b"]]])
def test_what_is_no_embedding_is_refused(X):
    with pytest.raises(ValueError):
        RandomChannelSelector(1).fit(X)


def test_nothing_before_fit():
    for name in ("transform", "inverse_transform"):
        with pytest.raises(NotFittedError):
            getattr(RandomChannelSelector(), name)(table(3))
    with pytest.raises(NotFittedError):
        RandomChannelSelector().transform(draw_pyramid(2, SHAPES))
    with pytest.raises(NotFittedError):
        RandomChannelSelector().get_support()

"""RandomChannelSelector against indexing of the paper's embedding."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.stats import chi2
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from plain import draw_pyramid
from skpadim import CNNFeatureTransformer, FeaturePyramid, PatchGaussian, RandomChannelSelector
from skpadim.model_selection import OneClassKFold

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


def test_by_layer_counts_within_the_layers():
    pyramid = draw_pyramid(3, SHAPES)
    for n_channels in (3, 20):
        selector = RandomChannelSelector(n_channels).fit(pyramid)
        chosen = selector.by_layer([6, 9, 5])
        for keep, level, found in zip(
            chosen, pyramid.levels, selector.transform(pyramid).levels, strict=True
        ):
            assert_array_equal(level[:, keep], found, strict=True)
        starts = np.repeat([0, 6, 15], [len(keep) for keep in chosen])
        assert_array_equal(np.concatenate(chosen) + starts, selector.channel_indices_)


def test_other_channels_of_the_layers_are_refused():
    selector = RandomChannelSelector(3).fit(draw_pyramid(3, SHAPES))
    with pytest.raises(ValueError, match=r"X has levels of \[5, 10, 5\] channels.*the fit saw \[6, 9, 5\]"):
        selector.transform(draw_pyramid(3, [(5, 8, 8), (10, 4, 4), (5, 2, 2)]))


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


class TestLayers:
    """Some of the layers of a pyramid."""

    @pytest.mark.parametrize(
        "layers", [["level1"], ["level0", "level2"], ("level1", "level0"), np.array(["level2"])], ids=str
    )
    @pytest.mark.parametrize("n_channels", [1, 4, "auto", None])
    def test_as_if_the_others_were_not_there(self, layers, n_channels):
        pyramid = draw_pyramid(3, SHAPES, image_size=(32, 32))
        places = [index for index, name in enumerate(pyramid.layer_names) if name in layers]
        alone = FeaturePyramid(
            [pyramid.levels[index] for index in places], [f"level{index}" for index in places], (32, 32)
        )
        found = RandomChannelSelector(n_channels, layers=layers).fit_transform(pyramid)
        expected = RandomChannelSelector(n_channels).fit_transform(alone)
        assert (found.layer_names, found.image_size) == (expected.layer_names, (32, 32))
        for one, other in zip(found.levels, expected.levels, strict=True):
            assert_array_equal(one, other, strict=True)

    def test_as_if_the_network_had_not_computed_the_others(self):
        photos = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
        settings = {"backbone": "resnet18", "weights": None, "image_size": 32, "device": "cpu"}
        pyramid = CNNFeatureTransformer(**settings).fit_transform(photos)
        alone = CNNFeatureTransformer(layers=("layer1", "layer2"), **settings).fit_transform(photos)
        found = RandomChannelSelector(50, layers=("layer2", "layer1")).fit_transform(pyramid)
        expected = RandomChannelSelector(50).fit_transform(alone)
        assert found.layer_names == expected.layer_names == ("layer1", "layer2")
        for one, other in zip(found.levels, expected.levels, strict=True):
            assert_array_equal(one, other, strict=True)

    def test_indices_count_all_channels(self):
        pyramid = draw_pyramid(2, SHAPES)
        selector = RandomChannelSelector(10, layers=["level0", "level2"]).fit(pyramid)
        kept = selector.channel_indices_
        assert kept.dtype == np.int64
        # Channels 6 to 14 are those of level1.
        assert not np.isin(kept, np.arange(6, 15)).any() and len(set(kept.tolist())) == 10
        selected = selector.transform(pyramid)
        # level0, the finest, stays, and with it the size of the embedding.
        assert_array_equal(np.asarray(selected), np.asarray(pyramid)[:, kept])
        assert_array_equal(selector.get_support(indices=True), kept)
        assert selector.get_feature_names_out().tolist() == [f"x{index}" for index in kept]
        assert_array_equal(selector.transform(np.asarray(pyramid)), np.asarray(pyramid)[:, kept])

    def test_the_fit_decides(self):
        pyramid = draw_pyramid(2, SHAPES)
        selector = RandomChannelSelector(3, layers=["level1"]).fit(pyramid)
        assert selector.set_params(layers=["level0"]).transform(pyramid).layer_names == ("level1",)
        assert selector.fit(pyramid).transform(pyramid).layer_names == ("level0",)

    def test_layers_of_one_name_stay_apart(self):
        twins = FeaturePyramid(draw_pyramid(2, SHAPES).levels, ["same"] * 3)
        assert RandomChannelSelector(None).fit_transform(twins).shape == (2, 20, 8, 8)

    @pytest.mark.parametrize(
        ("layers", "error", "message"),
        [
            (["layer9"], ValueError, r"no layer 'layer9'.*'level0', 'level1', 'level2'"),
            ([], ValueError, "at least one name"),
            (["level0", "level0"], ValueError, "none twice"),
            ("level0", TypeError, r"list of names.*'level0'"),
            ([0, 1], TypeError, "list of names"),
            ({"level0", "level1"}, TypeError, "list of names"),
            (3, ValueError, "layers"),
        ],
    )
    def test_bad_layers(self, layers, error, message):
        with pytest.raises(error, match=message):
            RandomChannelSelector(3, layers=layers).fit(draw_pyramid(2, SHAPES))

    def test_more_channels_than_the_layers_have(self):
        with pytest.raises(ValueError, match=r"n_channels=10 .* 9 channels"):
            RandomChannelSelector(10, layers=["level1"]).fit(draw_pyramid(2, SHAPES))

    @pytest.mark.parametrize("shape", [(4, 20), (4, 20, 3, 5)])
    def test_arrays_have_no_layers(self, shape):
        with pytest.raises(ValueError, match=r"layers=\['level0'\] needs a FeaturePyramid"):
            RandomChannelSelector(3, layers=["level0"]).fit(np.ones(shape))

    def test_other_layers_than_in_the_fit(self):
        pyramid = draw_pyramid(2, SHAPES)
        selector = RandomChannelSelector(3, layers=["level1"]).fit(pyramid)
        backwards = FeaturePyramid(pyramid.levels[::-1], pyramid.layer_names[::-1])
        with pytest.raises(ValueError, match=r"'level2', 'level1', 'level0'.* the fit saw"):
            selector.transform(backwards)

    def test_search_over_layers(self):
        pyramid = draw_pyramid(30, SHAPES, image_size=(16, 16))
        y = np.repeat([1, -1], [24, 6])
        pyramid.levels[1][y == -1] += 9  # the defects show in level1 alone
        steps = [("channels", RandomChannelSelector()), ("gaussian", PatchGaussian("auto", device="cpu"))]
        search = GridSearchCV(
            Pipeline(steps),
            {"channels__layers": [["level0"], ["level1"]], "channels__n_channels": [3, 5]},
            cv=OneClassKFold(2, shuffle=True, random_state=0),
            scoring="roc_auc",
            refit=False,
        )
        with pytest.warns(UserWarning, match="false_alarm_rate"):
            search.fit(pyramid, y)
        assert search.best_params_["channels__layers"] == ["level1"]
        assert search.best_score_ == 1

"""PatchGaussian against the definition: numpy.cov, scipy's mahalanobis, scipy's gaussian_filter."""

from __future__ import annotations

import gc
import weakref
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import plain
from plain import draw_pyramid
from skpadim import FeaturePyramid, PatchGaussian, RandomChannelSelector
from small import small

RESNET = [(6, 56, 56), (9, 28, 28), (13, 14, 14)]
SQUEEZENET = [(5, 54, 54), (11, 27, 27), (10, 13, 13)]
SHAPES = {
    "resnet": RESNET,
    "squeezenet": SQUEEZENET,
    "coarse layer first": [RESNET[2], RESNET[0], RESNET[1]],
    "one layer": [(20, 14, 14)],
    "two layers of one size": [(4, 7, 7), (3, 14, 14), (5, 7, 7)],
    "not square": [(4, 8, 12), (5, 3, 5)],
    "no channel in the finest": [(0, 14, 14), (6, 7, 7)],
}


def plain_fit(pyramid, test, epsilon):
    train = plain.embedding([level for level in pyramid.levels if level.shape[1]])
    new = plain.embedding([level for level in test.levels if level.shape[1]])
    size = pyramid.shape[2:]
    if train.shape[2:] != size:
        train, new = (np.repeat(np.repeat(e, 2, axis=2), 2, axis=3) for e in (train, new))
    return plain.distances(train, new, epsilon)


@pytest.mark.parametrize("n_images", [40, 9], ids=["N > channels", "N < channels"])
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES.keys())
def test_maps_equal_the_definition(shapes, n_images):
    pyramid = draw_pyramid(n_images + 2, shapes, image_size=(112, 96))
    train, new = pyramid[:n_images], pyramid[n_images:]
    gaussian = PatchGaussian(0.01, false_alarm_rate=0.5).fit(train)
    expected = plain_fit(train, new, 0.01)
    assert_allclose(gaussian.mahalanobis(new), expected, rtol=1e-4)
    expected_maps = plain.maps(expected, (112, 96))
    assert_allclose(gaussian.anomaly_map(new), expected_maps, rtol=1e-4)
    assert_allclose(gaussian.score_samples(new), -expected_maps.max(axis=(1, 2)), rtol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_fit_does_not_depend_on_the_batches(batch_size):
    pyramid = draw_pyramid(42, [(4, 8, 8), (5, 4, 4), (9, 2, 2)], image_size=(32, 32))
    train, new = pyramid[:40], pyramid[40:]
    order = np.random.default_rng(1).permutation(40)
    levels = [torch.from_numpy(level[order]) for level in train.levels]
    batches = ([level[start : start + batch_size] for level in levels] for start in range(0, 40, batch_size))
    streamed = PatchGaussian(epsilon=0.01).fit_stream(batches, (32, 32))
    expected = plain_fit(train, new, 0.01)
    assert_allclose(streamed.mahalanobis(new), expected, rtol=1e-4)
    whole = PatchGaussian(epsilon=0.01).fit(train)
    assert_allclose(np.sort(streamed.loo_scores_), np.sort(whole.loo_scores_), rtol=1e-5)
    assert_allclose(streamed.offset_, whole.offset_, rtol=1e-5)


def test_two_dimensions_equal_numpy_cov_plus_the_ridge():
    X = np.random.default_rng(0).normal(size=(30, 5)) @ np.random.default_rng(1).normal(size=(5, 5))
    gaussian = PatchGaussian(epsilon=0.3).fit(X)
    covariance = np.cov(X.T) + 0.3 * np.eye(5)
    assert_allclose(gaussian.get_covariance(), covariance, rtol=1e-10)
    centred = X - X.mean(axis=0)
    squared = np.einsum("ij,jk,ik->i", centred, np.linalg.inv(covariance), centred)
    assert_allclose(gaussian.score_samples(X), -np.sqrt(squared), rtol=1e-10)
    assert_allclose(gaussian.location_[0][:, 0, 0], X.mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("shapes", [SQUEEZENET, [RESNET[2], RESNET[0]]])
def test_get_covariance_is_that_of_the_patch_in_embedding_order(shapes):
    pyramid = draw_pyramid(12, shapes)
    gaussian = PatchGaussian(0.01, false_alarm_rate=0.5).fit(pyramid)
    patch = np.asarray(pyramid)[:, :, 20, 37].astype(float)
    expected = np.cov(patch.T) + 0.01 * np.eye(patch.shape[1])
    assert_allclose(gaussian.get_covariance(20, 37), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("n_images", [3, 10, 60])
@pytest.mark.parametrize(("epsilon", "scale"), [(0.01, 1.0), (0.01, 45.0), ("auto", 45.0), (1.0, 45.0)])
def test_leave_one_out_equals_refitting(n_images, epsilon, scale):
    pyramid = draw_pyramid(n_images, [(7, 6, 6), (9, 3, 3)], scale=scale, image_size=(24, 24))
    gaussian = PatchGaussian(epsilon, false_alarm_rate=0.5).fit(pyramid)
    embedding = plain.embedding(pyramid.levels)
    expected = []
    for image in range(n_images):
        others = np.delete(embedding, image, axis=0)
        single = plain.distances(others, embedding[image : image + 1], gaussian.epsilon_)
        expected.append(plain.maps(single, (24, 24)).max())
    assert_allclose(gaussian.loo_scores_, expected, rtol=1e-4)


@pytest.mark.parametrize("patch", [(6, 0), (-1, 0), (0, -1), (0, 99)])
def test_patches_outside_the_grid_have_no_covariance(patch):
    gaussian = PatchGaussian(0.01, false_alarm_rate=0.5).fit(draw_pyramid(5, [(3, 6, 6), (2, 3, 3)]))
    with pytest.raises(ValueError, match="6 rows and 6 columns"):
        gaussian.get_covariance(*patch)


def test_integers_and_empty_pyramids():
    whole = FeaturePyramid([np.arange(40).reshape(10, 4, 1, 1) % 7])
    floats = PatchGaussian(0.01, false_alarm_rate=0.5).fit(whole.levels[0][:, :, 0, 0].astype(float))
    gaussian = PatchGaussian(0.01, false_alarm_rate=0.5).fit(whole)
    assert_allclose(gaussian.loo_scores_, floats.loo_scores_)
    for call in (PatchGaussian(epsilon=0.01).fit, gaussian.predict):
        with pytest.raises(ValueError, match="n_samples=0"):
            call(whole[[]])


def test_auto_epsilon_is_a_hundredth_of_the_mean_variance():
    pyramid = draw_pyramid(20, SQUEEZENET, scale=45.0)
    gaussian = PatchGaussian("auto").fit(pyramid)
    assert_allclose(gaussian.epsilon_, 0.01 * np.asarray(pyramid).var(axis=0, ddof=1, dtype=float).mean())


def test_float64_features_are_scored_in_float64():
    pyramid = draw_pyramid(20, [(4, 6, 6), (5, 3, 3)], dtype=np.float64, scale=45.0)
    gaussian = PatchGaussian(0.01, false_alarm_rate=0.5).fit(pyramid[:18])
    assert gaussian.mahalanobis(pyramid[18:]).dtype == np.float64
    expected = plain_fit(pyramid[:18], pyramid[18:], 0.01)
    assert_allclose(gaussian.mahalanobis(pyramid[18:]), expected, rtol=1e-9)


def test_float64_features_meet_gaussians_of_float32():
    pyramid = draw_pyramid(20, [(4, 6, 6), (5, 3, 3)])
    gaussian = PatchGaussian(0.01, false_alarm_rate=0.5).fit(pyramid)
    double = FeaturePyramid([level.astype(float) for level in pyramid.levels], image_size=(224, 224))
    assert gaussian.mahalanobis(double).dtype == np.float64
    assert_allclose(gaussian.mahalanobis(double), gaussian.mahalanobis(pyramid), rtol=1e-4)


def test_plain_array_is_a_pyramid_of_one_level():
    pyramid = draw_pyramid(20, [(6, 8, 8)], image_size=(8, 8))
    array = pyramid.levels[0]
    assert_allclose(
        PatchGaussian(epsilon=0.01).fit(array).score_samples(array),
        PatchGaussian(epsilon=0.01).fit(pyramid).score_samples(pyramid),
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PatchGaussian(epsilon=0.01).fit(np.ones((25, 4))), "the same image again and again"),
        (lambda: PatchGaussian("auto").fit(np.ones((25, 4))), "the same image again and again"),
        (lambda: PatchGaussian(0).fit(np.eye(25)[:, :1] * np.ones(4)), "Raise epsilon"),
        (lambda: PatchGaussian(epsilon=0.01).fit(np.ones((2, 4))), "n_samples=2"),
        (lambda: PatchGaussian(epsilon=0.01).fit(np.ones((5, 4, 3))), "expected a FeaturePyramid"),
        (lambda: PatchGaussian(-1.0).fit(np.ones((5, 4))), "epsilon"),
        (lambda: PatchGaussian(0.01, false_alarm_rate=1.0).fit(np.ones((5, 4))), "false_alarm_rate"),
        (lambda: PatchGaussian(epsilon=0.01, device="nonsense").fit(np.ones((5, 4))), "device"),
        (lambda: PatchGaussian(epsilon=0.01).fit([[np.nan, 1.0]] * 5), "NaN"),
        (
            lambda: PatchGaussian(epsilon=0.01).fit([[1e160, 1.0], [0.0, 1.0], [1.0, 2.0]]),
            "so large that their squares",
        ),
    ],
)
def test_errors_name_the_parameter(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("n_levels", [1, 2])
def test_autocast_of_the_caller_changes_nothing(n_levels):
    pyramid = draw_pyramid(12, [(3, 8, 8), (4, 4, 4)][:n_levels])
    pyramid = FeaturePyramid([level.astype(np.float32) for level in pyramid.levels])
    gaussian = PatchGaussian(0.01, false_alarm_rate=0.3).fit(pyramid)
    expected = gaussian.anomaly_map(pyramid)
    with torch.autocast("cpu", torch.bfloat16):
        again = PatchGaussian(0.01, false_alarm_rate=0.3).fit(pyramid)
        assert_array_equal(gaussian.anomaly_map(pyramid), expected)
        assert_array_equal(again.loo_scores_, gaussian.loo_scores_)


def test_pyramid_with_nan_or_other_shapes_is_refused():
    pyramid = draw_pyramid(6, [(3, 4, 4), (2, 2, 2)])
    gaussian = PatchGaussian(0.01, false_alarm_rate=0.5).fit(pyramid)
    with pytest.raises(ValueError, match="the fit saw"):
        gaussian.score_samples(draw_pyramid(2, [(3, 8, 8), (2, 2, 2)]))
    pyramid.levels[1][0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="'level1'"):
        gaussian.score_samples(pyramid)


def test_failed_fit_leaves_everything_as_it_was():
    X = np.random.default_rng(0).normal(size=(30, 3))
    gaussian = PatchGaussian(epsilon=0.01).fit(X)
    before = gaussian.score_samples(X)
    with pytest.raises(ValueError):
        gaussian.fit(np.full((30, 4), np.nan))
    with pytest.raises(ValueError):
        gaussian.fit(np.ones((2, 7)))
    assert_allclose(gaussian.score_samples(X), before)
    fresh = PatchGaussian(0)
    with pytest.raises(ValueError):
        fresh.fit(np.ones((30, 4)))
    assert not [name for name in vars(fresh) if name.endswith("_")]


@pytest.mark.parametrize("seed", range(4))
def test_statistics_of_resnet_take_7_million_floats(seed):
    chosen = RandomChannelSelector(100, random_state=seed).fit(np.zeros((1, 448))).channel_indices_
    channels = np.histogram(chosen, [0, 64, 192, 448])[0]
    pyramid = draw_pyramid(3, list(zip(channels.tolist(), (56, 28, 14), (56, 28, 14), strict=True)))
    gaussian = PatchGaussian(0.01, false_alarm_rate=0.5).fit(pyramid)
    assert sum(part.size for part in gaussian.whitening_ + gaussian.location_) <= 7.5e6


def test_a_fit_holds_no_batch_of_the_stream():
    alive = []

    def batches():
        for seed in range(6):
            pyramid = draw_pyramid(10, [(3, 8, 8), (4, 4, 4)], seed=seed)
            levels = [torch.from_numpy(level) for level in pyramid.levels]
            alive.append(weakref.ref(levels[0]))
            yield levels
            del levels, pyramid
            gc.collect()
            assert sum(batch() is not None for batch in alive) <= 1, "only the current batch may live"

    PatchGaussian(0.01, n_calibration=20).fit_stream(batches(), (32, 32))
    gc.collect()
    assert not any(batch() is not None for batch in alive)


@pytest.mark.parametrize("value", [1e20, 3e38])
def test_squares_that_overflow_are_anomalies(value):
    X = np.random.default_rng(0).normal(size=(30, 3, 4, 4)).astype(np.float32)
    gaussian = PatchGaussian(epsilon=0.01).fit(FeaturePyramid([X], image_size=(32, 32)))
    X[1, 0, 0, 0] = value
    far = FeaturePyramid([X[:2]], image_size=(32, 32))
    assert np.isfinite(gaussian.anomaly_map(far)).all()
    scores = gaussian.score_samples(far)
    assert np.isfinite(scores).all() and scores[1] < 1e10 * scores[0]
    assert_array_equal(gaussian.predict(far)[1], -1)


def stream_of(levels, sizes):
    edges = np.cumsum([0, *sizes])
    for start, stop in pairwise(edges):
        yield [level[start:stop] for level in levels]


def test_empty_batches_of_a_stream_are_nothing():
    pyramid = draw_pyramid(30, [(4, 6, 6), (5, 3, 3)], image_size=(24, 24))
    levels = [torch.from_numpy(level) for level in pyramid.levels]
    whole = PatchGaussian(epsilon=0.01).fit(pyramid)
    streamed = PatchGaussian(epsilon=0.01).fit_stream(stream_of(levels, [0, 10, 0, 20, 0]), (24, 24))
    assert_allclose(streamed.loo_scores_, whole.loo_scores_, rtol=1e-6)


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.uint8, torch.float16, torch.bfloat16, torch.float64], ids=str
)
def test_streams_of_any_numbers_are_computed_in_floats(dtype):
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.integers(0, 9, (30, 4, 6, 6)))
    whole = PatchGaussian(epsilon=0.01).fit(features.numpy())
    streamed = PatchGaussian(epsilon=0.01).fit_stream(stream_of([features.to(dtype)], [16, 14]), (6, 6))
    assert_allclose(streamed.loo_scores_, whole.loo_scores_, rtol=1e-6)
    assert {part.dtype for part in streamed.whitening_} <= {np.dtype("f4"), np.dtype("f8")}


@pytest.mark.parametrize(
    ("sizes", "change", "error", "message"),
    [
        ([], list, ValueError, "n_samples=0"),
        ([0, 0], list, ValueError, "n_samples=0"),
        ([3, 3], lambda batch: [*batch, batch[0]], ValueError, "number 1 holds .*as in the first"),
        ([3, 3], lambda batch: batch[:1], ValueError, "number 1 holds .*as in the first"),
        ([3, 3], lambda batch: [batch[0], batch[1][:2]], ValueError, "number 1 .*one number of images"),
        ([3, 3], lambda batch: [level[:, 0] for level in batch], TypeError, r"\(3, 6, 6\) float32"),
        ([3, 3], lambda batch: [level.numpy() for level in batch], TypeError, "number 1 .*ndarray"),
        ([3, 3], lambda batch: [level + 0j for level in batch], TypeError, "number 1 .*complex64"),
        ([3, 3], lambda batch: [level.double() for level in batch], ValueError, "number 1 .*float32"),
        ([3, 3], lambda batch: [level.to_sparse() for level in batch], TypeError, "number 1 .*dense"),
        ([3, 3], lambda batch: [level[:, :0] for level in batch], TypeError, r"number 1 .*\(3, 0, 6, 6\)"),
        ([3, 3], lambda batch: [level[:, :, :0] for level in batch], TypeError, r"number 1 .*\(3, 4, 0, 6\)"),
        ([3, 3], lambda _batch: [[[1, 2], [3]]], TypeError, "number 1 .*list"),
        ([3, 3], lambda _batch: None, TypeError, "number 1 .*NoneType"),
        ([3, 3], lambda _batch: [], TypeError, "number 1 "),
    ],
)
def test_what_is_no_batch_is_refused(sizes, change, error, message):
    levels = [torch.rand(6, 4, 6, 6, generator=torch.Generator()), torch.zeros(6, 5, 3, 3)]
    first, *others = list(stream_of(levels, sizes)) or [None]
    batches = [first, *map(change, others)] if first else []
    with pytest.raises(error, match=message):
        PatchGaussian(epsilon=0.01).fit_stream(batches, (24, 24))


@pytest.mark.parametrize(
    ("name", "value"), [("n_calibration", 0), ("sigma", -1), ("false_alarm_rate", 2), ("epsilon", -1)]
)
def test_parameters_are_checked_before_a_stream(name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter of PatchGaussian"):
        PatchGaussian(**{name: value}).fit_stream([[torch.zeros(5, 4, 6, 6)]], (24, 24))


def test_streams_may_be_iterators_of_iterators_that_require_gradients():
    pyramid = draw_pyramid(30, [(4, 6, 6), (5, 3, 3)], image_size=(24, 24))
    levels = [torch.from_numpy(level).requires_grad_() for level in pyramid.levels]
    streamed = PatchGaussian(epsilon=0.01).fit_stream(map(iter, stream_of(levels, [15, 15])), (24, 24))
    assert_allclose(streamed.loo_scores_, PatchGaussian(epsilon=0.01).fit(pyramid).loo_scores_, rtol=1e-6)
    assert streamed.n_features_in_ == 9
    assert streamed.score_samples(pyramid).shape == (30,)


@pytest.mark.parametrize(
    "size", [0, (24,), (0, 24), (24, 24, 3), (6.7, 6.2), (np.nan, 6), ("a", "b"), np.array(24), (True, 6)]
)
def test_size_of_the_images_of_a_stream(size):
    with pytest.raises(ValueError, match="image_size must be"):
        PatchGaussian(epsilon=0.01).fit_stream([[torch.zeros(5, 4, 6, 6)]], size)


def test_identical_photos():
    X = np.full((20, 64, 64, 3), 128, dtype=np.uint8)
    with pytest.raises(ValueError, match="the same image again and again"):
        small().fit(X)
    with pytest.raises(ValueError, match="the same image again and again"):
        small(epsilon="auto", backbone="squeezenet1_0", layers=("features.0",)).fit(np.zeros_like(X))


@pytest.mark.parametrize("n_images", [10, 33])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
@pytest.mark.parametrize("epsilon", ["auto", 0.01])
def test_identical_features_are_found_in_double_precision(n_images, value, epsilon):
    X = np.full((n_images, 3), value)
    with pytest.raises(ValueError, match="the same image again and again"):
        PatchGaussian(epsilon).fit(X)
    X[0, 0] += 1e-9 * max(value, 1.0)
    PatchGaussian("auto", false_alarm_rate=0.5).fit(X)

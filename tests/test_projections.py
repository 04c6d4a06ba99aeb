"""Principal components and random projections against the upsampled embedding and scikit-learn's PCA."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kstest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import plain
from plain import draw_pyramid
from skpadim import (
    CNNFeatureTransformer,
    FeaturePyramid,
    PatchGaussian,
    PCAChannelReducer,
    RandomChannelSelector,
    SemiOrthogonalProjection,
)
from skpadim.persistence import TRUSTED_TYPES

SHAPES = [(6, 8, 8), (9, 4, 4), (5, 2, 2)]
# Sizes of which none divides another, the coarse layer first, and layers that are finest along one axis only.
GRIDS = [
    SHAPES,
    [(5, 2, 3), (6, 9, 7), (9, 5, 4)],
    [(4, 6, 2), (3, 3, 5)],
    [(7, 3, 3), (4, 3, 3)],
    [(8, 4, 5)],
]
BOTH = [PCAChannelReducer, SemiOrthogonalProjection]


def patches(pyramid):
    """Return the paper's embedding as a table with a row for each patch of each image."""
    embedding = plain.embedding(pyramid.levels)
    return np.moveaxis(embedding, 1, -1).reshape(-1, embedding.shape[1])


@pytest.mark.moves_global_generator
@parametrize_with_checks(
    [PCAChannelReducer(), PCAChannelReducer(1), SemiOrthogonalProjection(), SemiOrthogonalProjection(1)]
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("shapes", GRIDS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
class TestPCA:
    def test_components_are_those_of_all_patches(self, shapes, dtype):
        pyramid = draw_pyramid(7, shapes, dtype=dtype)
        found = PCAChannelReducer(5).fit(pyramid)
        expected = PCA(5, svd_solver="full").fit(patches(pyramid))
        for name in ("explained_variance_", "explained_variance_ratio_", "mean_"):
            assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-12)
        signs = np.sign((found.components_ * expected.components_).sum(axis=1, keepdims=True))
        assert_allclose(found.components_, signs * expected.components_, atol=1e-9)

    def test_projection_is_that_of_the_embedding(self, shapes, dtype):
        pyramid = draw_pyramid(3, shapes, dtype=dtype, image_size=(40, 30))
        reducer = PCAChannelReducer(4).fit(draw_pyramid(7, shapes, seed=1, dtype=dtype))
        reduced = reducer.transform(pyramid)
        centred = plain.embedding(pyramid.levels) - reducer.mean_[:, None, None]
        expected = np.einsum("kc,nchw->nkhw", reducer.components_, centred)
        assert (len(reduced.levels), reduced.image_size) == (1, (40, 30))
        assert reduced.levels[0].dtype == dtype
        assert_allclose(reduced.levels[0], expected, atol=1e-4 if dtype == np.float32 else 1e-12)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.tuples(*[st.integers(1, 6)] * 3), min_size=1, max_size=4),
    n_images=st.integers(2, 9),
    offset=st.sampled_from([0.0, -1e4]),
    seed=st.integers(0, 2**16),
)
def test_covariance_of_any_layers(sizes, n_images, offset, seed):
    pyramid = draw_pyramid(n_images, sizes, dtype=np.float64, seed=seed)
    pyramid = FeaturePyramid([level + offset for level in pyramid.levels])
    reducer = PCAChannelReducer(None).fit(pyramid)
    rebuilt = (reducer.components_.T * reducer.explained_variance_) @ reducer.components_
    expected = np.cov(patches(pyramid).T)
    assert_allclose(rebuilt, np.atleast_2d(expected), atol=1e-9 * expected.max())
    assert_allclose(reducer.explained_variance_ratio_.sum(), 1)


def test_components_have_a_sign_and_an_order():
    reducer = PCAChannelReducer(None).fit(draw_pyramid(7, SHAPES))
    components = reducer.components_
    assert (components.max(axis=1) == np.abs(components).max(axis=1)).all()
    assert (np.diff(reducer.explained_variance_) <= 0).all()
    assert_allclose(components @ components.T, np.eye(20), atol=1e-12)


def test_constant_features_have_no_variance():
    reducer = PCAChannelReducer(2).fit(np.ones((5, 3)))
    assert_array_equal(reducer.explained_variance_, [0, 0])
    assert_array_equal(reducer.explained_variance_ratio_, [0, 0])


def test_memory_of_the_reducer_does_not_grow_with_the_images(monkeypatch):
    """Fit and transform hold a few images' embeddings, and the result, not the embedding of all."""
    monkeypatch.setattr("skpadim.projections._CHUNK_BYTES", 2**20)
    pyramid = draw_pyramid(200, [(8, 16, 16), (32, 4, 4)])
    embedding_bytes = 8 * np.prod(pyramid.shape)
    reducer = PCAChannelReducer(2)
    tracemalloc.start()
    try:
        reducer.fit(pyramid)
        fit_peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        reduced = reducer.transform(pyramid)
        transform_peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert embedding_bytes > 16e6
    assert fit_peak < 4e6
    assert transform_peak - reduced.levels[0].nbytes < 4e6


@pytest.mark.parametrize("shapes", GRIDS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_semi_orthogonal_projection_of_every_layer(shapes, dtype):
    pyramid = draw_pyramid(3, shapes, dtype=dtype, image_size=(40, 30))
    projection = SemiOrthogonalProjection(5).fit(pyramid)
    projected = projection.transform(pyramid)
    assert (projected.layer_names, projected.image_size) == (pyramid.layer_names, (40, 30))
    assert projected.shape[1] == 5
    for found, level, matrix in zip(projected.levels, pyramid.levels, projection.projections_, strict=True):
        assert_allclose(matrix.T @ matrix, np.eye(matrix.shape[1]), atol=1e-12)
        expected = np.einsum("ck,nchw->nkhw", matrix, level.astype(np.float64))
        assert found.dtype == dtype and found.shape[2:] == level.shape[2:]
        assert_allclose(found, expected, atol=1e-4 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize(
    ("n_channels", "of_layers", "shares"),
    [
        (100, [64, 128, 256], [14, 29, 57]),  # 14.29, 28.57, 57.14
        (100, [128, 384, 512], [13, 37, 50]),  # 12.5, 37.5, 50: of equal remainders the first wins
        (1, [3, 3, 3], [1, 0, 0]),
        (4, [1, 3], [1, 3]),
        (None, [5, 7], [5, 7]),
        ("auto", [64, 128, 256], [14, 29, 57]),
        ("auto", [5, 7], [5, 7]),
    ],
)
def test_layers_get_their_share(n_channels, of_layers, shares):
    empty = FeaturePyramid([np.empty((0, channels, 2, 2)) for channels in of_layers])
    projection = SemiOrthogonalProjection(n_channels).fit(empty)
    found = [matrix.shape for matrix in projection.projections_]
    assert found == list(zip(of_layers, shares, strict=True))


@settings(max_examples=100, deadline=None)
@given(of_layers=st.lists(st.integers(1, 40), min_size=1, max_size=5), data=st.data())
def test_shares_are_within_one_of_the_quota(of_layers, data):
    n_channels = data.draw(st.integers(1, sum(of_layers)))
    empty = FeaturePyramid([np.empty((0, channels, 1, 1)) for channels in of_layers])
    matrices = SemiOrthogonalProjection(n_channels).fit(empty).projections_
    shares = np.array([matrix.shape[1] for matrix in matrices])
    assert shares.sum() == n_channels and (shares <= of_layers).all()
    assert (np.abs(shares - n_channels * np.array(of_layers) / sum(of_layers)) < 1).all()


def test_layers_without_a_share_still_define_the_patches():
    pyramid = draw_pyramid(3, [(2, 8, 8), (20, 2, 2)])
    projected = SemiOrthogonalProjection(2).fit_transform(pyramid)
    assert [level.shape for level in projected.levels] == [(3, 0, 8, 8), (3, 2, 2, 2)]
    assert projected.shape == (3, 2, 8, 8)


def test_components_where_a_layer_has_no_channels():
    pyramid = draw_pyramid(5, [(2, 8, 8), (20, 2, 2)])
    kept = RandomChannelSelector(1, random_state=0).fit_transform(pyramid)
    assert kept.level_channels == [0, 1]
    reducer = PCAChannelReducer(1).fit(kept)
    assert_allclose(reducer.components_, [[1.0]])
    assert reducer.transform(kept).shape == (5, 1, 8, 8)


def test_subspaces_are_haar_distributed():
    """A column is uniform on the sphere, signs included: each of three entries is uniform on [-1, 1]."""
    X = np.ones((1, 3))
    matrices = np.array(
        [SemiOrthogonalProjection(2, random_state=seed).fit(X).projections_[0] for seed in range(500)]
    )
    for entries in matrices.reshape(500, -1).T:
        assert kstest(entries, "uniform", args=(-1, 2)).pvalue > 1e-3


def test_random_state_decides():
    X = np.ones((1, 8))

    def draw(random_state):
        return SemiOrthogonalProjection(3, random_state=random_state).fit(X).projections_[0]

    assert_array_equal(draw(0), draw(0))
    assert not np.array_equal(draw(0), draw(1))
    shared = np.random.RandomState(0)
    assert_array_equal(draw(shared), draw(0))
    assert not np.array_equal(draw(shared), draw(0))
    assert not np.array_equal(draw(None), draw(None))


def test_a_rotation_leaves_distances_as_they_are():
    train, test = draw_pyramid(30, SHAPES, seed=1), draw_pyramid(4, SHAPES, seed=2)
    expected = plain.distances(plain.embedding(train.levels), plain.embedding(test.levels), epsilon=0.01)
    for projection in (SemiOrthogonalProjection(None), PCAChannelReducer(None)):
        gaussian = PatchGaussian(epsilon=0.01, device="cpu").fit(projection.fit_transform(train))
        assert_allclose(gaussian.mahalanobis(projection.transform(test)), expected, rtol=1e-3)


@pytest.mark.parametrize("estimator", BOTH)
class TestBoth:
    @pytest.mark.parametrize("shape", [(6, 20), (6, 20, 3, 5)])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_arrays(self, estimator, shape, dtype):
        X = np.random.default_rng(0).normal(size=shape).astype(dtype)
        as_pyramid = FeaturePyramid([X.reshape(*shape[:2], *(shape[2:] or (1, 1)))])
        found = estimator(7).fit_transform(X)
        expected = estimator(7).fit_transform(as_pyramid).levels[0]
        assert found.shape == (6, 7, *shape[2:])
        assert_array_equal(found, expected.reshape(found.shape), strict=True)

    def test_integers_are_taken_as_floats(self, estimator):
        X = np.random.default_rng(0).integers(0, 9, (6, 5, 2, 2))
        found = estimator(2).fit_transform(FeaturePyramid([X]))
        assert_allclose(found.levels[0], estimator(2).fit_transform(X.astype(float)), atol=1e-6)

    def test_images_do_not_depend_on_each_other(self, estimator):
        pyramid = draw_pyramid(9, SHAPES)
        fitted = estimator(4).fit(pyramid)
        together, alone = fitted.transform(pyramid), fitted.transform(pyramid[3])
        assert_allclose(np.asarray(together[3]), np.asarray(alone), atol=1e-6)

    def test_step_of_a_pipeline(self, estimator):
        photos = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
        pipeline = Pipeline(
            [
                ("features", CNNFeatureTransformer(weights=None, image_size=32, device="cpu")),
                ("channels", estimator(10)),
                ("gaussian", PatchGaussian("auto", false_alarm_rate=0.2, device="cpu")),
            ]
        ).fit(photos)
        assert pipeline.named_steps["gaussian"].anomaly_map(pipeline[:-1].transform(photos)).shape == (
            12,
            32,
            32,
        )
        again = pickle.loads(pickle.dumps(pipeline))
        assert_array_equal(again.score_samples(photos), pipeline.score_samples(photos))
        assert pipeline.set_params(channels__n_channels=3).fit(photos).score_samples(photos).shape == (12,)

    def test_no_images_stay_none(self, estimator):
        pyramid = draw_pyramid(4, SHAPES)
        fitted = estimator(4).fit(pyramid)
        assert fitted.transform(pyramid[:0]).shape == (0, 4, 8, 8)

    def test_safe_files(self, estimator):
        skops = pytest.importorskip("skops.io")
        pyramid = draw_pyramid(4, SHAPES)
        fitted = estimator(4).fit(pyramid)
        again = skops.loads(skops.dumps(fitted), trusted=TRUSTED_TYPES)
        assert_array_equal(np.asarray(again.transform(pyramid)), np.asarray(fitted.transform(pyramid)))

    def test_names(self, estimator):
        names = estimator(3).fit(draw_pyramid(4, SHAPES)).get_feature_names_out()
        assert names.tolist() == [f"{estimator.__name__.lower()}{index}" for index in range(3)]

    @pytest.mark.parametrize(
        ("n_channels", "message"),
        [
            (21, "n_channels=21 .* 20 channels"),
            (0, "n_channels"),
            (2.5, "n_channels"),
            ("many", "n_channels"),
        ],
    )
    def test_bad_number_of_channels(self, estimator, n_channels, message):
        with pytest.raises(ValueError, match=message):
            estimator(n_channels).fit(draw_pyramid(4, SHAPES))

    def test_other_input_than_in_the_fit(self, estimator):
        pyramid = draw_pyramid(4, SHAPES)
        fitted = estimator(4).fit(pyramid)
        with pytest.raises(ValueError, match=f"15 features, but {estimator.__name__} is expecting 20"):
            fitted.transform(draw_pyramid(4, SHAPES[:2]))
        for other in (FeaturePyramid(pyramid.levels[::-1]), np.asarray(pyramid)):
            with pytest.raises(ValueError, match=r"levels of .* the fit saw \[6, 9, 5\]"):
                fitted.transform(other)

    def test_failed_fit_leaves_the_estimator(self, estimator):
        fitted = estimator(4).fit(draw_pyramid(4, SHAPES))
        with pytest.raises(ValueError):
            fitted.set_params(n_channels=10).fit(draw_pyramid(4, [(5, 3, 3)]))
        assert fitted.transform(draw_pyramid(4, SHAPES)).shape[:2] == (4, 4)

    @pytest.mark.parametrize("X", [np.ones((2, 3, 4)), np.full((2, 3), np.nan), [["a", "b"]]])
    def test_what_is_no_embedding_is_refused(self, estimator, X):
        with pytest.raises(ValueError):
            estimator(1).fit(X)

    def test_nothing_before_fit(self, estimator):
        with pytest.raises(NotFittedError):
            estimator().transform(draw_pyramid(2, SHAPES))


def test_components_need_finite_features_and_two_patches():
    pyramid = draw_pyramid(3, SHAPES)
    pyramid.levels[1][0, 0, 0, 0] = np.inf
    with pytest.raises(ValueError, match="layer 'level1', contains infinity"):
        PCAChannelReducer(2).fit(pyramid)
    with pytest.raises(ValueError, match="n_samples=1 patch"):
        PCAChannelReducer(1).fit(np.ones((1, 2)))
    assert PCAChannelReducer(1).fit(np.random.default_rng(0).normal(size=(1, 2, 1, 2))).components_.shape == (
        1,
        2,
    )

"""Thresholds, p-values and masks: one rule, set without defects."""

from __future__ import annotations

import copy
import warnings

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import false_discovery_control
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from plain import draw_pyramid
from skpadim import PatchGaussian, RandomChannelSelector
from skpadim.datasets import make_inspection_images
from skpadim.persistence import TRUSTED_TYPES
from small import small


def test_p_values_count_the_leave_one_out_scores_at_least_as_high(detector, photos):
    scores = -detector.score_samples(photos.X_test)
    counts = [(detector.loo_scores_ >= score).sum() for score in scores]
    assert_allclose(detector.p_values(photos.X_test), (1 + np.array(counts)) / 31)


def test_p_values_of_new_good_rows_are_valid():
    """The share of p-values at most alpha is at most alpha, over many fits, to sampling error."""
    rng = np.random.default_rng(0)
    p_values = np.concatenate(
        [
            PatchGaussian(1e-6, false_alarm_rate=0.1)
            .fit(rng.normal(size=(40, 5)))
            .p_values(rng.normal(size=(50, 5)))
            for _ in range(60)
        ]
    )
    for alpha in (0.05, 0.1, 0.25, 0.5):
        assert abs((p_values <= alpha).mean() - alpha) < 0.03


def test_false_discoveries_in_a_lot_are_controlled():
    """Planted: 60 defective rows among 400; of those called anomalies at most about a tenth are good."""
    rng = np.random.default_rng(1)
    proportions, found = [], []
    for _ in range(30):
        gaussian = PatchGaussian(n_calibration=1000).fit(rng.normal(size=(1000, 5)))
        lot = rng.normal(size=(400, 5))
        lot[:60] += 3
        anomalies = false_discovery_control(gaussian.p_values(lot)) <= 0.1
        proportions.append(anomalies[60:].sum() / max(1, anomalies.sum()))
        found.append(anomalies[:60].mean())
    assert np.mean(proportions) < 0.12
    assert np.mean(found) > 0.9


def test_rate_moves_without_refitting_and_survives_clone(detector, photos):
    moved = clone(detector).fit(photos.X_train)
    assert moved.set_false_alarm_rate(0.2) is moved
    assert moved.offset_ == -np.sort(moved.loo_scores_)[25 - 1]  # ceil(31 * 0.8) = 25
    assert_allclose(
        moved.decision_function(photos.X_test), moved.score_samples(photos.X_test) - moved.offset_
    )
    assert clone(moved).false_alarm_rate == 0.2
    assert clone(moved).fit(photos.X_train).offset_ == moved.offset_


def test_a_shallow_copy_has_a_threshold_of_its_own(detector, photos):
    before = detector.offset_
    copied = copy.copy(detector).set_false_alarm_rate(0.5)
    assert detector.offset_ == before != copied.offset_
    assert_array_equal(copied.score_samples(photos.X_test), detector.score_samples(photos.X_test))


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, "low", None, np.nan])
def test_rates_out_of_range_change_nothing(detector, rate):
    before = detector.offset_
    with pytest.raises(ValueError, match="false_alarm_rate"):
        detector.set_false_alarm_rate(rate)
    assert (detector.offset_, detector.false_alarm_rate) == (before, 0.05)


def test_small_samples_warn_when_the_rate_is_moved(detector, photos):
    with pytest.warns(UserWarning, match="false_alarm_rate=0.01 needs at least 99"):
        clone(detector).fit(photos.X_train).set_false_alarm_rate(0.01)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.9])
def test_an_image_has_a_marked_pixel_exactly_if_it_is_an_anomaly(detector, photos, rate):
    detector = clone(detector).fit(photos.X_train).set_false_alarm_rate(rate)
    X = np.concatenate([photos.X_train, photos.X_test])
    masks = detector.segment(X)
    assert masks.shape == (52, 64, 64) and masks.dtype == bool
    verdicts = np.where(masks.any(axis=(1, 2)), -1, 1)
    assert_array_equal(verdicts, detector.predict(X))
    assert set(verdicts) == {-1, 1}


@pytest.mark.parametrize("side", [16, 50, 64, 200])
def test_no_mark_is_lost_at_the_original_size(photos, side):
    detector = small(image_size=72, crop_size=64).fit(photos.X_train)
    X = list(make_inspection_images(0, 6, 12, image_size=max(32, side)).X_test[:, :side, :side])
    masks = detector.segment(X, original_size=True)
    assert {mask.shape for mask in masks} == {(side, side)}
    assert_array_equal([-1 if mask.any() else 1 for mask in masks], detector.predict(X))


def test_the_threshold_itself_is_good():
    """Scores equal to the threshold are not anomalies, and have no mark, in float32 as in float64."""
    pyramid = draw_pyramid(21, [(3, 6, 6)], image_size=(24, 24))
    gaussian = PatchGaussian().fit(pyramid[:20])
    for score in -gaussian.score_samples(pyramid):
        gaussian.offset_ = -score
        assert_array_equal(gaussian.segment(pyramid).any(axis=(1, 2)), gaussian.predict(pyramid) == -1)


def test_a_threshold_of_ones_own(detector, photos):
    """Planted: half of the photos lie above it."""
    scores = -detector.score_samples(photos.X_test)
    value = float(np.sort(scores)[len(scores) // 2 - 1])
    moved = copy.copy(detector)
    assert moved.set_threshold(value) is moved and moved.offset_ == -value
    assert detector.offset_ != moved.offset_, "the shallow copy has its own"
    expected = np.where(scores > value, -1, 1)
    assert (expected == -1).sum() == len(scores) // 2
    assert_array_equal(moved.predict(photos.X_test), expected)
    assert_array_equal(moved.segment(photos.X_test).any(axis=(1, 2)), expected == -1)
    assert_array_equal(moved.p_values(photos.X_test), detector.p_values(photos.X_test))
    assert moved.set_false_alarm_rate(detector.false_alarm_rate).offset_ == detector.offset_
    assert clone(copy.copy(detector).set_threshold(value)).fit(photos.X_train).offset_ == detector.offset_


@pytest.mark.parametrize("kind", ["joblib", "skops", "deepcopy"])
def test_a_threshold_of_ones_own_stays(detector, photos, kind, tmp_path):
    moved, path = copy.copy(detector).set_threshold(np.float32(3.25)), tmp_path / "detector"
    if kind == "joblib":
        joblib.dump(moved, path)
        moved = joblib.load(path)
    elif kind == "skops":
        skops = pytest.importorskip("skops.io")
        skops.dump(moved, path)
        moved = skops.load(path, trusted=TRUSTED_TYPES)
    else:
        moved = copy.deepcopy(moved)
    assert moved.offset_ == moved.pipeline_["gaussian"].offset_ == -3.25
    assert_array_equal(moved.predict(photos.X_test) == -1, -detector.score_samples(photos.X_test) > 3.25)


def test_a_threshold_of_ones_own_in_a_pipeline():
    pyramid = draw_pyramid(22, [(3, 6, 6), (2, 3, 3)], image_size=(24, 24))
    steps = Pipeline([("channels", RandomChannelSelector(3)), ("gaussian", PatchGaussian())]).fit(
        pyramid[:20]
    )
    scores = -steps.score_samples(pyramid)
    steps["gaussian"].set_threshold(np.median(scores))
    assert_array_equal(steps.predict(pyramid) == -1, scores > np.median(scores))
    assert_array_equal(steps.decision_function(pyramid) < 0, scores > np.median(scores))


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("3", TypeError, "value='3' must be a number"),
        (None, TypeError, "must be a number"),
        (True, TypeError, "must be a number"),
        (np.array([3.0]), TypeError, "must be a number"),
        (np.nan, ValueError, "value=nan must be finite"),
        (-np.inf, ValueError, "must be finite"),
        (-3.5, ValueError, r"value=-3.5 is negative.* Pass 3.5 if"),
    ],
)
def test_thresholds_that_are_none_change_nothing(detector, value, error, message):
    before = detector.offset_
    with pytest.raises(error, match=message):
        detector.set_threshold(value)
    assert detector.offset_ == before


def test_training_images_are_judged_by_their_leave_one_out_scores(detector, photos):
    in_sample = -detector.score_samples(photos.X_train)
    assert (detector.loo_scores_ > in_sample).all(), "an image is nearer to its own Gaussian"
    planted = np.concatenate([photos.X_train, photos.X_test[photos.y_test == -1][:1]])
    verdicts = (fitted := small().fit(planted)).loo_scores_ > -fitted.set_false_alarm_rate(0.1).offset_
    assert verdicts[-1], "a defect among the training images"
    assert_array_equal(small().fit_predict(photos.X_train), detector.predict(photos.X_train))


def test_the_dump_holds_scores_but_no_features(detector, tmp_path, photos):
    many = small(n_calibration=20).fit(photos.X_train)
    joblib.dump(many, tmp_path / "many.joblib")
    joblib.dump(small(n_calibration=25).fit(photos.X_train), tmp_path / "more.joblib")
    sizes = [(tmp_path / name).stat().st_size for name in ("many.joblib", "more.joblib")]
    assert sizes[1] - sizes[0] == 5 * 8
    assert many.pipeline_["gaussian"].n_samples_seen_ == 30


def test_grid_search_on_labels_of_outliers(photos):
    X, y = np.concatenate([photos.X_train, photos.X_test]), np.r_[np.ones(30, int), photos.y_test]
    folds = [(np.arange(20), np.arange(20, 52)), (np.arange(10, 30), np.r_[0:10, 30:52])]
    for scoring in ("roc_auc", "accuracy"):
        search = GridSearchCV(
            small(), {"n_channels": [5, 12]}, cv=folds, scoring=scoring, refit=False, error_score="raise"
        ).fit(X, y)
        assert search.cv_results_["mean_test_score"].min() > 0.5


def test_methods_before_fit(photos):
    for call in (
        lambda: small().p_values(photos.X_test),
        lambda: small().segment(photos.X_test),
        lambda: small().set_false_alarm_rate(0.1),
        lambda: small().set_threshold(3.0),
        lambda: PatchGaussian().p_values(np.ones((3, 2))),
        lambda: PatchGaussian().set_false_alarm_rate(0.1),
        lambda: PatchGaussian().set_threshold(3.0),
    ):
        with pytest.raises(NotFittedError):
            call()


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


def test_rate_and_threshold_move_together_or_not_at_all(photos):
    detector = small().fit(photos.X_train)
    before = detector.offset_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="leave-one-out scores"):
            detector.set_false_alarm_rate(0.001)
    assert (detector.offset_, detector.false_alarm_rate) == (before, 0.05)

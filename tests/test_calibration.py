"""The calibration sample, the conformal threshold and the decisions, against their definitions."""

from __future__ import annotations

import copy
import math
import warnings
from fractions import Fraction

import joblib
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import false_discovery_control
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline

from plain import draw_pyramid
from skpadim import PatchGaussian, RandomChannelSelector
from skpadim.calibration import conformal_p_values, conformal_threshold
from skpadim.datasets import make_inspection_images
from skpadim.persistence import TRUSTED_TYPES
from small import small

rates = st.integers(1, 999).map(lambda thousandths: thousandths / 1000)


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 400), rates, st.integers(0, 2**16))
@example(19, 0.05, 0)
@example(18, 0.05, 0)
@example(9, 0.7, 0)  # 1 - 0.7 is more than 0.3 in floats
@example(99, 0.29, 0)
def test_threshold_is_the_smallest_that_keeps_the_rate(n, rate, seed):
    scores = np.random.default_rng(seed).permutation(np.arange(n) + 0.5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        threshold = conformal_threshold(scores, rate)
    exact = Fraction(str(rate))
    # A new score has any place among the n with the same probability, 1 / (n + 1).
    valid = [t for t in scores if Fraction(int((scores > t).sum()) + 1, n + 1) <= exact]
    assert threshold == min(valid, default=scores.max())
    assert bool(caught) == (not valid)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 5.5]), min_size=1, max_size=40), rates)
def test_threshold_with_ties_is_the_order_statistic(scores, rate):
    rank = math.ceil((len(scores) + 1) * (1 - Fraction(str(rate))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threshold = conformal_threshold(np.array(scores), rate)
    assert threshold == sorted(scores)[min(rank, len(scores)) - 1]


@pytest.mark.parametrize(
    ("rate", "needed"), [(0.05, 19), (0.01, 99), (0.1, 9), (0.5, 1), (0.003, 333), (0.3, 3)]
)
def test_too_few_scores_are_warned_of(rate, needed):
    conformal_threshold(np.arange(float(needed)), rate)  # a warning would be an error
    if needed > 1:
        message = f"false_alarm_rate={rate} needs at least {needed} .* there are {needed - 1}"
        with pytest.warns(UserWarning, match=message):
            assert conformal_threshold(np.arange(needed - 1.0), rate) == needed - 2


def test_rates_of_half_precision_are_rates():
    scores = np.arange(100_000.0)
    assert conformal_threshold(scores, np.float16(0.1)) == conformal_threshold(scores, float(np.float16(0.1)))


def test_expected_false_alarm_rate_is_told():
    with pytest.warns(UserWarning, match="rate to expect is 0.25"):
        conformal_threshold(np.arange(3.0), 0.05)


def test_nothing_follows_from_no_scores():
    with pytest.raises(ValueError, match=r"no leave-one-out scores.*set_threshold"):
        conformal_threshold(np.empty(0), 0.05)
    assert np.isnan(conformal_p_values(np.empty(0), np.array([1.0, 2.0]))).all()


def test_scores_are_left_as_they_are():
    scores = np.array([3.0, 1.0, 2.0])
    threshold = conformal_threshold(scores, 0.5)
    assert isinstance(threshold, float) and threshold == 2.0
    assert scores.tolist() == [3.0, 1.0, 2.0]


@given(st.integers(1, 60), st.integers(2, 60), st.integers(3, 200))
@example(1, 3, 5)
@example(1, 6, 5)
def test_threshold_and_p_values_agree_for_any_fraction(numerator, denominator, n):
    rate = numerator / (numerator + denominator)
    scores = np.arange(float(n))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threshold = conformal_threshold(scores, rate)
    if 1 / (n + 1) <= rate:
        new = np.arange(-0.5, n + 1, 0.5)
        assert_array_equal(new > threshold, conformal_p_values(scores, new) <= rate)
    else:
        assert threshold == n - 1


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


def test_rate_and_threshold_move_together_or_not_at_all(photos):
    detector = small().fit(photos.X_train)
    before = detector.offset_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="leave-one-out scores"):
            detector.set_false_alarm_rate(0.001)
    assert (detector.offset_, detector.false_alarm_rate) == (before, 0.05)


def test_leave_one_out_scores_say_whose_they_are(photos, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no photo")
    X = [bad, *photos.X_train[:12], bad, *photos.X_train[12:]]
    with pytest.warns(UserWarning, match="could not be read"):
        every = small(on_error="skip").fit(X)
    assert every.loo_indices_.tolist() == [place for place in range(len(X)) if place not in (0, 13)]
    with pytest.warns(UserWarning, match="could not be read"):
        some = small(on_error="skip", n_calibration=7, batch_size=3, false_alarm_rate=0.2).fit(X)
    assert len(some.loo_indices_) == 7
    of = dict(zip(every.loo_indices_, every.loo_scores_, strict=True))
    expected = [of[index] for index in some.loo_indices_]
    np.testing.assert_allclose(some.loo_scores_, expected, rtol=1e-4)

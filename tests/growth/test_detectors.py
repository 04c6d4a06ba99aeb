"""A detector that grows day by day equals one fit on all photos."""

from __future__ import annotations

import copy

import joblib
import numpy as np
import pytest
import skops.io
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from growing import PARAMS, ROUNDING, assert_same, grown
from skpadim import PaDiMDetector
from skpadim.model_file import load_model, save_model
from skpadim.persistence import TRUSTED_TYPES
from small import small


def test_days_equal_one_fit(days, one_fit, photos):
    assert_same(grown(days), one_fit, photos)


def test_whole_batches_equal_one_fit_to_the_bit(one_fit, photos):
    detector = grown([photos.X_train[:8], photos.X_train[8:24], photos.X_train[24:]])
    assert_array_equal(detector.loo_scores_, one_fit.loo_scores_)
    assert_array_equal(detector.anomaly_map(photos.X_test), one_fit.anomaly_map(photos.X_test))


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batches_do_not_decide_which_photos_calibrate(batch_size, one_fit, photos):
    assert_same(small(**(PARAMS | {"batch_size": batch_size})).fit(photos.X_train), one_fit, photos)


def test_order_does_not_decide_which_photos_calibrate(one_fit, photos):
    order = np.random.default_rng(0).permutation(30)
    found = small(**PARAMS).fit(photos.X_train[order])
    assert sorted(order[found.loo_indices_]) == one_fit.loo_indices_.tolist()
    of = dict(zip(order[found.loo_indices_], found.loo_scores_, strict=True))
    assert_allclose([of[index] for index in one_fit.loo_indices_], one_fit.loo_scores_, rtol=ROUNDING)


def test_nothing_is_ever_stale(days, one_fit, photos):
    detector = grown(days[:3])
    threshold = detector.threshold()
    detector.set_threshold(2 * threshold)
    assert detector.threshold() == 2 * threshold
    for day in days[3:]:
        detector.partial_fit(day)
    assert "pipeline_" not in vars(detector)
    assert_same(detector, one_fit, photos)


def test_photos_that_cannot_be_read_keep_their_places(photos, tmp_path):
    paths = [tmp_path / f"{index:02}.png" for index in range(12)]
    for path, photo in zip(paths, photos.X_train, strict=False):
        Image.fromarray(photo).save(path)
    for index in (1, 9):
        paths[index].write_bytes(b"no photo")
    with pytest.warns(UserWarning, match="2 of 12 images"):
        expected = small(**PARAMS, on_error="skip").fit(paths)
    detector = small(**PARAMS, on_error="skip")
    with pytest.warns(UserWarning, match="1 of 6 images"):
        detector.partial_fit(paths[:6])
    with pytest.warns(UserWarning, match="1 of 6 images"):
        detector.partial_fit(paths[6:])
    assert_same(detector, expected, photos)
    assert detector.skipped_.keys() == expected.skipped_.keys() == {1, 9}


def test_copies_of_an_earlier_day_are_told(photos):
    detector = grown([photos.X_train[:8]])
    with pytest.warns(
        UserWarning, match=r"2 of 4 images in X are exact copies.*X\[1\] of call 2 of X\[5\] of"
    ):
        detector.partial_fit(photos.X_train[[9, 5, 10, 3]])


def test_few_photos_may_grow_and_not_score(photos):
    detector = small(**PARAMS)
    for index in range(2):
        detector.partial_fit(photos.X_train[[index]])
        with pytest.raises(NotFittedError, match=rf"n_samples={index + 1} image"):
            detector.predict(photos.X_test)
        with pytest.raises(NotFittedError):
            joblib.hash(copy.copy(detector))
    with pytest.warns(UserWarning, match="false_alarm_rate"):
        assert len(detector.partial_fit(photos.X_train[[2]]).loo_scores_) == 3


def test_a_failed_call_leaves_all_as_it_was(days, one_fit, photos, tmp_path):
    detector = grown(days[:3])
    detector.score_samples(photos.X_test)
    before, carried = dict(vars(detector)), detector.growth_bytes
    # Of the second batch the last photo is bad.
    bad = [*photos.X_train[10:25], tmp_path / "absent.png"]
    for X in (bad, np.empty((0, 64, 64, 3), np.uint8), "photo.png"):
        with pytest.raises((ValueError, TypeError)):
            detector.partial_fit(X)
        assert vars(detector) == before
    assert detector.growth_bytes == carried
    for day in days[3:]:
        detector.partial_fit(day)
    assert_same(detector, one_fit, photos)
    fresh = small(**PARAMS)
    with pytest.raises(ValueError, match=r"absent\.png"):
        fresh.partial_fit(bad)
    assert vars(fresh) == vars(small(**PARAMS))


def test_other_parameters_are_refused_by_name(days, one_fit, photos):
    detector = grown(days[:3])
    for name, value in [("layers", ("layer1",)), ("image_size", 32), ("ignore", np.eye(64)), ("epsilon", 1)]:
        was = detector.get_params()[name]
        with pytest.raises(ValueError, match=f"{name}=.*is not as when photos were learned first"):
            detector.set_params(**{name: value}).partial_fit(days[3])
        detector.set_params(**{name: was})
    with pytest.raises(ValueError, match="batch_size"):
        detector.set_params(batch_size=0).partial_fit(days[3])
    detector.set_params(batch_size=3, n_jobs=1)
    for day in days[3:]:
        detector.partial_fit(day)
    assert_same(detector, one_fit, photos)


@pytest.mark.parametrize("how", ["fit", "frozen", "joblib", "skops", "model file"])
def test_what_carries_nothing_says_so(how, days, one_fit, photos, tmp_path):
    detector = one_fit if how == "fit" else grown(days)
    if how == "frozen":
        detector.freeze()
    elif how == "joblib":
        joblib.dump(detector, tmp_path / "a.joblib")
        joblib.dump(copy.copy(detector).freeze(), tmp_path / "b.joblib")
        assert (tmp_path / "a.joblib").stat().st_size == (tmp_path / "b.joblib").stat().st_size
        detector = joblib.load(tmp_path / "a.joblib")
    elif how == "skops":
        skops.io.dump(detector, tmp_path / "a.skops")
        detector = skops.io.load(tmp_path / "a.skops", trusted=TRUSTED_TYPES)
    elif how == "model file":
        save_model(detector, tmp_path / "a.skpadim")
        assert detector.growth_bytes > 0
        detector = load_model(tmp_path / "a.skpadim").detector
    assert detector.growth_bytes == 0
    for refused in (detector.partial_fit, detector.forget):
        with pytest.raises(ValueError, match="does not grow: it was fitted by fit, frozen, or loaded"):
            refused(days[0])
    with pytest.raises(ValueError, match="does not grow"):
        detector.save_growth(tmp_path / "growth.npz")
    assert_same(detector, one_fit, photos)


def test_fit_begins_anew_and_a_clone_is_empty(days, photos):
    detector = grown(days)
    assert vars(clone(detector)).keys() == vars(small(**PARAMS)).keys()
    detector.fit(photos.X_train[:10])
    assert detector.growth_bytes == 0
    assert len(detector.loo_indices_) == 10


def test_callbacks_see_a_call_as_they_see_a_fit(photos):
    seen = []

    class Watcher:
        def setup(self, estimator, context): ...
        def teardown(self, estimator, context): ...

        def on_fit_task_begin(self, estimator, context):
            seen.append(context.task_name)

        def on_fit_task_end(self, estimator, context): ...

    detector = small(**PARAMS).set_callbacks(Watcher())
    detector.partial_fit(photos.X_train[:20])
    assert seen == ["fit", "batch", "batch", "batch"]


def test_too_little_memory_is_refused_with_a_growth(photos, monkeypatch):
    monkeypatch.setattr("skpadim.detector.available_bytes", lambda device: 10_000)
    with pytest.raises(ValueError, match=r"takes about .* of memory"):
        small(**PARAMS).partial_fit(photos.X_train)


def test_default_takes_partial_fit(photos):
    detector = PaDiMDetector(image_size=64)
    detector.partial_fit(photos.X_train[:20]).partial_fit(photos.X_train[20:])
    expected = PaDiMDetector(image_size=64).fit(photos.X_train)
    assert_allclose(detector.score_samples(photos.X_test), expected.score_samples(photos.X_test), rtol=1e-4)


def test_files_do_not_fit_other_parameters(days, photos, tmp_path):
    growing, fitted = grown(days), small(**PARAMS).fit(photos.X_train)
    growing.save_growth(tmp_path / "growth.npz")
    for detector in (growing, fitted):
        detector.set_params(sigma=2.0)
        with pytest.raises(ValueError, match=r"^sigma=2\.0 is not as when photos were learned first, 4\.0"):
            detector.load_growth(tmp_path / "growth.npz")
        detector.set_params(sigma=4.0).load_growth(tmp_path / "growth.npz")

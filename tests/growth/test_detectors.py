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

from skpadim import PaDiMDetector
from skpadim.model_file import load_model, save_model
from skpadim.persistence import TRUSTED_TYPES
from small import small

PARAMS = {"n_calibration": 20, "batch_size": 8, "false_alarm_rate": 0.1}
# Networks round by how many photos pass them together; scores are float32.
ROUNDING = 2e-5


@pytest.fixture(scope="module")
def one_fit(photos):
    return small(**PARAMS).fit(photos.X_train)


@pytest.fixture
def days(photos):
    """Return the photos of five days, of which the first two bring one each."""
    return np.split(photos.X_train, [1, 2, 10, 18])


def grown(days, **params):
    detector = small(**(PARAMS | params))
    for day in days:
        detector.partial_fit(day)
    return detector


def assert_same(one, other, photos, rtol=ROUNDING):
    assert_allclose(one.score_samples(photos.X_test), other.score_samples(photos.X_test), rtol=rtol)
    assert_allclose(one.anomaly_map(photos.X_test), other.anomaly_map(photos.X_test), rtol=100 * rtol)
    assert_allclose(one.loo_scores_, other.loo_scores_, rtol=rtol)
    assert_array_equal(one.loo_indices_, other.loo_indices_)
    assert_allclose(one.threshold(), other.threshold(), rtol=rtol)
    assert_array_equal(one.photo_statistics_, other.photo_statistics_)
    assert_array_equal(one.channel_indices_, other.channel_indices_)


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
        with pytest.raises(ValueError, match=f"{name}=.*is not as in the first call of partial_fit"):
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


def test_files_go_on_growing(days, one_fit, photos, tmp_path):
    path = tmp_path / "growth.npz"
    detector = grown(days[:3])
    detector.save_growth(path)
    save_model(detector, tmp_path / "line.skpadim")
    for again in (small(**PARAMS), load_model(tmp_path / "line.skpadim").detector):
        again.load_growth(path)
        for day in days[3:]:
            again.partial_fit(day)
        assert_same(again, one_fit, photos)
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_other_files_are_refused(days, tmp_path):
    path = tmp_path / "growth.npz"
    grown(days[2:3]).save_growth(path)
    for params, name in [
        ({"image_size": 32}, "image_size"),
        ({"random_state": 1}, "random_state"),
        ({"n_channels": 7}, "n_channels"),
        ({"backbone": "resnet34"}, "backbone and weights"),
        ({"epsilon": 1.0}, "epsilon"),
    ]:
        other = small(**(PARAMS | params))
        before = dict(vars(other))
        with pytest.raises(ValueError, match=f"the file has another {name}"):
            other.load_growth(path)
        assert vars(other) == before
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cut off, damaged"):
        small(**PARAMS).load_growth(path)
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(ValueError, match="holds something else"):
        small(**PARAMS).load_growth(tmp_path / "array.npy")
    with pytest.raises(ValueError, match="no such file"):
        small(**PARAMS).load_growth(tmp_path / "absent.npz")
    np.savez(path, format=99)
    with pytest.raises(ValueError, match="format 99"):
        small(**PARAMS).load_growth(path)
    with pytest.raises(ValueError, match="nothing to save"):
        small().save_growth(path)


@pytest.mark.parametrize("kept", [False, True], ids=["computed", "kept in memory"])
def test_what_is_left_equals_a_fit_on_it(kept, photos, tmp_path):
    """All bad photos of the days are taken out, in other batches than they came in."""
    X, bad = photos.X_train, photos.X_test[:7]
    days = [X[:5], np.concatenate([X[5:15], bad[:3]]), np.concatenate([bad[3:], X[15:]])]
    memory = tmp_path if kept else None
    detector = grown(days, memory=memory).forget(bad[[6, 0, 3, 1]]).forget(bad[[5, 2, 4]])
    expected = grown([X[:5], X[5:15], X[15:]])
    scores = expected.score_samples(photos.X_test)
    assert_allclose(detector.score_samples(photos.X_test), scores, rtol=1e-6 if not kept else ROUNDING)
    assert_allclose(detector.loo_scores_, expected.loo_scores_, rtol=1e-6 if not kept else ROUNDING)
    places = [index for index in range(37) if index not in {*range(15, 22)}]
    assert detector.loo_indices_.tolist() == [places[index] for index in expected.loo_indices_]
    assert_array_equal(detector.photo_statistics_, expected.photo_statistics_)


def test_forgotten_photos_that_came_twice_are_gone(photos):
    X = photos.X_train
    with pytest.warns(UserWarning, match="exact copies"):
        detector = grown([X[:10], X[[3, 12, 13]], X[[3, 14]]])
    detector.forget(X[[3, 3]])
    kept = [0, 1, 2, *range(4, 10), 12, 13, 14]
    expected = small(**PARAMS).fit(X[kept])
    assert_allclose(detector.score_samples(X), expected.score_samples(X), rtol=ROUNDING)


def test_a_sample_without_spares_shrinks_honestly(photos, monkeypatch):
    monkeypatch.setattr("skpadim.growth.detectors.SPARE", 2)
    X = photos.X_train
    detector = grown([X], n_calibration=10, false_alarm_rate=0.2)
    bad = detector.loo_indices_[:5]
    detector.forget(X[bad])
    left = np.delete(X, bad, axis=0)
    assert len(detector.loo_scores_) == 7
    every = small(**(PARAMS | {"n_calibration": 500})).fit(left)
    places = np.delete(np.arange(30), bad)
    of = dict(zip(places, every.loo_scores_, strict=True))
    assert_allclose(detector.loo_scores_, [of[index] for index in detector.loo_indices_], rtol=ROUNDING)
    # Photos that come later enter only before those that were left out.
    with pytest.warns(UserWarning, match="exact copies"):
        detector.partial_fit(X[places])
    assert len(detector.loo_scores_) <= 10


def test_what_cannot_be_forgotten_is_told(days, one_fit, photos, tmp_path):
    path = tmp_path / "stranger.png"
    Image.fromarray(photos.X_test[0]).save(path)
    detector = grown(days)
    before = dict(vars(detector))
    with pytest.raises(
        ValueError, match=r"1 photo\(s\) of X were never learned.*X\[1\] \('.*stranger\.png'\)"
    ):
        detector.forget([photos.X_train[0], path])
    with pytest.raises(ValueError, match=r"2 photo\(s\) would be left"):
        detector.forget(photos.X_train[2:])
    assert vars(detector) == before
    detector.forget(photos.X_train[[4]])
    with pytest.raises(ValueError, match="forgotten already"):
        detector.forget(photos.X_train[[4]])
    with pytest.raises(NotFittedError):
        small().forget(photos.X_train)


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

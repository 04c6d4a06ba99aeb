"""Photos taken out again leave what a fit without them would have learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.exceptions import NotFittedError

from grids import moments_of
from growing import PARAMS, ROUNDING, grown
from skpadim.growth.forgetting import find_learned, refuse_lost_digits
from skpadim.growth.photos import PhotosSeen
from small import small


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


def test_error_is_bounded_by_what_was_there_and_epsilon():
    rng = np.random.default_rng(0)
    before = moments_of([torch.from_numpy(rng.normal(size=(50, 3, 2, 2)))])
    after = moments_of([torch.from_numpy(rng.normal(size=(49, 3, 2, 2)))])
    largest = max(np.trace(patch) for patch in before.comoments[0].own.numpy())
    bound = 64 * 2**-52 * largest / 48
    refuse_lost_digits(before, after, 1.01e6 * bound)
    for epsilon in (0.99e6 * bound, 0.0, np.nan):
        with pytest.raises(ValueError, match="would lose digits"):
            refuse_lost_digits(before, after, epsilon)


def test_found_photos_leave_enough():
    photos = PhotosSeen()
    photos.begin()
    photos.add([bytes([index]) * 8 for index in range(6)], range(6), [""] * 6)
    contents = {index: bytes([index]) * 8 for index in range(4)}
    assert find_learned(photos, dict(list(contents.items())[:3]), str) == [(0, 0), (1, 1), (2, 2)]
    with pytest.raises(ValueError, match=r"2 photo\(s\) would be left"):
        find_learned(photos, contents, str)
    with pytest.raises(ValueError, match=r"4 photo\(s\) of X were never learned.*: 10, 11, 12, \.\.\."):
        find_learned(photos, {index: bytes([index]) * 8 for index in range(10, 14)}, str)


def test_the_last_photos_that_calibrate_cannot_be_forgotten(days, photos):
    detector = grown(days, n_calibration=3, false_alarm_rate=0.6)
    with pytest.raises(ValueError, match="none in the calibration sample"):
        for _ in range(len(photos.X_train)):
            before = detector.loo_indices_
            detector.forget(photos.X_train[before])
    assert_array_equal(detector.loo_indices_, before)
    assert len(detector.score_samples(photos.X_test)) == len(photos.X_test)

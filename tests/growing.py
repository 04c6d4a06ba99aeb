"""Small detectors that grow, and what it means that two are the same."""

from __future__ import annotations

from numpy.testing import assert_allclose, assert_array_equal

from small import small

PARAMS = {"n_calibration": 20, "batch_size": 8, "false_alarm_rate": 0.1}
# Networks round by how many photos pass them together; scores are float32.
ROUNDING = 2e-5


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

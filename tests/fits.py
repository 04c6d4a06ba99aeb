"""Fits in parts, and how they are compared with those of one process."""

from __future__ import annotations

from numpy.testing import assert_allclose, assert_array_equal

#: Fifty photos are thirteen parts.
PARAMS = {"batch_size": 4, "n_calibration": 20, "image_size": 32}


def assert_same(detector, alone):
    assert_array_equal(detector.loo_indices_, alone.loo_indices_)
    assert_allclose(detector.loo_scores_, alone.loo_scores_, rtol=1e-6)
    assert_allclose(detector.offset_, alone.offset_, rtol=1e-6)
    assert_array_equal(detector.photo_statistics_, alone.photo_statistics_)
    assert detector.skipped_ == alone.skipped_
    for mine, theirs in zip(detector.pipeline_[-1].location_, alone.pipeline_[-1].location_, strict=True):
        assert_allclose(mine, theirs, rtol=1e-6, atol=1e-7)
    assert detector.pipeline_[-1].n_samples_seen_ == alone.pipeline_[-1].n_samples_seen_

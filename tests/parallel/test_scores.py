"""Scores in parts are those of one process, to the bit."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from workers import drawn

X = [drawn(seed) for seed in range(200, 230)]


@pytest.mark.parametrize("engine", ["loky", "threading", "dask", "ray"], indirect=True)
def test_scores_maps_and_marks(engine, alone, request):
    shared = alone.set_params(n_jobs=1)
    expected = shared.score_samples(X), shared.anomaly_map(X), shared.segment(X)
    shared.set_params(n_jobs=None)
    with engine():
        assert_array_equal(shared.score_samples(X), expected[0])
        # Ray begins new processes for every call.
        if "ray" not in request.node.name:
            assert_array_equal(shared.anomaly_map(X), expected[1])
            assert_array_equal(shared.segment(X), expected[2])


@pytest.mark.parametrize("engine", ["loky", "threading", "dask"], indirect=True)
def test_inspections(engine, alone):
    wanted = {"maps": True, "regions": True, "checks": True, "original_size": True}
    alone.set_params(n_jobs=1)
    expected = alone.inspect(X, **wanted)
    alone.set_params(n_jobs=None)
    with engine():
        found = list(alone.iter_inspect(X, **wanted))
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.index, mine.score, mine.regions) == (theirs.index, theirs.score, theirs.regions)
        assert mine.check == theirs.check
        assert_array_equal(mine.map, theirs.map)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_photos_that_cannot_be_read(n_jobs, alone, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no photo")
    mixed = [*X[:20], broken, *X[20:]]
    alone.set_params(n_jobs=n_jobs, on_error="skip")
    try:
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            scores, found = alone.score_samples(mixed), alone.inspect(mixed)
    finally:
        alone.set_params(n_jobs=None, on_error="raise")
    assert_array_equal(np.flatnonzero(np.isnan(scores)), [20])
    assert_array_equal(found.scores, -scores)
    assert [one.index for one in found] == list(range(31))
    assert found[20].error.startswith(f"X[20] ({str(broken)!r})")
    assert len(record) == 2
    assert all(str(each.message).startswith("1 of 31 images in X could") for each in record)

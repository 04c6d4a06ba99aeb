"""Fits whose workers die on the way, after all that wants these at work."""

from __future__ import annotations

import pytest

from fits import PARAMS, assert_same
from skpadim import PhotoLoader
from small import small
from workers import KillsOnce


@pytest.mark.parametrize("engine", ["dask"], indirect=True)
def test_what_a_dead_worker_had_is_done_again(engine, loader, alone, tmp_path):
    deadly = PhotoLoader(loader.items, KillsOnce(tmp_path / "flag", 22))
    with engine():
        detector = small(**PARAMS).fit(deadly)
    assert (tmp_path / "flag").exists()
    assert_same(detector, alone)

"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from skpadim.datasets import make_inspection_images
from small import small

_DATA = Path(os.environ.get("SKPADIM_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real photos and weights; tests that need it are skipped without it."""
    if not (_DATA / "magnetic_tile").is_dir():
        pytest.skip(f"no real photos in {_DATA}; set SKPADIM_DATA to their folder")
    return _DATA


@pytest.fixture(autouse=True)
def _global_random_state_stays(request):
    """Nothing of ours may move the global generators of numpy or torch."""
    if request.node.get_closest_marker("moves_global_generator"):
        yield
        return
    numpy_before = np.random.get_state()[1].copy()
    position = np.random.get_state()[2]
    torch_before = torch.random.get_rng_state()
    yield
    assert np.array_equal(np.random.get_state()[1], numpy_before), "numpy's global generator moved"
    assert np.random.get_state()[2] == position, "numpy's global generator moved"
    assert torch.equal(torch.random.get_rng_state(), torch_before), "torch's global generator moved"


@pytest.fixture(scope="module")
def photos():
    return make_inspection_images(30, 10, 12, image_size=64)


@pytest.fixture(scope="module")
def detector(photos):
    return small().fit(photos.X_train)


@pytest.fixture
def warned_each_time():
    """torch warns of what it has warned of before."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)

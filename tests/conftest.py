"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from skpadim import FeaturePyramid

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


def draw_pyramid(n_images, shapes, *, scale=1.0, seed=0, dtype=np.float32, image_size=(224, 224)):
    """Draw a pyramid with correlated channels, levels (channels, height, width)."""
    rng = np.random.default_rng(seed)
    levels = []
    for channels, height, width in shapes:
        noise = rng.normal(size=(n_images, channels, height, width))
        mixing = rng.normal(size=(channels, channels)) / np.sqrt(channels)
        offset = rng.normal(size=(channels, height, width)) * 3
        mixed = np.einsum("ncij,dc->ndij", noise, mixing) + offset
        levels.append((scale * mixed).astype(dtype))
    return FeaturePyramid(levels, image_size=image_size)

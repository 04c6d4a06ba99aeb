"""What anomalib has learned and computed, stored, and the network with which it did."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import get_model

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
_REASON = "the benchmarks, which draw the weights, are not in this distribution"


@pytest.fixture(scope="session")
def values():
    """Return what benchmarks/anomalib_values.py has stored."""
    with np.load(Path(__file__).with_name("anomalib.npz")) as stored:
        return dict(stored)


@pytest.fixture(scope="session")
def network():
    """Return the whole ResNet-18 of which anomalib has used the first three layers."""
    drawn = pytest.importorskip("anomalib_values", reason=_REASON).drawn_weights
    with torch.random.fork_rng(devices=[]):
        return drawn(get_model("resnet18", weights=None).state_dict())


@pytest.fixture(scope="session")
def state(values, network):
    """Return the state dict of anomalib's PadimModel."""
    return pytest.importorskip("anomalib_values", reason=_REASON).checkpoint(values, network)

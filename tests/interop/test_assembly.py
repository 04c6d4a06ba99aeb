"""Detectors from their parts, against the fitted detector of which the parts are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skpadim.interop.assembly import ForeignGaussian, ForeignNetwork, assemble
from skpadim.network.normalisation import Normalisation


@pytest.fixture(scope="module")
def parts(detector):
    """Return the parts of a fitted detector, its channels in another order."""
    features, _, gaussian = detector.pipeline_.named_steps.values()
    network = ForeignNetwork(
        "resnet18", features.layer_names_, features.trunk_arrays_, Normalisation(*features.normalisation_)
    )
    order = np.random.default_rng(0).permutation(12)
    height, width = gaussian.level_shapes_[0][1:]
    matrices = [gaussian.get_covariance(row, column) for row in range(height) for column in range(width)]
    inverse = torch.from_numpy(np.linalg.inv(np.array(matrices))[:, order[:, None], order])
    fine, coarse = gaussian.location_
    mean = np.concatenate([fine, coarse.repeat(2, axis=1).repeat(2, axis=2)]).reshape(12, -1)[order]
    return network, ForeignGaussian(
        detector.channel_indices_[order], torch.from_numpy(mean), lambda patches: inverse[patches]
    )


def test_the_whole_does_what_it_did(detector, parts, photos):
    made = assemble(*parts, image_size=64, epsilon=0.01, device="cpu")
    assert_allclose(made.anomaly_map(photos.X_test), detector.anomaly_map(photos.X_test), rtol=1e-3)
    assert_array_equal(made.channel_indices_, detector.channel_indices_)
    assert made.get_params()["layers"] == ("layer1", "layer2")
    assert made.skipped_ == {}


def test_a_crop_is_what_the_network_sees(detector, parts, photos):
    made = assemble(*parts, image_size=80, crop_size=64, epsilon=0.01, device="cpu")
    padded = np.pad(photos.X_test, [(0, 0), (8, 8), (8, 8), (0, 0)])
    assert_allclose(made.score_samples(padded), detector.score_samples(photos.X_test), rtol=1e-3)


def test_channels_that_are_not_there_are_refused(parts):
    network, gaussian = parts
    for wrong in (gaussian.indices + 192, np.zeros(12, dtype=np.int64), gaussian.indices - 192):
        with pytest.raises(ValueError, match="are not distinct ones of the 192"):
            assemble(network, replace(gaussian, indices=wrong), image_size=64, device="cpu")


def test_another_size_is_refused(parts):
    with pytest.raises(ValueError, match=r"256 patches, and photos of 96x96 pixels have 24x24"):
        assemble(*parts, image_size=96, device="cpu")

"""Detectors from the pickles of the first public implementation, against its formulas in NumPy and SciPy."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import mahalanobis
from torch.nn import functional
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor

from skpadim.datasets import make_inspection_images
from skpadim.interop import from_first_reference

LAYERS = ["layer1", "layer2", "layer3"]
SIZE, CROP = 40, 32
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def photos():
    drawn = make_inspection_images(12, 1, 1, image_size=SIZE)
    return drawn.X_train, drawn.X_test


def embed(photos, network, indices):
    """Return embeddings (n, channels, h, w): cropped photos, features repeated to the finest layer's size."""
    whole = get_model("resnet18", weights=None).eval()
    whole.load_state_dict(network)
    first = (SIZE - CROP) // 2
    cut = photos[:, first : first + CROP, first : first + CROP] / 255
    pixels = torch.from_numpy((cut - MEAN) / STD).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        levels = [level.numpy() for level in create_feature_extractor(whole, LAYERS)(pixels).values()]
    height = levels[0].shape[2]
    repeated = [
        level.repeat(height // level.shape[2], axis=2).repeat(height // level.shape[3], axis=3)
        for level in levels
    ]
    return np.concatenate(repeated, axis=1)[:, indices]


@pytest.fixture(scope="module")
def learned(photos, network):
    """Return channels, mean and covariance as the first implementation computes them."""
    indices = random.Random(1024).sample(range(448), 100)
    with torch.random.fork_rng(devices=[]):
        embedding = embed(photos[0], network, indices)
    patches = embedding.reshape(len(embedding), 100, -1)
    covariance = np.zeros((100, 100, patches.shape[2]), dtype=np.float32)
    for place in range(patches.shape[2]):
        covariance[:, :, place] = np.cov(patches[:, :, place], rowvar=False) + 0.01 * np.identity(100)
    return indices, patches.mean(axis=0), covariance


@pytest.fixture(scope="module")
def files(tmp_path_factory, learned, network):
    folder = tmp_path_factory.mktemp("reference")
    (folder / "train_part.pkl").write_bytes(pickle.dumps([learned[1], learned[2]]))
    torch.save(network, folder / "resnet18.pth")
    return folder


def take_over(files, path="train_part.pkl", **arguments):
    given = {"weights": files / "resnet18.pth", "image_size": SIZE, "crop_size": CROP, "device": "cpu"}
    return from_first_reference(files / path, **(given | arguments))


def test_maps_are_those_of_the_formulas(files, learned, photos, network):
    indices, mean, covariance = learned
    with torch.random.fork_rng(devices=[]):
        patches = embed(photos[1], network, indices).reshape(2, 100, -1)
    distances = np.empty((2, patches.shape[2]))
    for place in range(patches.shape[2]):
        inverse = np.linalg.inv(covariance[:, :, place].astype(np.float64))
        for index in range(2):
            distances[index, place] = mahalanobis(patches[index, :, place], mean[:, place], inverse)
    grid = torch.from_numpy(distances).unflatten(1, (CROP // 4, CROP // 4))
    maps = functional.interpolate(grid[:, None], size=CROP, mode="bilinear", align_corners=False)[:, 0]
    smooth = [gaussian_filter(single, sigma=4) for single in maps.numpy()]
    detector = take_over(files)
    assert_allclose(detector.anomaly_map(photos[1]), smooth, rtol=1e-3)
    assert_array_equal(detector.channel_indices_, np.sort(indices))


def test_channels_may_be_given(files, learned, photos):
    drawn, given = take_over(files), take_over(files, indices=learned[0])
    assert_array_equal(drawn.score_samples(photos[1]), given.score_samples(photos[1]))
    with pytest.raises(ValueError, match=r"indices has shape \(3,\)"):
        take_over(files, indices=[1, 2, 3])
    with pytest.raises(ValueError, match="differ by"):  # other channels are of other layers
        take_over(files, indices=range(100))


def test_a_threshold_has_to_be_set(files, photos):
    detector = take_over(files)
    with pytest.raises(ValueError, match="set_threshold first"):
        detector.predict(photos[1])
    assert detector.set_threshold(0).predict(photos[1]).tolist() == [-1, -1]


@pytest.mark.parametrize(
    "content",
    [[1, 2], [np.ones((3, 4)), np.ones((3, 4))], {"mean": np.ones(3)}, [np.ones((3, 4), dtype=int)] * 2],
)
def test_other_contents_are_refused(files, content):
    (files / "other.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match="expected a list of the mean"):
        take_over(files, "other.pkl")


def test_an_unusual_number_of_channels_wants_a_name(files, learned):
    _, mean, covariance = learned
    (files / "few.pkl").write_bytes(pickle.dumps([mean[:7], covariance[:7, :7]]))
    with pytest.raises(ValueError, match="name the backbone"):
        take_over(files, "few.pkl")
    with pytest.raises(ValueError, match="which 7 channels were kept is for you to say"):
        take_over(files, "few.pkl", backbone="resnet34")
    few = take_over(files, "few.pkl", backbone="resnet18", indices=learned[0][:7])
    assert len(few.channel_indices_) == 7


def test_an_absent_file_is_told(files):
    with pytest.raises(ValueError, match=r"none\.pkl' cannot be read: there is no such file"):
        take_over(files, "none.pkl")

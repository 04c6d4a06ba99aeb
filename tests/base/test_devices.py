"""The same on every device: the plain formulas hold on the CPU, and on a GPU where there is one."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import plain
from networks import hooked, network
from plain import draw_pyramid
from skpadim import CNNFeatureTransformer, PaDiMDetector, PatchGaussian
from skpadim.base.devices import host_tensor
from skpadim.datasets import make_inspection_images
from skpadim.kernels.moments import add_batch, empty_moments

SHAPES = [(3, 8, 8), (4, 4, 4), (5, 2, 2)]

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")

DEVICES = ["cpu", pytest.param("cuda", marks=on_a_gpu)]


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


@pytest.fixture(scope="module")
def photos():
    return make_inspection_images(n_train=12, n_good=2, n_defective=2, image_size=64)


def test_distances_and_maps_equal_the_definition(device):
    train, test = draw_pyramid(30, SHAPES, seed=0), draw_pyramid(5, SHAPES, seed=1)
    gaussian = PatchGaussian(0.01, device=device).fit(train)
    expected = plain.distances(plain.embedding(train.levels), plain.embedding(test.levels), 0.01)
    assert_allclose(gaussian.mahalanobis(test), expected, rtol=1e-4)
    assert_allclose(gaussian.anomaly_map(test), plain.maps(expected, (224, 224)), rtol=1e-4)


def test_leave_one_out_equals_leaving_out(device):
    pyramid = draw_pyramid(12, SHAPES, seed=0)
    gaussian = PatchGaussian(0.01, device=device, false_alarm_rate=0.2).fit(pyramid)
    embedding = plain.embedding(pyramid.levels)
    distances = [
        plain.distances(np.delete(embedding, i, axis=0), embedding[i : i + 1], 0.01) for i in range(12)
    ]
    expected = [plain.maps(single, (224, 224)).max() for single in distances]
    assert_allclose(gaussian.loo_scores_, expected, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:false_alarm_rate=")
def test_detector_scores_as_on_the_cpu(device, photos):
    fitted = PaDiMDetector(weights=None, image_size=64, device=device, batch_size=5).fit(photos.X_train)
    on_cpu = PaDiMDetector(weights=None, image_size=64, device="cpu").fit(photos.X_train)
    assert_allclose(fitted.score_samples(photos.X_test), on_cpu.score_samples(photos.X_test), rtol=1e-4)
    assert_allclose(fitted.anomaly_map(photos.X_test), on_cpu.anomaly_map(photos.X_test), rtol=1e-4)
    assert_array_equal(fitted.segment(photos.X_test).any(axis=(1, 2)), fitted.predict(photos.X_test) == -1)
    moved = copy.deepcopy(pickle.loads(pickle.dumps(fitted)))
    assert_allclose(moved.score_samples(photos.X_test), fitted.score_samples(photos.X_test), rtol=1e-5)


def test_fitted_state_lies_on_the_cpu(device, photos):
    with pytest.warns(UserWarning, match="false_alarm_rate"):
        fitted = PaDiMDetector(weights=None, image_size=64, device=device).fit(photos.X_train)
    gaussian = fitted.pipeline_[-1]
    assert all(isinstance(part, np.ndarray) for part in (*gaussian.location_, *gaussian.whitening_))
    assert isinstance(fitted.loo_scores_, np.ndarray)


def test_bfloat16_changes_features_by_its_rounding_alone(device, photos):
    arguments = {"weights": None, "image_size": 64, "device": device}
    exact = CNNFeatureTransformer(**arguments).fit_transform(photos.X_test)
    coarse = CNNFeatureTransformer(precision="bfloat16", **arguments).fit_transform(photos.X_test)
    for found, expected in zip(coarse.levels, exact.levels, strict=True):
        assert found.dtype == np.float32
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert 1e-5 < error < 0.03, "eight bits of mantissa, through a network"


@pytest.mark.filterwarnings("ignore:false_alarm_rate=")
def test_batches_of_any_size_give_the_same(device, photos):
    arguments = {"weights": None, "image_size": 64, "device": device}
    X = np.concatenate([photos.X_test, photos.X_train])
    expected = PaDiMDetector(**arguments).fit(photos.X_train).anomaly_map(X)
    for batch_size in (1, 3, 5):
        fitted = PaDiMDetector(batch_size=batch_size, **arguments).fit(photos.X_train)
        assert_allclose(fitted.anomaly_map(X), expected, rtol=1e-4)


def test_tf32_is_a_choice(device, photos):
    """Without it features are exact to float32, whatever torch's switch says; on a CPU there is none."""
    layers, model = ("layer1", "layer3"), network("resnet18")
    pixels = (photos.X_test / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    outputs = hooked(copy.deepcopy(model).double(), layers, torch.from_numpy(pixels).permute(0, 3, 1, 2))
    exact = [outputs[layer].numpy() for layer in layers]
    errors = {}
    for precision in (None, "float32", "tf32"):
        features = CNNFeatureTransformer(
            model, layers=layers, image_size=64, device=device, precision=precision
        ).fit_transform(photos.X_test)
        errors[precision] = max(
            np.linalg.norm(found - expected) / np.linalg.norm(expected)
            for found, expected in zip(features.levels, exact, strict=True)
        )
    assert errors[None] == errors["float32"] < 2e-6
    rounds = device == "cuda" and torch.cuda.get_device_capability() >= (8, 0)
    assert (1e-5 < errors["tf32"] < 1e-2) if rounds else errors["tf32"] == errors["float32"]


@on_a_gpu
@pytest.mark.filterwarnings("ignore:false_alarm_rate=", "ignore:Synchronization debug mode")
def test_no_batch_waits_for_the_gpu(photos):
    fitted = PaDiMDetector(weights=None, image_size=64, batch_size=4, device="cuda").fit(photos.X_train)
    features, kept = fitted.pipeline_[0], fitted._kept_channels()
    shapes = [
        (len(channels), *shape[1:]) for channels, shape in zip(kept, features.level_shapes_, strict=True)
    ]
    moments = empty_moments(shapes[::-1], torch.device("cuda"))
    fitted.anomaly_map(photos.X_train)  # The first batch waits: kernels are loaded.
    torch.cuda.set_sync_debug_mode("error")
    try:
        for method in (fitted.score_samples, fitted.anomaly_map, fitted.segment):
            method(photos.X_train)
        for batch in features.levels(photos.X_train, kept):
            add_batch(moments, batch[::-1])
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.filterwarnings("ignore:false_alarm_rate=")
def test_bfloat16_detector_goes_through_a_file(device, photos):
    arguments = {"weights": None, "image_size": 64, "device": device}
    coarse = PaDiMDetector(precision="bfloat16", **arguments).fit(photos.X_train)
    exact = PaDiMDetector(**arguments).fit(photos.X_train)
    loaded = pickle.loads(pickle.dumps(coarse))
    assert_array_equal(loaded.score_samples(photos.X_test), coarse.score_samples(photos.X_test))
    assert_allclose(coarse.score_samples(photos.X_test), exact.score_samples(photos.X_test), rtol=0.2)
    weights = loaded.pipeline_["features"].trunk_arrays_
    assert {array.dtype for name, array in weights.items() if name.endswith("weight")} == {np.dtype("f4")}


def test_precision_must_be_known(photos):
    with pytest.raises(ValueError, match="'precision' parameter of PaDiMDetector"):
        PaDiMDetector(weights=None, precision="float16").fit(photos.X_train)


def test_arrays_that_may_not_be_written_to_are_copied():
    array = np.arange(4.0)
    assert host_tensor(array).data_ptr() == array.ctypes.data
    array.flags.writeable = False
    copied = host_tensor(array)
    assert copied.data_ptr() != array.ctypes.data
    assert_array_equal(copied.numpy(), array)

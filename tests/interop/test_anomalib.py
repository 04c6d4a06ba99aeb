"""Detectors from anomalib's checkpoints, against what anomalib itself computed: its values are stored.

benchmarks/anomalib_values.py made them, with anomalib 2.7.0.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import convolve
from torch import nn
from torch.nn import functional

from skpadim import PaDiMDetector
from skpadim.interop import from_anomalib
from skpadim.interop.anomalib import _ALSO_IN_TORCHVISION
from skpadim.persistence import TRUSTED_TYPES

SIZE = 64
BORDER = 16


@pytest.fixture(scope="module")
def detector(state):
    return from_anomalib(state, image_size=SIZE, device="cpu")


def distances(detector, photos):
    features, channels, gaussian = detector.pipeline_.named_steps.values()
    return gaussian.mahalanobis(channels.transform(features.transform(photos)))


def test_distances_are_anomalibs(detector, values):
    assert_allclose(distances(detector, values["photos"]), values["distances"], rtol=1e-4)


def test_maps_are_anomalibs_but_for_their_borders(detector, values):
    maps, theirs = detector.anomaly_map(values["photos"]), values["maps"]
    inside = (slice(None), slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    assert_allclose(maps[inside], theirs[inside], rtol=1e-4)
    # With the kernel and the mirror of anomalib, everywhere.
    upsampled = functional.interpolate(
        torch.from_numpy(distances(detector, values["photos"]))[:, None], size=(SIZE, SIZE), mode="bilinear"
    )[:, 0]
    kernel = values["anomaly_map_generator.blur.kernel"][0, 0]
    smooth = [convolve(single, kernel, mode="mirror") for single in upsampled.numpy()]
    assert_allclose(smooth, theirs, rtol=1e-4)
    assert np.abs(maps / theirs - 1).max() > 1e-3  # or there were no borders to speak of


def test_what_is_taken_over(detector, values):
    assert_array_equal(detector.channel_indices_, np.sort(values["idx"]))
    assert detector.pipeline_["gaussian"].epsilon_ == pytest.approx(0.01001)
    covariance = np.linalg.inv(values["gaussian.inv_covariance"][37].astype(np.float64))
    order = np.argsort(values["idx"])
    ours = detector.pipeline_["gaussian"].get_covariance(37 // 16, 37 % 16)
    assert_allclose(ours, covariance[np.ix_(order, order)], rtol=1e-3, atol=1e-3 * covariance.max())


def test_a_threshold_has_to_be_set(state, values):
    detector, photos = from_anomalib(state, image_size=SIZE, device="cpu"), values["photos"]
    assert len(detector.loo_scores_) == len(detector.loo_indices_) == 0
    for decides in (detector.predict, detector.segment, detector.inspect):
        with pytest.raises(ValueError, match="set_threshold first"):
            decides(photos)
    with pytest.raises(ValueError, match="no p-values"):
        detector.p_values(photos)
    with pytest.raises(ValueError, match="has not learned what good photos look like"):
        detector.check(photos)
    scores = -detector.score_samples(photos)
    detector.set_threshold(scores.mean())
    assert_array_equal(detector.predict(photos), np.where(scores > scores.mean(), -1, 1))
    found = detector.inspect(photos, regions=True)
    assert_array_equal(found.labels, detector.predict(photos))
    assert np.isnan(found.p_values).all()


def test_it_is_saved_as_any(detector, values):
    loaded = pickle.loads(pickle.dumps(detector))
    assert_array_equal(loaded.anomaly_map(values["photos"]), detector.anomaly_map(values["photos"]))


def test_it_goes_through_safe_files(detector, values):
    skops_io = pytest.importorskip("skops.io")
    loaded = skops_io.loads(skops_io.dumps(detector), trusted=TRUSTED_TYPES)
    assert_array_equal(loaded.anomaly_map(values["photos"]), detector.anomaly_map(values["photos"]))


def test_its_network_serves_another_fit(tmp_path, detector, values):
    arrays = detector.pipeline_["features"].trunk_arrays_
    torch.save({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, tmp_path / "w.pth")
    photos = np.random.default_rng(0).integers(0, 256, (25, SIZE, SIZE, 3), dtype=np.uint8)
    again = PaDiMDetector("resnet18", weights=tmp_path / "w.pth", image_size=SIZE, device="cpu").fit(photos)
    own, theirs = (each.pipeline_["features"] for each in (again, detector))
    for level, other in zip(own.transform(photos).levels, theirs.transform(photos).levels, strict=True):
        assert_array_equal(level, other)


def checkpoint(state, size=SIZE, **said):
    """Return what Lightning saves of anomalib's Padim."""
    resize = {"size": [size, size], "interpolation": "bilinear", "max_size": None, "antialias": True}
    scale = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "inplace": False}
    steps = [
        {"class_path": "torchvision.transforms.v2.Resize", "init_args": resize},
        {"class_path": "torchvision.transforms.v2.Normalize", "init_args": scale},
    ]
    whole = {"class_path": "torchvision.transforms.v2.Compose", "init_args": {"transforms": steps}}
    return {
        "epoch": 0,
        "state_dict": {"_is_fitted": torch.tensor([True])} | {f"model.{k}": v for k, v in state.items()},
        "hyper_parameters": {"backbone": "resnet18", "layers": ["layer1", "layer2", "layer3"]} | said,
        "anomalib_pre_processor_config": {"transform": whole},
    }


class PadimModel(nn.Module):
    """Stands for anomalib's in an exported file: attributes and buffers of the same names."""

    def __init__(self, state):
        super().__init__()
        self.backbone, self.layers = "resnet18", ["layer1", "layer2", "layer3"]
        for name, value in state.items():
            module = self
            *parents, last = name.split(".")
            for parent in parents:
                if not hasattr(module, parent):
                    module.add_module(parent, nn.Module())
                module = getattr(module, parent)
            module.register_buffer(last, value)


class Padim(nn.Module):
    def __init__(self, state):
        super().__init__()
        from torchvision.transforms import v2

        self.model = PadimModel(state)
        self.pre_processor = nn.Module()
        self.pre_processor.transform = v2.Compose(
            [v2.Resize((SIZE, SIZE)), v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
        )


def older_checkpoint(state):
    """Return what Lightning saves before anomalib 2.7: the pre-processor itself is a hyperparameter."""
    content = checkpoint(state, pre_processor=Padim(state).pre_processor)
    del content["anomalib_pre_processor_config"]
    return content


def exported(state):
    return {"model": Padim(state)}


@pytest.mark.parametrize("content", [checkpoint, older_checkpoint, exported, dict])
def test_files_say_what_is_needed(tmp_path, state, values, detector, content):
    torch.save(content(state), tmp_path / "file")
    sizes = {"image_size": SIZE} if content is dict else {}
    found = from_anomalib(tmp_path / "file", device="cpu", **sizes)
    layers = ("layer1", "layer2", "layer3")
    assert (found.image_size, found.backbone, found.layers) == ((SIZE, SIZE), "resnet18", layers)
    assert_array_equal(found.score_samples(values["photos"]), detector.score_samples(values["photos"]))


def test_other_files_are_refused(tmp_path, state):
    with pytest.raises(ValueError, match="no PaDiM of anomalib 2"):
        from_anomalib({"weight": torch.ones(2)})
    with pytest.raises(ValueError, match="not fitted"):
        from_anomalib(state | {"gaussian.inv_covariance": torch.empty(0)}, image_size=SIZE)
    with pytest.raises(ValueError, match="damaged"):
        from_anomalib(state | {"gaussian.mean": torch.ones(3, 256)}, image_size=SIZE)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds a list"):
        from_anomalib(tmp_path / "list.pt")


def _without(state, *names):
    return {name: value for name, value in state.items() if name not in names}


def _said(transform):
    return lambda state: checkpoint(state) | {"anomalib_pre_processor_config": {"transform": transform}}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda state: {}, "holds no tensors, and no PaDiM"),
        (lambda state: {"state_dict": {}}, "holds no tensors, and no PaDiM"),
        (lambda state: {"a": "b"}, "holds no tensors, and no PaDiM"),
        (lambda state: None, "holds a NoneType"),
        (lambda state: _without(state, "idx", "gaussian.mean"), "has no idx and no gaussian.mean"),
        (lambda state: state | {"idx": torch.tensor(3)}, r"idx has shape \(\)"),
        (lambda state: state | {"idx": state["idx"].float()}, "idx has dtype torch.float32"),
        (
            lambda state: checkpoint(state) | {"hyper_parameters": 5},
            "hyper_parameters should be a dict.* is 5",
        ),
        (lambda state: checkpoint(state) | {"anomalib_pre_processor_config": [1]}, r"a dict, and is \[1\]"),
        (
            lambda state: checkpoint(state, backbone=5),
            "backbone should be a name, and is 5.*Pass its state_dict",
        ),
        (lambda state: checkpoint(state, layers=5), "layers should be a list of names, and is 5"),
        (_said("Resize"), "pre-processor cannot be understood.*Pass its state_dict alone"),
        (_said({"class_path": "v2.Resize"}), "cannot be understood.*init_args"),
        (_said({"class_path": "v2.CenterCrop", "init_args": {"size": ["a", 1, 2]}}), "its crop must be"),
    ],
)
def test_foreign_values_are_named(state, content, told):
    with pytest.raises(ValueError, match=told):
        from_anomalib(content(state), image_size=SIZE)


def test_what_does_not_fit_says_what_to_name(state):
    with pytest.raises(ValueError, match="have 64x64 in layer1, layer2, layer3"):
        from_anomalib(state)  # 256 pixels, anomalib's default
    with pytest.raises(ValueError, match="network is not 'wide_resnet50_2'"):
        from_anomalib(state, image_size=SIZE, backbone="wide_resnet50_2")
    with pytest.raises(ValueError, match="are not distinct ones of the 192"):
        from_anomalib(state, image_size=SIZE, layers=["layer1", "layer2"])
    with pytest.raises(ValueError, match="differ by"):
        # The same channels, of layers in another order: fine features are taken for coarse ones.
        from_anomalib(state, image_size=SIZE, layers=["layer3", "layer2", "layer1"])


# One of each kind; the deeper ones of the table are more of the same blocks.
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2"])
def test_networks_of_timm_are_torchvisions(name):
    timm = pytest.importorskip("timm")
    from torchvision.models import get_model
    from torchvision.models.feature_extraction import create_feature_extractor

    assert name in _ALSO_IN_TORCHVISION
    layers = ["layer1", "layer2", "layer3"]
    with torch.random.fork_rng(devices=[]):
        theirs = timm.create_model(name, features_only=True, out_indices=(1, 2, 3)).eval()
        ours = get_model(name, weights=None).eval()
        images = torch.rand(1, 3, 64, 64)
    ours.load_state_dict(theirs.state_dict(), strict=False)
    with torch.inference_mode():
        expected, found = theirs(images), create_feature_extractor(ours, layers)(images)
    for level, layer in zip(expected, layers, strict=True):
        assert torch.equal(found[layer], level)

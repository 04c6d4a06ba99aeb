"""What must never share features in a memory, and files that must not be believed."""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image
from torch import nn

from skpadim import CNNFeatureTransformer
from skpadim.memory.store import FeatureStore

SIZE = 32
PHOTOS = np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE, 3), dtype=np.uint8)


def features(backbone="resnet18", memory=None, **arguments):
    arguments = {"weights": None, "image_size": SIZE, "layers": ("layer1",), **arguments}
    return CNNFeatureTransformer(backbone, memory=memory, **arguments)


def assert_same(found, expected):
    for level, other in zip(found.levels, expected.levels, strict=True):
        assert level.dtype == other.dtype
        assert_allclose(level, other, rtol=1e-4, atol=1e-4 * abs(other).max())


def test_folder_that_takes_nothing(tmp_path):
    """As on a full disk, or where another user owns it: told, and computed all the same."""
    memory = joblib.Memory(tmp_path / "store", verbose=0)
    Path(memory.store_backend.location, "skpadim").write_text("no folder")
    with pytest.warns(UserWarning, match=r"memory: features cannot be kept \(.*Not a directory"):
        found = features(memory=memory, layers=["layer1"]).fit_transform(PHOTOS)
    assert_same(found, features(layers=["layer1"]).fit_transform(PHOTOS))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a VGG whose batch norms are far from doing nothing, as those of a trained network."""
    from torchvision.models import vgg11_bn

    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        model = vgg11_bn(weights=None)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(4 * torch.rand(module.num_features, generator=generator) + 0.1)
    path = tmp_path_factory.mktemp("weights") / "vgg.pth"
    torch.save(model.features.state_dict(prefix="features."), path)
    return path


# In torchvision's VGG, 0 is a convolution, 1 its batch norm, 4 the next convolution.
@pytest.mark.parametrize(
    ("first", "second"),
    [("features.1", "features.0"), ("features.0", "features.1"), ("features.0", "features.4")],
)
def test_folded_batch_norm_is_not_its_convolution(first, second, weights, tmp_path):
    arguments = {"backbone": "vgg11_bn", "weights": weights}
    features(memory=tmp_path, layers=[first], **arguments).fit_transform(PHOTOS)
    found = features(memory=tmp_path, layers=[second], **arguments).fit_transform(PHOTOS)
    assert_same(found, features(layers=[second], **arguments).fit_transform(PHOTOS))


def test_half_a_file_of_doubles_is_not_one_of_floats(tmp_path):
    store = FeatureStore(tmp_path, "network")
    features = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    store.write(["one", "two"], "layer", features.double())
    assert torch.equal(store.read(["one", "two"], "layer", (3, 4, 5)), features.double())
    for path in tmp_path.rglob("layer*"):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    assert store.read(["one", "two"], "layer", (3, 4, 5)) is None


@pytest.mark.parametrize("memory_in_first_fit", [True, False])
def test_memory_given_after_a_fit(memory_in_first_fit, tmp_path):
    layers = ["layer1"]
    transformer = features(memory=tmp_path if memory_in_first_fit else None, layers=layers).fit(PHOTOS)
    transformer.set_params(memory=tmp_path).transform(PHOTOS)
    transformer.set_params(random_state=1, memory=None).fit(PHOTOS)
    expected = transformer.transform(PHOTOS)
    assert_same(transformer.set_params(memory=tmp_path).transform(PHOTOS), expected)


def test_file_rewritten_in_a_tick_is_another_image(tmp_path):
    photos = [PHOTOS[0], PHOTOS[1], PHOTOS[2]]
    path = tmp_path / "photo.bmp"  # all of one size
    for photo in photos:
        Image.fromarray(photo).save(path)
        found = features(memory=tmp_path / "memory", layers=["layer1"]).fit_transform([path])
        assert_same(found, features(layers=["layer1"]).fit_transform(photo[None]))

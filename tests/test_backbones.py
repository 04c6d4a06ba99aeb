"""Trunks against torchvision's own networks, whole and unfolded, seen through forward hooks."""

from __future__ import annotations

import copy
import functools
import io
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune
from torchvision.models import get_model, get_model_weights

from skpadim.network.extractor import Network
from skpadim.network.trunks import narrow_trunk, optimise_trunk, see_shapes
from skpadim.network.weights import build_trunk, rebuild_trunk, trunk_arrays

RESNET = ("layer1", "layer2", "layer3")
SQUEEZENET = ("features.4", "features.8", "features.12")


@functools.cache
def network(name):
    """Return torchvision's network with random weights, and batch norms that have seen something."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(7)
        model = get_model(name, weights=None)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 2.0)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.3, 0.3)
    return model.eval()


def pixels(size=64, dtype=torch.float32):
    images = np.random.default_rng(0).normal(size=(2, 3, size, size))
    return torch.from_numpy(images).to(dtype)


def hooked(model, layers, images):
    """Return what the layers of a whole network give."""
    outputs = {}
    hooks = [
        model.get_submodule(layer).register_forward_hook(
            lambda _module, _args, output, layer=layer: outputs.__setitem__(layer, output.clone())
        )
        for layer in layers
    ]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return outputs


def outputs_of(trunk, images):
    with torch.no_grad():
        return trunk(images)


def assert_close(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for layer, output in expected.items():
        error = (found[layer] - output).abs().max() / output.abs().max()
        assert error < tolerance, f"{layer}: {error:.1e}"


def assert_equal(found, expected):
    assert list(found) == list(expected)
    assert all(torch.equal(found[layer], expected[layer]) for layer in expected)


def saved(state, folder, name="weights.pth", **how):
    path = folder / name
    torch.save(state, path, **how)
    return path


@pytest.fixture
def small_network():
    """Return a network that a user could have written."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 5, 3, stride=2),
        )


@pytest.fixture
def no_download(monkeypatch, tmp_path):
    """Give torch an empty cache, and fail whoever downloads into it; return the folder of the cache."""

    def download(url, *args, **kwargs):
        pytest.fail(f"downloads {url}")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resnet18", ("layer3", "layer1", "layer2.0")),
        ("squeezenet1_0", SQUEEZENET),
        ("wide_resnet50_2", ("layer1",)),
    ],
)
def test_trunk_equals_the_plain_network(name, layers, tmp_path):
    model = network(name)
    # What lies behind the trunk may be missing from a file.
    state = {k: v for k, v in model.state_dict().items() if not k.startswith(("layer4", "fc"))}
    trunk = build_trunk(name, layers, saved(state, tmp_path), seed=0)
    expected = hooked(model, layers, pixels())
    assert_close(outputs_of(trunk, pixels()), expected, 1e-6)
    assert_close(outputs_of(optimise_trunk(trunk), pixels()), expected, 1e-4)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resnet18", ("bn1", "layer1")),
        ("resnet18", ("layer1.0.bn2", "layer1")),
        ("resnet18", ("conv1", "bn1", "maxpool")),
        ("squeezenet1_0", ("features.0", "features.3")),
    ],
)
def test_layer_that_the_next_one_overwrites_is_kept(name, layers, tmp_path):
    """A ReLU or a sum in place comes after these layers."""
    model = network(name)
    trunk = build_trunk(name, layers, saved(model.state_dict(), tmp_path), seed=0)
    assert_close(outputs_of(optimise_trunk(trunk), pixels()), hooked(model, layers, pixels()), 1e-4)


def test_trunk_ends_at_the_deepest_layer_and_is_frozen():
    trunk = build_trunk("resnet18", ("layer2", "layer1"), None, seed=0)
    children = {name.split(".")[0] for name in trunk_arrays(trunk)}
    assert children == {"conv1", "bn1", "layer1", "layer2"}
    assert not trunk.training
    assert not any(parameter.requires_grad for parameter in trunk.parameters())


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V1"])
def test_weights_by_name_come_from_the_cache_of_torch(weights, no_download):
    url = get_model_weights("squeezenet1_0")["DEFAULT"].url
    no_download.mkdir(parents=True)
    model = network("squeezenet1_0")
    saved(model.state_dict(), no_download, url.rsplit("/", 1)[1])
    trunk = build_trunk("squeezenet1_0", SQUEEZENET[:1], weights, seed=0)
    assert_close(outputs_of(trunk, pixels()), hooked(model, SQUEEZENET[:1], pixels()), 1e-6)


@pytest.mark.parametrize(
    "failure",
    [
        URLError("no route"),
        TimeoutError("timed out"),
        RuntimeError("invalid hash value"),
    ],
    ids=repr,
)
def test_failing_download_says_what_to_do(failure, no_download, monkeypatch):
    def download(*args, **kwargs):
        raise failure

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(ValueError, match=r"'DEFAULT' of squeezenet1_0 .*download.* path") as caught:
        build_trunk("squeezenet1_0", SQUEEZENET, "DEFAULT", seed=0)
    assert caught.value.__cause__ is failure
    assert str(failure) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more"], ids=["empty", "truncated"])
def test_broken_file_in_the_cache_is_told(content, no_download):
    url = get_model_weights("squeezenet1_0")["DEFAULT"].url
    no_download.mkdir(parents=True)
    (no_download / url.rsplit("/", 1)[1]).write_bytes(content)
    with pytest.raises(ValueError, match="weights='DEFAULT'"):
        build_trunk("squeezenet1_0", SQUEEZENET, "DEFAULT", seed=0)


def test_network_made_of_a_pretrained_one_downloads_nothing_without_weights(no_download):
    """torchvision's segmentation networks load a pretrained backbone unless told not to."""
    try:
        build_trunk("lraspp_mobilenet_v3_large", ("backbone.1",), None, seed=0)
    except ValueError as error:
        assert "backbone='lraspp_mobilenet_v3_large'" in str(error)


@pytest.mark.parametrize(
    ("backbone", "layers", "trained"),
    [
        ("resnet18", RESNET, "resnet34"),
        ("resnet34", RESNET, "resnet18"),
        ("squeezenet1_0", SQUEEZENET, "squeezenet1_1"),
        ("squeezenet1_1", SQUEEZENET, "squeezenet1_0"),
        ("resnet18", RESNET, "squeezenet1_0"),
    ],
)
def test_weights_of_another_network_are_refused(backbone, layers, trained, tmp_path):
    path = saved(network(trained).state_dict(), tmp_path)
    with pytest.raises(ValueError, match="does not fit the backbone") as caught:
        build_trunk(backbone, layers, path, seed=0)
    assert repr(str(path)) in str(caught.value)


def test_entries_that_do_not_fit_are_named(tmp_path):
    state = dict(network("resnet18").state_dict())
    del state["layer1.0.bn1.running_mean"]
    state["layer1.5.conv1.weight"] = torch.zeros(1)
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    with pytest.raises(ValueError) as caught:
        build_trunk("resnet18", RESNET, saved(state, tmp_path), seed=0)
    for part in (
        "1 missing (layer1.0.bn1.running_mean)",
        "1 unknown (layer1.5.conv1.weight)",
        "conv1.weight (64, 1, 7, 7) instead of (64, 3, 7, 7)",
    ):
        assert part in str(caught.value)


def test_head_of_another_size_does_not_matter(tmp_path):
    state = dict(network("squeezenet1_0").state_dict())
    state["classifier.1.weight"], state["classifier.1.bias"] = torch.zeros(7, 512, 1, 1), torch.zeros(7)
    state["projection.weight"] = torch.zeros(3)
    trunk = build_trunk("squeezenet1_0", SQUEEZENET, saved(state, tmp_path), seed=0)
    assert_close(outputs_of(trunk, pixels()), hooked(network("squeezenet1_0"), SQUEEZENET, pixels()), 1e-6)


def test_old_file_without_counters_of_batches(tmp_path):
    layers, state = RESNET[:1], network("resnet18").state_dict()
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    path = saved(old, tmp_path, _use_new_zipfile_serialization=False)
    trunk = build_trunk("resnet18", layers, path, seed=0)
    assert_close(outputs_of(trunk, pixels()), hooked(network("resnet18"), layers, pixels()), 1e-6)


def dumped(value, **how):
    buffer = io.BytesIO()
    torch.save(value, buffer, **how)
    return buffer.getvalue()


def array_file():
    buffer = io.BytesIO()
    np.savez(buffer, weight=np.zeros(3))
    return buffer.getvalue()


STATE = {"weight": torch.zeros(500)}
NO_STATE_DICTS = {
    "empty": b"",
    "text": b"hello, I am no state dict",
    "web page": b"<!DOCTYPE html><html></html>",
    "pointer": b"version https://git-lfs.github.com/spec/v1",
    "stop": b".",
    "png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "npz": array_file(),
    "truncated": dumped(STATE)[:700],
    "truncated old format": dumped(STATE, _use_new_zipfile_serialization=False)[:-50],
    "list": dumped([torch.zeros(3)]),
    "tensor": dumped(torch.zeros(3)),
    "checkpoint": dumped({"epoch": 3, "state_dict": STATE}),
    "numbered": dumped({0: torch.zeros(3)}),
    "whole network": dumped(nn.Conv2d(1, 1, 1)),
}


@pytest.mark.parametrize("content", NO_STATE_DICTS.values(), ids=NO_STATE_DICTS.keys())
def test_file_that_is_no_state_dict_is_refused(content, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="state dict") as caught:
        build_trunk("squeezenet1_0", SQUEEZENET, path, seed=0)
    assert repr(str(path)) in str(caught.value)


class Malicious:
    """Leave a mark when unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize(
    "dump", [functools.partial(pickle.dumps, protocol=2), dumped], ids=["pickle", "torch"]
)
def test_code_in_a_weights_file_is_not_run(dump, tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "weights.pth"
    path.write_bytes(dump({"weight": Malicious(mark)}))
    with pytest.raises(ValueError, match=r"cannot be read as a state dict.*holds other objects") as caught:
        build_trunk("squeezenet1_0", SQUEEZENET, path, seed=0)
    assert "trust" not in str(caught.value)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Malicious(mark)))
    assert mark.exists(), "the file was harmless"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("resnet81", RESNET, None), ["backbone='resnet81'", "resnet18", "nn.Module"]),
        (("", RESNET, None), ["backbone=''"]),
        (("resnet18", ("layer1", "layr2"), None), ["layers: 'layr2'", "layer2", "ResNet"]),
        (("squeezenet1_0", ("features.99",), None), ["'features.99'", "features.9"]),
        (("squeezenet1_0", SQUEEZENET, "nowhere.pth"), ["'nowhere.pth'", "IMAGENET1K_V1", "path"]),
        (("squeezenet1_0", SQUEEZENET, Path("nowhere.pth")), ["'nowhere.pth'"]),
        (("squeezenet1_0", SQUEEZENET, "imagenet"), ["weights='imagenet'", "DEFAULT"]),
    ],
)
def test_unknown_names_are_told_with_the_known(arguments, parts, no_download):
    with pytest.raises(ValueError) as caught:
        build_trunk(*arguments, seed=0)
    assert all(part in str(caught.value) for part in parts)
    assert str(caught.value).count("DEFAULT") <= 1


def test_folder_is_no_weights_file(tmp_path):
    with pytest.raises(ValueError, match="neither a file"):
        build_trunk("squeezenet1_0", SQUEEZENET, tmp_path, seed=0)


def test_module_is_copied_and_left_as_it_is(small_network):
    small_network.train()
    before = {name: value.clone() for name, value in small_network.state_dict().items()}
    trunk = build_trunk(small_network, ("0", "3"), "DEFAULT", seed=0)
    outputs_of(optimise_trunk(trunk), pixels(32))
    assert small_network.training
    assert all(parameter.requires_grad for parameter in small_network.parameters())
    assert_equal(small_network.state_dict(), before)
    expected = hooked(small_network.eval(), ("0", "3"), pixels(32))
    assert_close(outputs_of(trunk, pixels(32)), expected, 1e-6)


@pytest.mark.parametrize("weights", [None, "DEFAULT"])
def test_module_in_double_precision_computes_in_it(small_network, weights):
    model = small_network.double().eval()
    trunk = optimise_trunk(build_trunk(model, ("1", "3"), weights, seed=0))
    found = outputs_of(trunk, pixels(32, torch.float64))
    assert_close(found, hooked(model, ("1", "3"), pixels(32, torch.float64)), 1e-12)
    assert all(array.dtype != np.float32 for array in trunk_arrays(trunk).values())


def test_module_takes_a_state_dict_file_and_no_name(small_network, tmp_path):
    other = small_network.eval()
    path = saved({name: value * 0.5 for name, value in other.state_dict().items()}, tmp_path)
    trunk = build_trunk(other, ("3",), path, seed=0)
    other.load_state_dict(torch.load(path))
    assert_close(outputs_of(trunk, pixels(32)), hooked(other, ("3",), pixels(32)), 1e-6)
    with pytest.raises(ValueError, match=r"weights='IMAGENET1K_V1' is not a file.*nn\.Module"):
        build_trunk(other, ("3",), "IMAGENET1K_V1", seed=0)


def test_module_that_cannot_be_traced_is_explained():
    class Moody(nn.Module):
        def forward(self, images):
            return images if images.mean() > 0 else -images

    with pytest.raises(ValueError, match=r"backbone Moody cannot be traced by torch\.fx .*control flow"):
        build_trunk(Moody(), ("anything",), None, seed=0)


def test_module_that_does_more_in_training_is_no_trouble():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.AvgPool2d(2), nn.AvgPool2d(2)

        def forward(self, images):
            features = self.first(images)
            return (features, self.second(features)) if self.training else features

    trunk = build_trunk(Auxiliary(), ("first",), None, seed=0)
    assert_close(outputs_of(trunk, pixels(8)), hooked(Auxiliary().eval(), ("first",), pixels(8)), 1e-6)


def test_random_weights_are_those_of_the_seed():
    first, again, other = (
        trunk_arrays(build_trunk("squeezenet1_0", SQUEEZENET[:1], None, seed=seed)) for seed in (0, 0, 1)
    )
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not any(np.array_equal(first[name], other[name]) for name in first if name.endswith("weight"))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        plain = get_model("squeezenet1_0", weights=None).state_dict()
    assert all(np.array_equal(other[name], plain[name]) for name in other)


def test_global_generators_stay():
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    build_trunk("squeezenet1_0", SQUEEZENET, None, seed=5)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize(("name", "layers"), [("resnet18", RESNET[:2]), ("squeezenet1_0", SQUEEZENET[:2])])
def test_rebuilt_trunk_is_the_same_bit_for_bit(name, layers, no_download, tmp_path):
    path = saved(network(name).state_dict(), tmp_path)
    trunk = build_trunk(name, layers, path, seed=0)
    arrays = pickle.loads(pickle.dumps(trunk_arrays(trunk)))
    assert all(type(array) is np.ndarray for array in arrays.values())
    path.unlink()
    rebuilt = rebuild_trunk(name, layers, arrays)
    assert_equal(outputs_of(optimise_trunk(rebuilt), pixels()), outputs_of(optimise_trunk(trunk), pixels()))


def test_arrays_are_copies_that_outlive_the_module(small_network):
    model = small_network
    trunk = build_trunk(model, ("3",), None, seed=0)
    expected, arrays = outputs_of(trunk, pixels(32)), trunk_arrays(trunk)
    for parameter in [*model.parameters(), *trunk.parameters()]:
        parameter.data.zero_()
    assert_equal(outputs_of(rebuild_trunk(model, ("3",), arrays), pixels(32)), expected)


NARROWED = [
    ("resnet18", RESNET),
    ("resnet18", ("layer1",)),
    ("resnet50", ("layer2", "layer1")),
    ("squeezenet1_0", SQUEEZENET),
    ("efficientnet_b0", ("features.3", "features.5")),
    ("mobilenet_v3_small", ("features.2", "features.8")),
    ("densenet121", ("features.denseblock1", "features.transition2")),
]


def narrowed(trunk, keep):
    return narrow_trunk(trunk, keep, see_shapes(trunk, pixels()[:1]))


@pytest.mark.parametrize(("name", "layers"), NARROWED)
@pytest.mark.parametrize("n_kept", [0, 1, 5])
def test_narrow_trunk_computes_some_channels_of_the_same(name, layers, n_kept):
    trunk = optimise_trunk(build_trunk(network(name), layers, None, seed=0))
    whole = outputs_of(trunk, pixels())
    rng = np.random.default_rng(0)
    keep = {
        layer: torch.from_numpy(np.sort(rng.choice(output.shape[1], n_kept, replace=False)))
        for layer, output in whole.items()
    }
    narrow = outputs_of(narrowed(trunk, keep), pixels())
    for layer, output in whole.items():
        torch.testing.assert_close(narrow[layer], output[:, keep[layer]], rtol=1e-4, atol=1e-5)
    assert_equal(outputs_of(trunk, pixels()), whole)


def test_narrow_trunk_does_not_compute_what_it_drops():
    trunk = optimise_trunk(build_trunk(network("resnet18"), RESNET, None, seed=0))
    narrow = narrowed(trunk, {"layer3": torch.arange(7)})
    assert narrow.get_submodule("layer3.1.conv2").out_channels == 7
    assert narrow.get_submodule("layer3.1.conv2").weight.shape[0] == 7
    assert trunk.get_submodule("layer3.1.conv2").weight.shape[0] == 256, "the whole trunk stays"
    assert narrow.get_submodule("layer1.0.conv1") is trunk.get_submodule("layer1.0.conv1"), (
        "all else is shared"
    )
    assert list(narrow(pixels())) == list(RESNET), "layers without a choice stay whole"


def test_convolution_that_is_called_twice_stays_whole():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(3, 3, 3, padding=1)
            self.last = nn.Identity()

        def forward(self, x):
            return self.last(self.convolution(self.convolution(x)))

    with torch.random.fork_rng(devices=[]):
        trunk = optimise_trunk(build_trunk(Twice(), ("last",), None, seed=0))
    keep = torch.tensor([2, 0])
    narrow = narrowed(trunk, {"last": keep})
    torch.testing.assert_close(narrow(pixels())["last"], trunk(pixels())["last"][:, keep])


class Shared(nn.Module):
    """A convolution of two batch norms: to fold one of them would change the other's input."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.last = nn.Identity()

    def forward(self, x):
        return self.last(self.first(self.convolution(x)) + self.second(self.convolution(-x)))


class Overwritten(nn.Module):
    """A layer whose output is overwritten by what follows."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.last = nn.Identity()

    def forward(self, x):
        return self.last(functional.relu(self.convolution(x), inplace=True))


@pytest.mark.parametrize(
    ("kind", "layers"),
    [(Shared, ("last",)), (Overwritten, ("convolution", "last"))],
    ids=["shared", "in place"],
)
def test_trunk_of_an_unusual_network_computes_what_it_does(kind, layers):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = kind().eval()
        for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
            nn.init.uniform_(norm.weight, 0.5, 2.0)
            nn.init.uniform_(norm.bias)
    expected = {}
    for name in layers:
        model.get_submodule(name).register_forward_hook(
            lambda _module, _args, output, name=name: expected.__setitem__(name, output.clone())
        )
    with torch.no_grad():
        model(pixels())
    found = outputs_of(optimise_trunk(build_trunk(kind_without_hooks(model), layers, None, seed=0)), pixels())
    for name in layers:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)


class Discarded(nn.Module):
    """What is overwritten in place is read again, and the result of it is not used."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
        self.relu = nn.ReLU(inplace=True)

    def overwrite(self, x):
        self.relu(x)

    def forward(self, x):
        x = self.a(x)
        self.overwrite(x)
        return self.b(x)


class DiscardedFunction(Discarded):
    def overwrite(self, x):
        functional.relu(x, inplace=True)


class DiscardedPositional(Discarded):
    def overwrite(self, x):
        functional.relu(x, True)


class DiscardedUnderscore(Discarded):
    def overwrite(self, x):
        functional.relu_(x)


class DiscardedMethod(Discarded):
    def overwrite(self, x):
        x.clamp_(min=0)


class DiscardedOut(Discarded):
    def overwrite(self, x):
        torch.clamp(x, min=0, out=x)


class ReadTwice(nn.Module):
    """A layer is overwritten in place, and both it and what reads it after that are wanted."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.relu, self.first, self.last = nn.ReLU(inplace=True), nn.ReLU(), nn.ReLU()

    def forward(self, x):
        x = self.a(x)
        self.relu(x)
        y = x
        y += self.b(x)
        return self.first(y), self.last(self.c(x))


class Counted(Discarded):
    """Numbers are not overwritten, though ``+=`` looks the same."""

    def forward(self, x):
        height = x.shape[2] // 2
        before = height
        height += 3
        return self.b(self.a(x)[:, :, :before] * (height / x.size(3)))


IN_PLACE = [
    (Counted, ("b",)),
    (Counted, ("a",)),
    (Discarded, ("b",)),
    (DiscardedFunction, ("b",)),
    (DiscardedPositional, ("b",)),
    (DiscardedUnderscore, ("b",)),
    (DiscardedMethod, ("b",)),
    (DiscardedOut, ("b",)),
    (ReadTwice, ("first", "last")),
    (ReadTwice, ("relu", "last")),
    (ReadTwice, ("a", "first")),
]


@pytest.mark.parametrize(("kind", "layers"), IN_PLACE)
def test_what_was_overwritten_is_read_as_it_is(kind, layers):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = kind().eval()
    expected = hooked(model, layers, pixels())
    trunk = optimise_trunk(build_trunk(model, layers, None, seed=0))
    assert_close(outputs_of(trunk, pixels()), expected, 1e-5)
    keep = {layer: torch.tensor([5, 1, 2]) for layer in layers}
    narrow = outputs_of(narrowed(trunk, keep), pixels())
    assert_close(narrow, {layer: output[:, keep[layer]] for layer, output in expected.items()}, 1e-5)


def own_forward(module):
    forward = module.forward
    module.forward = lambda x: 2 * forward(x)


@pytest.mark.parametrize("place", [0, 1, 2], ids=["convolution", "batch norm", "activation"])
@pytest.mark.parametrize(
    "change",
    [
        lambda module: module.register_forward_hook(lambda _module, _args, output: 2 * output.flip(1)),
        lambda module: module.register_forward_pre_hook(lambda _module, args: (2 * args[0],)),
        own_forward,
    ],
    ids=["hook", "pre-hook", "forward"],
)
def test_modules_that_do_more_than_their_class_are_left_alone(place, change):
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    change(model[place])
    expected = hooked(model, ["2"], pixels())
    trunk = optimise_trunk(build_trunk(model, ["2"], None, seed=0))
    assert_close(outputs_of(trunk, pixels()), expected, 1e-5)
    keep = {"2": torch.tensor([5, 1])}
    assert_close(outputs_of(narrowed(trunk, keep), pixels()), {"2": expected["2"][:, keep["2"]]}, 1e-5)


def test_folded_in_the_precision_asked_for():
    """A batch norm of a network in half precision is not rounded to half precision once more."""
    model = network("resnet18")
    half = copy.deepcopy(model).to(torch.bfloat16)
    exact = copy.deepcopy(half).float()
    found = Network(build_trunk(half, ("layer1",), None, seed=0), ("layer1",), torch.device("cpu"), "float32")
    expected = Network(build_trunk(exact, ("layer1",), None, seed=0), ("layer1",), torch.device("cpu"), None)
    images = pixels().abs().clamp(0, 1)
    torch.testing.assert_close(found.levels(images), expected.levels(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("default", [torch.float16, torch.float64], ids=str)
def test_networks_by_name_are_of_single_precision(default):
    torch.set_default_dtype(default)
    try:
        trunk = build_trunk("resnet18", ("layer1",), None, seed=0)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {value.dtype for value in trunk.parameters()} == {torch.float32}


def test_arrays_decide_the_precision_of_a_network_by_name():
    arrays = trunk_arrays(build_trunk("resnet18", ("layer1",), None, seed=0))
    torch.set_default_dtype(torch.float64)
    try:
        trunk = rebuild_trunk("resnet18", ("layer1",), arrays)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {value.dtype for value in trunk.parameters()} == {torch.float32}


def test_constants_of_a_network_are_no_weights(tmp_path):
    """Tracing MaxViT makes constants of its indices, which no file of weights has."""
    layers = ("blocks.0",)
    model = network("maxvit_t")
    trunk = build_trunk("maxvit_t", layers, saved(model.state_dict(), tmp_path), seed=0)
    images = pixels(224)[:1]
    assert_close(outputs_of(trunk, images), hooked(model, layers, images), 1e-5)


def test_module_that_cannot_be_copied_is_named():
    with torch.random.fork_rng(devices=[]):
        module = nn.Sequential(nn.Conv2d(3, 4, 3))
    prune.identity(module[0], "weight")
    module(pixels())
    with pytest.raises(ValueError, match="backbone Sequential cannot be copied"):
        build_trunk(module, ["0"], None, seed=0)


def kind_without_hooks(model):
    for module in model.modules():
        module._forward_hooks.clear()
    return model


@pytest.mark.parametrize("shape", [(2, 1, 64, 64), (1, 3, 64, 64), (3, 1, 1), (64, 64), ()], ids=str)
def test_sum_with_another_shape_is_cut_behind_it(shape):
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(3, 3, 3, padding=1)
            self.other = nn.Parameter(torch.linspace(1, 2, int(np.prod(shape))).reshape(shape))
            self.last = nn.Identity()

        def forward(self, x):
            return self.last(self.convolution(x) + self.other)

    with torch.random.fork_rng(devices=[]):
        trunk = optimise_trunk(build_trunk(Sum(), ("last",), None, seed=0))
    keep = torch.tensor([2, 1])
    narrow = narrowed(trunk, {"last": keep})
    torch.testing.assert_close(narrow(pixels())["last"], trunk(pixels())["last"][:, keep])


def test_protected_output_does_not_change_what_follows():
    class Reused(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(3, 3, 3, padding=1)
            self.relu = nn.ReLU(inplace=True)
            self.last = nn.Identity()

        def forward(self, x):
            y = self.convolution(x)
            return self.last(2 * self.relu(y) + y)  # y is what the ReLU left of it

    with torch.random.fork_rng(devices=[]):
        model = Reused()
    alone = outputs_of(build_trunk(model, ("last",), None, seed=0), pixels())
    both = outputs_of(build_trunk(model, ("convolution", "last"), None, seed=0), pixels())
    torch.testing.assert_close(both["last"], alone["last"])
    torch.testing.assert_close(both["convolution"], model.convolution(pixels()))

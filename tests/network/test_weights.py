"""Weights: found by name or file, checked against the network, or refused in words."""

from __future__ import annotations

import functools
import io
import pickle
import shutil
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import get_model, get_model_weights

from networks import (
    RESNET,
    SQUEEZENET,
    assert_close,
    assert_equal,
    hooked,
    network,
    outputs_of,
    pixels,
    saved,
)
from skpadim.network.backbones import rebuild_trunk
from skpadim.network.trunks import build_trunk, fold_batch_norms
from skpadim.network.weights import state_arrays, weights_identity


@pytest.fixture
def no_download(monkeypatch, tmp_path):
    """Give torch an empty cache, and fail whoever downloads into it; return the folder of the cache."""

    def download(url, *args, **kwargs):
        pytest.fail(f"downloads {url}")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    return tmp_path / "hub" / "checkpoints"


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


def test_file_of_data_parallel(tmp_path):
    """torch.nn.DataParallel puts "module." before every name."""
    layers, model = RESNET[:1], network("resnet18")
    state = nn.DataParallel(model).state_dict()
    assert all(name.startswith("module.") for name in state)
    trunk = build_trunk("resnet18", layers, saved(state, tmp_path), seed=0)
    assert_close(outputs_of(trunk, pixels()), hooked(model, layers, pixels()), 1e-6)


def test_prefix_of_some_entries_is_no_prefix(tmp_path):
    state = dict(network("resnet18").state_dict())
    state["module.conv1.weight"] = state.pop("conv1.weight")
    with pytest.raises(ValueError, match=r"1 missing \(conv1.weight\)"):
        build_trunk("resnet18", RESNET, saved(state, tmp_path), seed=0)


def folded(trunk):
    fold_batch_norms(trunk)
    return trunk


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


def test_random_weights_are_those_of_the_seed():
    first, again, other = (
        state_arrays(build_trunk("squeezenet1_0", SQUEEZENET[:1], None, seed=seed)) for seed in (0, 0, 1)
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
    arrays = pickle.loads(pickle.dumps(state_arrays(trunk)))
    assert all(type(array) is np.ndarray for array in arrays.values())
    path.unlink()
    rebuilt = rebuild_trunk(name, arrays, layers, (64, 64))
    assert_equal(outputs_of(rebuilt, pixels()), outputs_of(folded(trunk), pixels()))


@pytest.mark.parametrize("default", [torch.float16, torch.float64], ids=str)
def test_networks_by_name_are_of_single_precision(default):
    torch.set_default_dtype(default)
    try:
        trunk = build_trunk("resnet18", ("layer1",), None, seed=0)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {value.dtype for value in trunk.parameters()} == {torch.float32}


def test_arrays_decide_the_precision_of_a_network_by_name():
    arrays = state_arrays(build_trunk("resnet18", ("layer1",), None, seed=0))
    torch.set_default_dtype(torch.float64)
    try:
        trunk = rebuild_trunk("resnet18", arrays, ("layer1",), (64, 64))
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


def test_identity_tells_apart_what_decides_the_features(tmp_path):
    path = saved(network("squeezenet1_0").state_dict(), tmp_path)
    identities = [
        weights_identity("squeezenet1_0", None, seed=0),
        weights_identity("squeezenet1_0", None, seed=1),
        weights_identity("squeezenet1_1", None, seed=0),
        weights_identity("squeezenet1_0", "DEFAULT", seed=0),
        weights_identity("squeezenet1_0", path, seed=0),
    ]
    assert len(set(identities)) == len(identities)
    moved = shutil.copy(path, tmp_path / "moved.pth")
    assert weights_identity("squeezenet1_0", moved, seed=5) == identities[-1], "the same content"


def test_random_weights_of_another_default_precision_are_others():
    single = weights_identity("resnet18", None, seed=0)
    try:
        torch.set_default_dtype(torch.float64)
        assert weights_identity("resnet18", None, seed=0) != single
    finally:
        torch.set_default_dtype(torch.float32)

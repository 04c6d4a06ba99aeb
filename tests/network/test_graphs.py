"""Networks as text against the traced networks that they describe; what a changed text may do: nothing."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.fx import symbolic_trace

from networks import assert_equal, outputs_of, pixels
from skpadim.network.graphs import describe, rebuild
from skpadim.network.layers import auto_layers
from skpadim.network.trunks import build_trunk, fold_batch_norms

LAYERS = ("layer1", "layer2")


def again(trunk):
    """Return the trunk that its text and its weights make."""
    found = rebuild(describe(trunk))
    found.load_state_dict({name: value.clone() for name, value in trunk.state_dict().items()}, assign=True)
    return found


@pytest.mark.parametrize(
    "name",
    [
        "efficientnet_lite0",
        "resnet18",
        "squeezenet1_1",
        "densenet121",
        "efficientnet_b0",
        "mobilenet_v3_small",
        "mnasnet0_5",
        "regnet_y_400mf",
        "shufflenet_v2_x0_5",
        "inception_v3",
        "vgg11_bn",
    ],
)
@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
def test_network_is_the_one_described(name):
    trunk = build_trunk(name, auto_layers(name), None, seed=0)
    found = again(trunk)
    images = pixels(95, torch.float32)
    with torch.no_grad():
        assert_equal(found(images), trunk(images))
    for each in (found, trunk):
        fold_batch_norms(each)
    assert_equal(outputs_of(found, images), outputs_of(trunk, images))
    assert not found.training
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_copies_of_what_is_overwritten_are_described():
    trunk = build_trunk("resnet18", ("bn1", "layer1"), None, seed=0)
    assert "own_copy" in describe(trunk)
    assert_equal(outputs_of(again(trunk), pixels()), outputs_of(trunk, pixels()))


def test_what_is_in_no_table_is_not_described():
    assert describe(build_trunk("convnext_tiny", auto_layers("convnext_tiny"), None, seed=0)) is None
    assert describe(symbolic_trace(nn.Sequential(nn.Softplus()))) is None
    assert describe(symbolic_trace(nn.Sequential(nn.ReLU()))) is not None


def test_building_draws_nothing_and_needs_no_memory():
    found = rebuild(describe(build_trunk("resnet18", LAYERS, None, seed=0)))
    assert {parameter.device.type for parameter in found.parameters()} == {"meta"}


@pytest.mark.parametrize(
    "change",
    [
        {"op": "call_function", "target": "os.system"},
        {"op": "call_function", "target": "system", "args": {"tuple": ["true"]}},
        {"op": "call_method", "target": "numpy"},
        {"op": "get_attr", "target": "__class__"},
        {"op": "call_module", "target": 'a"),print("', "kind": "ReLU", "given": {}},
        {"op": "call_module", "target": "a", "kind": "Sequential", "given": {}},
        {"op": "call_module", "target": "a", "kind": "ReLU", "given": {"no": 1}},
        {"op": "placeholder", "target": "x=print(1)"},
        {"name": "x = print(1)"},
        {"kwargs": {"a=print(1), b": 1}},
        {"args": {"tuple": [{"node": "nowhere"}]}},
        {"args": {"tuple": [{"call": "print"}]}},
    ],
    ids=str,
)
def test_changed_text_is_refused(change):
    steps = json.loads(describe(build_trunk("resnet18", LAYERS, None, seed=0)))
    steps[1] |= change
    with pytest.raises(ValueError, match=r"trunk_graph_ describes no network \(.*Do not use it"):
        rebuild(json.dumps(steps))


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[[]]", "null"])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="trunk_graph_ describes no network"):
        rebuild(text)

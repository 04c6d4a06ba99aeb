"""Trunks against torchvision's own networks, whole and unfolded, seen through forward hooks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from networks import SQUEEZENET, assert_close, assert_equal, hooked, network, outputs_of, pixels, saved
from skpadim.network.trunks import build_trunk, cut_trunk, fold_batch_norms
from skpadim.network.weights import build_model, state_arrays


def folded(trunk):
    fold_batch_norms(trunk)
    return trunk


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
    assert_close(outputs_of(folded(trunk), pixels()), expected, 1e-4)


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
    assert_close(outputs_of(folded(trunk), pixels()), hooked(model, layers, pixels()), 1e-4)


def test_trunk_ends_at_the_deepest_layer_and_is_frozen():
    trunk = build_trunk("resnet18", ("layer2", "layer1"), None, seed=0)
    children = {name.split(".")[0] for name in state_arrays(trunk)}
    assert children == {"conv1", "bn1", "layer1", "layer2"}
    assert not trunk.training
    assert not any(parameter.requires_grad for parameter in trunk.parameters())


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0", "densenet121", "convnext_tiny"])
def test_nodes_have_torchvision_s_names(name):
    model = build_model(name, seed=0)
    known, _ = get_graph_node_names(model.eval(), suppress_diff_warning=True)
    for node in (known[1], known[len(known) // 2], *(each for each in known if each.endswith("_1"))):
        trunk = cut_trunk(model, [node])
        assert_equal(outputs_of(trunk, pixels()), create_feature_extractor(model, [node])(pixels()))


class Shared(nn.Module):
    """A convolution of two batch norms: to fold one of them would change the other's input."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.last = nn.Identity()

    def forward(self, x):
        return self.last(self.first(self.convolution(x)) + self.second(self.convolution(-x)))


def test_shared_convolution_is_not_folded():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = Shared().eval()
        for norm in (model.first, model.second):
            nn.init.uniform_(norm.weight, 0.5, 2.0)
            nn.init.uniform_(norm.bias)
    expected = hooked(model, ["last"], pixels())
    assert_close(outputs_of(folded(cut_trunk(model, ["last"])), pixels()), expected, 1e-5)


def test_what_cannot_be_traced_may_be_passed_as_a_module():
    with pytest.raises(ValueError, match=r"backbone FasterRCNN cannot be traced .*pass the module"):
        build_trunk("fasterrcnn_mobilenet_v3_large_fpn", ["backbone"], None, seed=0)


def test_two_names_of_one_output_are_told():
    with pytest.raises(ValueError, match=r"'layer1', 'layer1.1' are the same output; name it once"):
        build_trunk("resnet18", ["layer1", "layer1.1"], None, seed=0)

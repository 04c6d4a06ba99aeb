"""Fused convolutions beside torch's own, in float64: the same numbers, to rounding."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx import symbolic_trace

from networks import RESNET, assert_close, network, saved
from skpadim import PaDiMDetector
from skpadim.network.extractor import FeatureExtractor
from skpadim.network.fused import can_be_fused, fused
from skpadim.network.normalisation import IMAGENET
from skpadim.network.trunks import build_trunk, fold_batch_norms

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(
    not can_be_fused(symbolic_trace(nn.Identity()), CPU, torch.float32), reason="needs an x86 processor"
)
NETWORKS = {
    "efficientnet_lite0": ("blocks.4", "blocks.10"),
    "resnet18": RESNET,
    "mobilenet_v2": ("features.6", "features.13"),
    "squeezenet1_0": ("features.4", "features.8"),
    "efficientnet_b0": ("features.3", "features.4"),
}


def trunk_of(name):
    trunk = build_trunk(name, NETWORKS[name], None, seed=0)
    fold_batch_norms(trunk)
    return trunk.to(memory_format=torch.channels_last)


def pixels(*shape):
    images = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    return images.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (3, 3, 97, 75)])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_fused_network_gives_the_same_to_rounding(name, shape):
    trunk = trunk_of(name)
    images = pixels(*shape)
    with torch.inference_mode():
        expected, found = copy.deepcopy(trunk).double()(images.double()), fused(trunk)(images)
    assert_close(found, expected, tolerance=3e-6)


def test_every_plain_convolution_is_fused_and_clamps_behind_them_are_gone():
    found = fused(trunk_of("efficientnet_lite0"))
    assert not found.graph.find_nodes(op="call_module")


class Branching(nn.Module):
    """Convolutions of which some must keep what stands behind them."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.twice = nn.Conv2d(3, 3, 3, padding=1)
            self.read_before = nn.Conv2d(3, 3, 1, bias=False)
            self.reflecting = nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")
            self.same = nn.Conv2d(3, 3, 3, padding="same")
            self.wide = nn.Conv2d(3, 6, 3, stride=2, dilation=2, groups=3)
        self.clamp = nn.ReLU()

    def forward(self, x):
        once = self.clamp(self.twice(x))
        again = self.twice(once)
        raw = self.read_before(again)
        return self.wide(self.same(self.reflecting(raw + self.clamp(raw)))), again


def test_what_stands_behind_a_convolution_stays_where_others_read_it_before():
    trunk = symbolic_trace(Branching().eval())
    images = pixels(2, 3, 33, 29)
    with torch.inference_mode():
        expected, found = trunk(images), fused(trunk)(images)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_the_trunk_itself_stays_as_it_is():
    trunk = trunk_of("resnet18")
    code, state = trunk.code, {name: value.clone() for name, value in trunk.state_dict().items()}
    fused(trunk)
    assert trunk.code == code
    assert all(torch.equal(trunk.state_dict()[name], value) for name, value in state.items())


def test_half_precision_and_modules_of_others_run_as_they_are():
    assert not can_be_fused(trunk_of("resnet18"), CPU, torch.bfloat16)
    assert not can_be_fused(nn.Identity(), CPU, torch.float32)


def test_an_extractor_runs_what_is_fused():
    trunk = trunk_of("resnet18")
    extractor = FeatureExtractor(trunk, RESNET, IMAGENET, CPU, None)
    assert nn.Conv2d in map(type, extractor.trunk.modules())
    assert nn.Conv2d not in map(type, extractor._at_its_fastest.modules())


def test_broken_weights_and_an_application_without_onednn_are_left_to_torch():
    trunk = trunk_of("resnet18")
    torch._C._set_mkldnn_enabled(False)
    try:
        assert not can_be_fused(trunk, CPU, torch.float32)
    finally:
        torch._C._set_mkldnn_enabled(True)
    assert can_be_fused(trunk, CPU, torch.float32)
    trunk.get_submodule("layer1.0.conv1").weight[0, 0, 0, 0] = torch.nan
    assert not can_be_fused(trunk, CPU, torch.float32)


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("resnet18", "layer1.0.bn1.running_var"),
        ("densenet121", "features.denseblock1.denselayer1.norm1.running_var"),
    ],
    ids=["folded", "not folded"],
)
def test_a_broken_file_of_weights_is_refused(name, entry, tmp_path):
    """Its entries are numbers, but what a batch norm makes of them is none."""
    state = {key: value.clone() for key, value in network(name).state_dict().items()}
    state[entry][0] = -1
    detector = PaDiMDetector(name, weights=saved(state, tmp_path), image_size=64, device="cpu")
    photos = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="NaN"):
        detector.set_params(false_alarm_rate=0.3).fit(photos)

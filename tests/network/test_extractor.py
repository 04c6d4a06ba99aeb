"""A network at work: its precision, and that of an application which turns torch's switches."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from networks import RESNET, network, saved
from skpadim import CNNFeatureTransformer, PatchGaussian
from skpadim.network.extractor import FeatureExtractor
from skpadim.network.normalisation import IMAGENET
from skpadim.network.trunks import build_trunk, fold_batch_norms

CPU = torch.device("cpu")


def test_half_precision_is_folded_before_it_is_rounded(tmp_path):
    """A batch norm folded in half precision would be rounded once more."""
    path = saved(network("resnet18").state_dict(), tmp_path)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def extractor(precision):
        trunk = build_trunk("resnet18", RESNET, path, seed=0)
        fold_batch_norms(trunk)
        return FeatureExtractor(trunk, RESNET, IMAGENET, CPU, precision)

    half, single = extractor("bfloat16").levels(images), extractor("float32").levels(images)
    for level, exact in zip(half, single, strict=True):
        assert level.dtype == torch.float32
        assert 1e-4 < (level - exact).norm() / exact.norm() < 0.02


class Watching(nn.Module):
    """A network that notes in which precision torch would compute."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            self.last = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        mkldnn = torch.backends.mkldnn
        SEEN.append((mkldnn.conv.fp32_precision, mkldnn.matmul.fp32_precision))
        return self.last(x)


SEEN = []


@pytest.mark.parametrize("switch", ["convolutions", "processor", "all", "products"])
def test_the_application_s_switches_do_not_round_our_numbers(switch):
    photos = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    fitted = CNNFeatureTransformer(Watching(), layers=["last"], image_size=32, device="cpu").fit(photos)
    pyramid = fitted.transform(photos)
    gaussian = PatchGaussian(false_alarm_rate=0.5, device="cpu").fit(pyramid)
    scores = gaussian.score_samples(pyramid)
    backends = torch.backends
    turn = {
        "convolutions": lambda value: setattr(backends.mkldnn.conv, "fp32_precision", value),
        "processor": lambda value: setattr(backends.mkldnn, "fp32_precision", value),
        "all": lambda value: setattr(backends, "fp32_precision", "tf32" if value == "bf16" else value),
        "products": lambda value: setattr(backends.mkldnn.matmul, "fp32_precision", value),
    }[switch]

    def positions():
        return [each.fp32_precision for each in (backends.mkldnn.conv, backends.mkldnn.matmul)]

    turn("bf16")
    try:
        before = positions()
        assert before != ["none", "none"]
        SEEN.clear()
        found = fitted.transform(photos)
        assert positions() == before, "and stand as they were"
        assert set(SEEN) <= {("ieee", "ieee"), ("none", "ieee"), ("ieee", "none")}
        np.testing.assert_array_equal(found.levels[0], pyramid.levels[0])
        np.testing.assert_array_equal(gaussian.score_samples(found), scores)
    finally:
        turn("none")
    assert positions() == ["none", "none"], "what came from above goes with it"


def test_restored_network_gives_the_same(tmp_path):
    photos = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    for backbone in ("resnet18", copy.deepcopy(network("resnet18"))):
        fitted = CNNFeatureTransformer(backbone, layers=RESNET, weights=None, image_size=32).fit(photos)
        expected = fitted.transform(photos)
        del fitted._extractor
        found = fitted.transform(photos)
        for level, other in zip(found.levels, expected.levels, strict=True):
            np.testing.assert_array_equal(level, other)

"""Trunks as ONNX, by torch's exporter, run by onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from skpadim import CNNFeatureTransformer
from skpadim.network.modules import ModuleTrunk
from skpadim.network.onnx_trunk import write_trunk

pytest.importorskip("onnxscript", reason="the extra export is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra export is not installed")


class Branching(nn.Module):
    """A network whose own Python depends on the pixels."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x):
        x = self.first(x)
        return x if float(x.detach().mean()) > 0 else -x


@pytest.mark.parametrize(
    ("backbone", "layers"),
    [("efficientnet_lite0", "auto"), ("resnet18", ("layer1", "layer2")), ("densenet121", "auto")],
)
def test_outputs_are_torch_s(backbone, layers):
    features = CNNFeatureTransformer(backbone, layers=layers, weights=None, image_size=64)
    features.fit(np.zeros((1, 64, 64, 3), np.uint8))
    model = write_trunk(features.trunk_copy(), features.layer_names_, (64, 64))
    session = onnxruntime.InferenceSession(model)
    pixels = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = features.trunk_copy()(pixels)
    found = session.run(None, {"pixels": pixels.numpy()})
    for layer, output in zip(features.layer_names_, found, strict=True):
        reference = expected[layer].numpy()
        np.testing.assert_allclose(output, reference, rtol=1e-4, atol=1e-5 * np.abs(reference).max())


def test_what_cannot_be_written_is_refused_with_the_reason():
    with torch.random.fork_rng():
        network = Branching()
    with pytest.raises(ValueError, match=r"backbone: torch cannot write .* as ONNX \(.+\)"):
        write_trunk(network, ("first",), (32, 32))


def test_weights_of_more_than_a_model_holds_are_refused(monkeypatch):
    monkeypatch.setattr("skpadim.network.onnx_trunk.MOST_BYTES_OF_WEIGHTS", 400)
    with torch.random.fork_rng():
        small, large = (ModuleTrunk(nn.Sequential(nn.Conv2d(3, n, 3)), ("0",)) for n in (3, 4))
    write_trunk(small, ("0",), (32, 32))  # 3 * (27 + 1) weights of four bytes
    with pytest.raises(ValueError, match=r"backbone: up to '0' its weights take 4\.48e-07 GB"):
        write_trunk(large, ("0",), (32, 32))

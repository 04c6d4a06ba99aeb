"""Networks of torchvision with random weights, whole, to compare with."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import nn
from torchvision.models import get_model

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

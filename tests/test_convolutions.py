"""Trunks with other convolutions: the same function, whatever the network."""

import warnings

import pytest
import torch
from torch import nn
from torchvision.ops import SqueezeExcitation

from skpadim.network.convolutions import ExactConvolution, PackedConvolution, exact_trunk, pack_trunk
from skpadim.network.trunks import narrow_trunk, optimise_trunk, see_shapes
from skpadim.network.weights import build_trunk
from test_backbones import Shared, network, outputs_of, pixels

NETWORKS = [
    ("resnet18", ("layer1", "layer2", "layer3")),
    ("squeezenet1_0", ("features.4", "features.9")),
    ("mobilenet_v3_small", ("features.2", "features.8")),
    ("efficientnet_b0", ("features.3", "features.5")),
    ("densenet121", ("features.denseblock1", "features.transition2")),
    ("regnet_y_400mf", ("trunk_output.block2",)),
    ("shufflenet_v2_x0_5", ("stage2", "stage3")),
    ("convnext_tiny", ("features.1", "features.3")),
    ("swin_t", ("features.1", "features.3")),
]


def packed_and_plain(model, layers, dtype=torch.float32):
    trunk = optimise_trunk(build_trunk(model, layers, None, seed=0)).to(dtype)
    return pack_trunk(trunk, see_shapes(trunk, pixels(dtype=dtype)[:1])), trunk


def n_exact(trunk):
    return sum(isinstance(module, ExactConvolution) for module in trunk.modules())


def n_packed(trunk):
    return sum(isinstance(module, PackedConvolution) for module in trunk.modules())


@pytest.mark.parametrize(("name", "layers"), NETWORKS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_packed_trunk_is_the_same_function(name, layers, memory_format):
    packed, trunk = packed_and_plain(network(name), layers)
    called = [node.target for node in trunk.graph.nodes if node.op == "call_module"]
    # A convolution inside a module that torchvision does not trace into, as MobileNet's, is left alone.
    assert n_packed(packed) == sum(isinstance(trunk.get_submodule(name), nn.Conv2d) for name in called)
    assert not n_packed(trunk), "the trunk itself stays"
    for images in (pixels()[:1], pixels(), pixels(96)):
        images = images.contiguous(memory_format=memory_format)
        expected = outputs_of(trunk, images)
        for layer, output in outputs_of(packed, images).items():
            tolerance = 1e-5 * float(expected[layer].abs().max())
            torch.testing.assert_close(output, expected[layer], rtol=0, atol=tolerance)


@pytest.mark.parametrize(("name", "layers"), NETWORKS)
def test_exact_trunk_is_the_same_function(name, layers):
    trunk = optimise_trunk(build_trunk(network(name), layers, None, seed=0))
    exact = exact_trunk(trunk)
    assert n_exact(exact) == sum(type(module) is nn.Conv2d for module in trunk.modules()) > 0
    assert not n_exact(trunk), "the trunk itself stays"
    shared = {parameter.data_ptr() for parameter in trunk.parameters()}
    contiguous = [parameter for parameter in exact.parameters() if parameter.dim() != 4]
    assert all(parameter.data_ptr() in shared for parameter in contiguous)
    expected = outputs_of(trunk, pixels())
    for layer, output in outputs_of(exact, pixels()).items():
        torch.testing.assert_close(
            output, expected[layer], rtol=0, atol=1e-5 * float(expected[layer].abs().max())
        )


@pytest.mark.parametrize(
    "arguments",
    [
        {"stride": 2, "padding": 1, "dilation": 2},
        {"padding": "same", "bias": False},
        {"padding": "valid"},
        {"padding": (2, 1), "padding_mode": "reflect"},
        {"padding": "same", "padding_mode": "circular"},
        {"groups": 3},
    ],
    ids=str,
)
def test_exact_convolution_is_the_convolution(arguments):
    with torch.random.fork_rng(devices=[]):
        convolution = nn.Conv2d(3, 6, 4, **arguments)
    exact = ExactConvolution.of(convolution)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's: it pads on one side more.
        for images in (pixels(), pixels()[0]):
            torch.testing.assert_close(exact(images), convolution(images))


@pytest.mark.parametrize(
    "change",
    [
        {"padding": "same"},
        {"dilation": (2, 2), "padding": "same"},
        {"stride": 2},
        {"padding": 2},
        {"padding": "valid", "dilation": 2},
    ],
    ids=str,
)
def test_geometry_may_be_changed_later(change):
    with torch.random.fork_rng(devices=[]):
        model = Around(nn.Conv2d(3, 4, 3))
    vars(model.inner).update(change)
    trunk = optimise_trunk(build_trunk(model, ("last",), None, seed=0))
    expected = outputs_of(trunk, pixels())
    for other in (exact_trunk(trunk), pack_trunk(trunk, see_shapes(trunk, pixels()))):
        torch.testing.assert_close(outputs_of(other, pixels()), expected)


class Adorned(nn.Module):
    """A network whose convolution has a module and a tensor of its own."""

    def __init__(self):
        super().__init__()
        self.convolution, self.last = nn.Conv2d(3, 4, 3), nn.Identity()
        self.convolution.activation = nn.ReLU()
        self.convolution.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x):
        return self.last(self.convolution.activation(self.convolution(x)) * self.convolution.scale)


class OfTwoNames(nn.Module):
    """A network in which one convolution has two names, at the top and within a module."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)
        self.second, self.inner = self.first, SqueezeExcitation(3, 3)
        self.inner.fc2 = self.inner.fc1
        self.last = nn.Identity()

    def forward(self, x):
        return self.last(self.inner(self.second(self.first(x))))


class WithinAnother(nn.Module):
    """A network in which a convolution is the child of another."""

    def __init__(self):
        super().__init__()
        self.convolution, self.last = nn.Conv2d(3, 4, 3), nn.Identity()
        self.convolution.then = nn.Conv2d(4, 6, 3)

    def forward(self, x):
        return self.last(self.convolution.then(self.convolution(x)))


def test_trunks_cut_and_packed_leave_the_trunk_as_it_is():
    with torch.random.fork_rng(devices=[]):
        trunk = optimise_trunk(build_trunk(WithinAnother(), ("last",), None, seed=0))
    shapes = see_shapes(trunk, pixels()[:1])
    modules, expected = [*map(type, trunk.modules())], outputs_of(trunk, pixels())["last"]
    for index in ([0, 1, 3, 5], [1, 2], [0, 3]):
        narrow = narrow_trunk(trunk, {"last": torch.tensor(index)}, shapes)
        for other in (narrow, pack_trunk(narrow, shapes)):
            torch.testing.assert_close(outputs_of(other, pixels())["last"], expected[:, index])
    assert [*map(type, trunk.modules())] == modules
    torch.testing.assert_close(outputs_of(trunk, pixels())["last"], expected, rtol=0, atol=0)


@pytest.mark.parametrize(("make", "n_expected"), [(Adorned, 1), (OfTwoNames, 2), (WithinAnother, 2)])
def test_exact_trunk_keeps_what_there_is(make, n_expected):
    with torch.random.fork_rng(devices=[]):
        trunk = optimise_trunk(build_trunk(make(), ("last",), None, seed=0))
    exact = exact_trunk(trunk)
    assert n_exact(exact) == n_expected
    assert not any(type(module) is nn.Conv2d for module in exact.modules())
    for other in (exact, pack_trunk(trunk, see_shapes(trunk, pixels()))):
        torch.testing.assert_close(outputs_of(other, pixels()), outputs_of(trunk, pixels()))


class Subclass(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) + 1


class Around(nn.Module):
    """A network around one module."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.last = inner, nn.Identity()

    def forward(self, x):
        return self.last(self.inner(x))


class Tied(nn.Module):
    """A network that reads the weights of its convolution."""

    def __init__(self):
        super().__init__()
        self.convolution, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.Identity()

    def forward(self, x):
        return self.last(self.convolution(x) * self.convolution.weight.mean())


def hooked_convolution():
    convolution = nn.Conv2d(3, 4, 3)
    convolution.register_forward_hook(lambda _module, _args, output: output + 1)
    return convolution


@pytest.mark.parametrize(
    ("make", "n_expected"),
    [
        (lambda: Around(nn.Conv2d(3, 4, 3)), 1),
        (lambda: Around(nn.Conv2d(3, 4, 3, padding="same")), 0),
        (lambda: Around(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")), 0),
        (lambda: Around(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))), 0),
        (lambda: Around(hooked_convolution()), 0),
        (lambda: Around(nn.Conv2d(3, 4, 3, bias=False, dilation=2, stride=(2, 1))), 1),
        (lambda: Around(Subclass(3, 4, 3)), 0),
        (Shared, 1),
        (Tied, 0),
    ],
    ids=["plain", "same", "reflect", "normalised", "hooked", "dilated", "subclass", "called twice", "tied"],
)
def test_convolutions_that_do_more_are_left_alone(make, n_expected):
    with torch.random.fork_rng(devices=[]):
        packed, trunk = packed_and_plain(make(), ("last",))
    assert n_packed(packed) == n_expected
    torch.testing.assert_close(outputs_of(packed, pixels())["last"], outputs_of(trunk, pixels())["last"])


def test_convolution_may_be_called_by_the_name_of_its_argument():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.convolution(input=x)

    with torch.random.fork_rng(devices=[]):
        packed, trunk = packed_and_plain(Named(), ("convolution",))
    assert n_packed(packed) == 1
    torch.testing.assert_close(outputs_of(packed, pixels()), outputs_of(trunk, pixels()))


def test_another_torch_may_not_have_the_function(monkeypatch):
    monkeypatch.delattr(torch._C._nn, "mkldnn_reorder_conv2d_weight")
    packed, trunk = packed_and_plain(network("resnet18"), ("layer1",))
    assert not n_packed(packed)
    torch.testing.assert_close(outputs_of(packed, pixels()), outputs_of(trunk, pixels()))


def test_another_torch_may_not_pack_all(monkeypatch):
    def refuse(*_):
        raise RuntimeError

    monkeypatch.setattr(torch._C._nn, "mkldnn_reorder_conv2d_weight", refuse)
    assert not n_packed(packed_and_plain(network("resnet18"), ("layer1",))[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Around(Subclass(3, 4, 3)),
        lambda: Around(hooked_convolution()),
        lambda: Around(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))),
        lambda: Around(nn.Conv2d(3, 4, 3)).double(),
    ],
    ids=["subclass", "hooked", "normalised", "double"],
)
def test_exact_trunk_leaves_others_alone(make):
    with torch.random.fork_rng(devices=[]):
        trunk = optimise_trunk(build_trunk(make(), ("last",), None, seed=0))
    exact, images = exact_trunk(trunk), pixels(dtype=next(trunk.parameters()).dtype)
    assert not n_exact(exact)
    torch.testing.assert_close(outputs_of(exact, images), outputs_of(trunk, images))


def test_exact_trunk_may_read_the_weights_of_a_convolution():
    with torch.random.fork_rng(devices=[]):
        trunk = optimise_trunk(build_trunk(Tied(), ("last",), None, seed=0))
    exact = exact_trunk(trunk)
    assert n_exact(exact) == 1
    torch.testing.assert_close(outputs_of(exact, pixels()), outputs_of(trunk, pixels()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_other_precisions_are_left_alone(dtype):
    packed, trunk = packed_and_plain(network("resnet18"), ("layer1",), dtype)
    assert not n_packed(packed)
    images = pixels(dtype=dtype)
    torch.testing.assert_close(outputs_of(packed, images), outputs_of(trunk, images), rtol=0, atol=0)

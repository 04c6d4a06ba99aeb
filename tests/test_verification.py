"""Networks that torch.fx traces wrongly: right all the same, or refused, and never something else."""

import contextlib
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2

from skpadim import CNNFeatureTransformer

PHOTOS = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


class Net(nn.Module):
    """Two convolutions with something between them, or before."""

    def __init__(self, between, before=None):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.relu, self.identity, self.hooked = nn.ReLU(inplace=True), nn.Identity(), nn.ReLU(inplace=True)
        self.hooked.register_forward_hook(lambda _module, _args, output: 2 * output + 0.1)
        self.register_buffer("constant", torch.zeros(1, 8, 16, 16))
        self.between, self.before = between, before

    def forward(self, x):
        if self.before:
            self.before(x)
        y = self.a(x)
        return self.b(self.between(self, y))


def apply(function):
    """Return a step that calls a function for what it does to ``y``."""

    def step(net, y):
        function(net, y)
        return y

    return step


def add_to_alias(net, y):
    z = net.identity(y)
    z += 1
    return y


def add_to_chunk(net, y):
    p, q = y.chunk(2, 1)
    p.mul_(2)
    q += 1
    return y


def read_chunk(net, y):
    p, q = y.chunk(2, 1)
    y.relu_()
    return torch.cat([p, q], 1)


def power(net, y):
    z = y
    z **= 2
    return y


def floor(net, y):
    z = y
    z //= 0.1
    return y


def add_to_constant(net, y):
    net.constant.copy_(y)
    return net.constant


def accumulate(net, y):
    constant = net.constant
    constant += y
    return constant


RIGHT = {
    "power": power,
    "floor": floor,
    "add, out": apply(lambda net, y: torch.add(y, 1, out=y)),
}
REFUSED = {
    "part": apply(lambda net, y: y[:, :4].relu_()),
    "chunk": add_to_chunk,
    "chunk read": read_chunk,
    "view": apply(lambda net, y: y.unsqueeze(1).squeeze(1).mul_(3)),
    "data": apply(lambda net, y: y.data.relu_()),
    "alias": add_to_alias,
    "relu of an alias": apply(lambda net, y: net.relu(net.identity(y))),
    "buffer": add_to_constant,
    "accumulated": accumulate,
    "hook": apply(lambda net, y: net.hooked(y)),
    "list": apply(lambda net, y: torch._foreach_mul_([y], 2.0)),
}


def expected(net):
    outputs = {}
    for name in ("a", "b"):
        net.get_submodule(name).register_forward_hook(
            lambda _module, _args, output, name=name: outputs.__setitem__(name, output.clone())
        )
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = (torch.from_numpy(PHOTOS) / 255 - mean) / std
    with torch.no_grad(), contextlib.suppress(RuntimeError):
        net(images.permute(0, 3, 1, 2))
    return outputs


def transformer(net):
    return CNNFeatureTransformer(net, layers=["a", "b"], weights=None, image_size=16)


@pytest.mark.parametrize("between", RIGHT.values(), ids=RIGHT)
def test_written_in_place_and_right(between):
    levels = transformer(Net(between)).fit_transform(PHOTOS).levels
    for level, output in zip(levels, expected(Net(between)).values(), strict=True):
        torch.testing.assert_close(torch.from_numpy(level), output, rtol=1e-4, atol=1e-4)


def test_network_that_overwrites_what_it_takes():
    def make():
        return Net(lambda _net, y: y, before=lambda x: x.sub_(0.5))

    fitted = transformer(make()).fit(PHOTOS)
    channels = [np.array([1, 2]), np.array([5])]
    for kept in (None, channels, channels):
        (levels,) = fitted.levels(PHOTOS, kept)
        for level, output, index in zip(
            levels, expected(make()).values(), kept or [slice(None)] * 2, strict=True
        ):
            torch.testing.assert_close(level.cpu(), output[:, index], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("between", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_followed_is_refused(between):
    with pytest.raises(ValueError, match=r"backbone Net: layer '[ab]' gives something else.*no views"):
        transformer(Net(between)).fit(PHOTOS)


def test_network_that_is_another_at_every_call_is_refused():
    counter = itertools.count()
    with pytest.raises(ValueError, match="be the same at every call"):
        transformer(Net(lambda _net, y: y + next(counter))).fit(PHOTOS)


class Mixing(nn.Module):
    """A convolution, and something that mixes the images of a batch."""

    def __init__(self, mix):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            self.convolution = nn.Conv2d(3, 4, 3)
        self.norm, self.last, self.mix = nn.BatchNorm2d(4, track_running_stats=False), nn.Identity(), mix

    def forward(self, x):
        return self.last(self.mix(self, self.convolution(x)))


@pytest.mark.parametrize(
    "mix",
    [
        lambda net, y: net.norm(y),
        lambda net, y: y - y.mean((0, 2, 3), keepdim=True),
        lambda net, y: y - y[:1],
        lambda net, y: torch.roll(y, 1, 0),
        lambda net, y: torch.roll(y, 2, 0),
        lambda net, y: y / y.std(),
        lambda net, y: y * y.shape[0],
    ],
    ids=["norm", "mean", "first", "roll", "roll by two", "spread", "number"],
)
def test_networks_that_mix_the_images_of_a_batch_are_refused(mix):
    transformer = CNNFeatureTransformer(
        Mixing(mix), layers=["last"], weights=None, image_size=16, device="cpu"
    )
    with pytest.raises(ValueError, match="among others"):
        transformer.fit(PHOTOS)


def test_network_that_takes_one_image_alone_is_refused():
    class Single(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Identity(), nn.Identity()

        def forward(self, x):
            return self.last(self.first(x).reshape(1, 3, 16, 16))

    transformer = CNNFeatureTransformer(Single(), layers=["last"], weights=None, image_size=16, device="cpu")
    with pytest.raises(ValueError, match="fails on several"):
        transformer.fit(PHOTOS)


class Between(Net):
    """The same, and a layer that is no module: the sum before what stands in between, or behind it."""

    def __init__(self, between, *, then=None):
        super().__init__(between)
        self.then = then

    def forward(self, x):
        y = self.a(x)
        y = self.between(self, y + y.mean((2, 3), keepdim=True))
        y = self.b(y * 0.5)
        return self.then(y) if self.then else y


def multiply_chunk(net, y):
    y.chunk(2, 1)[0].mul_(3.0)
    return y


def relu_of_view(net, y):
    torch.relu_(y.reshape(y.shape[0], 8, 16, 16, 1).squeeze(-1))
    return y


@pytest.mark.parametrize("layers", [["mul"], ["a", "mul"], ["add", "mul"]], ids=" ".join)
@pytest.mark.parametrize("between", [multiply_chunk, relu_of_view, add_to_alias])
def test_layers_that_are_no_modules_are_compared(between, layers):
    transformer = CNNFeatureTransformer(Between(between), layers=layers, weights=None, image_size=16)
    with pytest.raises(ValueError, match=r"layer '(add|mul)' gives something else"):
        transformer.fit(PHOTOS)


def test_network_that_fails_in_what_it_does_for_nothing():
    network = Between(apply(lambda net, y: torch.relu_(y.view(y.shape[0], -1))))
    transformer = CNNFeatureTransformer(network, layers=["mul"], weights=None, image_size=16)
    with pytest.raises(ValueError, match=r"Between fails on images, channels last in memory .*for nothing"):
        transformer.fit(PHOTOS)


def fail(y):
    """Fail once images come, not in a trace."""
    return y.view(-1, 7919)


@pytest.mark.parametrize("then", [None, lambda y: {"out": [y.mean((2, 3))], "y": y, "loss": y.mean()}, fail])
def test_layers_that_are_no_modules_and_right(then):
    network = Between(lambda net, y: net.relu(y), then=then)
    levels = (
        CNNFeatureTransformer(network, layers=["a", "add", "mul"], weights=None, image_size=16)
        .fit_transform(PHOTOS)
        .levels
    )
    a = expected(network)["a"]
    add = a + a.mean((2, 3), keepdim=True)
    for level, right in zip(levels, [a, add, torch.relu(add) / 2], strict=True):
        torch.testing.assert_close(torch.from_numpy(level), right, rtol=1e-4, atol=1e-4)


def test_large_photos_that_mix_a_batch_are_refused():
    """A network takes images of this size one at a time."""
    network = Mixing(lambda net, y: y - y.mean((0, 2, 3), keepdim=True))
    photos = np.random.default_rng(0).integers(0, 256, (2, 1100, 1100, 3), dtype=np.uint8)
    transformer = CNNFeatureTransformer(network, layers=["last"], weights=None, image_size=1100, device="cpu")
    with pytest.raises(ValueError, match="among others"):
        transformer.fit(photos)


class Written(Net):
    """Some channels of a layer that is no module are written to by a view."""

    def __init__(self):
        super().__init__(None)

    def forward(self, x):
        y = self.a(x)
        y[:, 1:3].add_(0.05)
        return y.clamp(min=-1e4)


def with_large_bias(net):
    nn.init.constant_(net.a.bias[:1], 3000.0)
    return net


def with_infinite_bias(net):
    nn.init.constant_(net.a.bias[:1], torch.inf)
    return net


@pytest.mark.parametrize(
    "change",
    [with_large_bias, with_infinite_bias, nn.Module.half, nn.Module.bfloat16],
    ids=["large", "infinite", "half", "bfloat16"],
)
def test_nothing_hides_what_is_wrong(change):
    """Neither another channel, nor what is not finite, nor the rounding of half precision."""
    network = change(Written())
    transformer = CNNFeatureTransformer(network, layers=["clamp"], weights=None, image_size=16, device="cpu")
    with pytest.raises(ValueError, match="gives something else"):
        transformer.fit(PHOTOS)


def test_half_precision_that_a_forward_asks_for():
    class Half(nn.Sequential):
        def forward(self, x):
            return super().forward(x.to(torch.bfloat16))

    with torch.random.fork_rng(devices=[]):
        network = Half(nn.Conv2d(3, 8, 3), nn.ReLU()).bfloat16()
    transformer = CNNFeatureTransformer(network, layers=["1"], weights=None, image_size=16, device="cpu")
    assert np.isfinite(transformer.fit_transform(PHOTOS).levels[0]).all()


def test_numbers_of_numpy_are_numbers():
    factor, shift = np.float64(2.0), np.int64(3)
    levels = transformer(Net(lambda _net, y: factor * (y * factor + shift))).fit_transform(PHOTOS).levels
    for level, output in zip(levels, expected(Net(lambda _net, y: y * 4.0 + 6)).values(), strict=True):
        torch.testing.assert_close(torch.from_numpy(level), output, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_compiled_modules_in_a_network():
    with torch.random.fork_rng(devices=[]):
        compiled = torch.jit.trace(nn.Conv2d(3, 8, 3).eval(), torch.zeros(1, 3, 16, 16))
    network = nn.Sequential(compiled, nn.ReLU())
    found = CNNFeatureTransformer(network, layers=["1"], weights=None, image_size=16, device="cpu")
    assert found.fit_transform(PHOTOS).levels[0].shape == (3, 8, 14, 14)


@pytest.mark.parametrize("mean", [0.0, 100.0])
def test_rounding_is_not_taken_for_an_error(mean):
    """A map of one pixel, whose large part a batch norm takes away."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8))
    nn.init.constant_(network[1].bias, mean)
    nn.init.constant_(network[2].running_mean, mean)
    transformer = CNNFeatureTransformer(network, layers=["2"], weights=None, image_size=16, device="cpu")
    assert transformer.fit_transform(PHOTOS).levels[0].shape == (3, 8, 1, 1)


def test_another_image_hides_nothing():
    """A flat image is of another order of magnitude once its contrast is normalised."""

    class Normalised(Net):
        def forward(self, x):
            y = self.a(x / (x.std((2, 3), keepdim=True) + 1e-6))
            y[:, :, :4].mul_(2)
            return self.b(y)

    with pytest.raises(ValueError, match="gives something else"):
        transformer(Normalised(None)).fit(PHOTOS)


def test_rounding_of_folded_weights_is_no_error():
    generator = torch.Generator().manual_seed(4)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        network = mobilenet_v2(weights=None).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.copy_(10 ** (-4 * torch.rand(module.num_features, generator=generator)))
            module.weight.data.copy_(0.2 * torch.rand(module.num_features, generator=generator))
    CNNFeatureTransformer(network, layers=["features.18"], weights=None, image_size=32).fit(PHOTOS)

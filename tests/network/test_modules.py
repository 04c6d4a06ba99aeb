"""Networks that are not ours run as they are: whatever their forward does, the features are what it gives."""

import contextlib
import copy
import functools
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune
from torchvision.models import resnet18
from torchvision.models._api import BUILTIN_MODELS, register_model

from skpadim import CNNFeatureTransformer

PHOTOS = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


def drawn(make):
    """Return a network with the same random weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return make()


class Net(nn.Module):
    """Two convolutions with something between them, or before."""

    def __init__(self, between, before=None):
        super().__init__()
        self.a, self.b = drawn(lambda: (nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)))
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


def depends_on_the_image(net, y):
    return torch.where(y.mean((1, 2, 3), keepdim=True) > 0, y, -y)


BETWEEN = {
    "power": power,
    "add, out": apply(lambda net, y: torch.add(y, 1, out=y)),
    "part": apply(lambda net, y: y[:, :4].relu_()),
    "chunk": add_to_chunk,
    "chunk read": read_chunk,
    "view": apply(lambda net, y: y.unsqueeze(1).squeeze(1).mul_(3)),
    "data": apply(lambda net, y: y.data.relu_()),
    "alias": add_to_alias,
    "relu of an alias": apply(lambda net, y: net.relu(net.identity(y))),
    "hook": apply(lambda net, y: net.hooked(y)),
    "list": apply(lambda net, y: torch._foreach_mul_([y], 2.0)),
    "function in place": apply(lambda net, y: functional.relu(y, True)),
    "control flow": depends_on_the_image,
    "numbers of numpy": lambda net, y: np.float64(2.0) * (y * np.int64(3)),
}


def by_hand(net, layers=("a", "b")):
    """Call a network itself for each photo, and return what its layers give."""
    outputs = {layer: [] for layer in layers}
    for layer in layers:
        net.get_submodule(layer).register_forward_hook(
            lambda _module, _args, output, layer=layer: outputs[layer].append(output.clone())
        )
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = ((torch.from_numpy(PHOTOS) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        for image in images.split(1):
            with contextlib.suppress(RuntimeError):
                net.eval()(image.clone())
    return [torch.cat(found).numpy() for found in outputs.values()]


def transformer(net, layers=("a", "b"), **params):
    return CNNFeatureTransformer(net, layers=list(layers), weights=None, image_size=16, **params)


def assert_equals(found, expected):
    for level, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(level, right, rtol=1e-4, atol=1e-5 * abs(right).max())


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
def test_features_are_those_of_a_call_by_hand(between):
    found = transformer(Net(between)).fit_transform(PHOTOS).levels
    assert_equals(found, by_hand(Net(between)))


def test_network_that_overwrites_what_it_takes():
    def make():
        return Net(lambda _net, y: y, before=lambda x: x.sub_(0.5))

    fitted = transformer(make()).fit(PHOTOS)
    channels = [np.array([1, 2]), np.array([5])]
    for kept in (None, channels, channels):
        (levels,) = fitted.levels(PHOTOS, kept)
        expected = [
            output[:, index] for output, index in zip(by_hand(make()), kept or [slice(None)] * 2, strict=True)
        ]
        assert_equals([level.cpu().numpy() for level in levels], expected)


def accumulate(net, y):
    constant = net.constant
    constant += y.mean(0)
    return constant.expand_as(y)


def replace(net, y):
    net.constant.copy_(y)
    return net.constant


@pytest.mark.parametrize("between", [accumulate, replace], ids=["accumulated", "replaced"])
def test_network_that_remembers_other_images_is_refused(between):
    with pytest.raises(ValueError, match=r"among others|fails on several"):
        transformer(Net(between)).fit(PHOTOS)


def test_network_that_is_another_at_every_call_is_refused():
    counter = itertools.count()
    with pytest.raises(ValueError, match="among others"):
        transformer(Net(lambda _net, y: y + next(counter))).fit(PHOTOS)


class Mixing(nn.Module):
    """A convolution, and something that mixes the images of a batch."""

    def __init__(self, mix):
        super().__init__()
        self.convolution = drawn(lambda: nn.Conv2d(3, 4, 3))
        self.norm, self.last, self.mix = nn.BatchNorm2d(4, track_running_stats=False), nn.Identity(), mix

    def forward(self, x):
        return self.last(self.mix(self, self.convolution(x)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
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
def test_networks_that_mix_the_images_of_a_batch_are_refused(mix, dtype):
    with pytest.raises(ValueError, match="among others"):
        transformer(Mixing(mix).to(dtype), ["last"], device="cpu").fit(PHOTOS)


def test_a_large_channel_hides_no_mixing():
    network = Mixing(lambda net, y: torch.cat([y[:, :1] + 3000, y[:, 1:] - y[:1, 1:]], 1))
    with pytest.raises(ValueError, match="among others"):
        transformer(network, ["last"], device="cpu").fit(PHOTOS)


def test_large_photos_that_mix_a_batch_are_refused():
    """A network takes images of this size one at a time."""
    network = Mixing(lambda net, y: y - y.mean((0, 2, 3), keepdim=True))
    photos = np.random.default_rng(0).integers(0, 256, (2, 1100, 1100, 3), dtype=np.uint8)
    found = CNNFeatureTransformer(network, layers=["last"], weights=None, image_size=1100, device="cpu")
    with pytest.raises(ValueError, match="among others"):
        found.fit(photos)


def test_network_that_takes_one_image_alone_is_refused():
    class Single(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Identity(), nn.Identity()

        def forward(self, x):
            return self.last(self.first(x).reshape(1, 3, 16, 16))

    with pytest.raises(ValueError, match="fails on several"):
        transformer(Single(), ["last"], device="cpu").fit(PHOTOS)


class Tail(Net):
    """What comes behind the layers is not run, and may fail."""

    def __init__(self, behind):
        super().__init__(lambda net, y: y)
        self.behind, self.calls = behind, 0

    def forward(self, x):
        y = super().forward(x)
        self.calls += 1
        return self.behind(y)


def test_network_stops_behind_the_deepest_layer():
    fitted = transformer(Tail(lambda y: y)).fit(PHOTOS)
    tail = fitted._extractor._trunk.module
    before = tail.calls
    fitted.transform(PHOTOS)
    assert tail.calls == before


def test_what_fails_behind_the_layers_does_not_matter():
    found = transformer(Tail(lambda y: y.view(-1, 7919))).fit_transform(PHOTOS).levels
    assert_equals(found, by_hand(Net(lambda net, y: y)))


def test_what_fails_before_a_layer_is_told():
    def fail(net, y):
        return y.view(-1, 7919)

    with pytest.raises(ValueError, match="image_size: the backbone fails on images of 16x16"):
        transformer(Net(fail)).fit(PHOTOS)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["a", "bee"], r"layers: 'bee' is not a module in Net.*named_modules"),
        (["a", "add"], r"layers: 'add' is not a module in Net"),
        (["a", "hooked"], r"layers: 'hooked' is called 0 times"),
        (["a", "relu"], r"layers: 'relu' is called 2 times .*an nn.Identity"),
    ],
)
def test_layers_must_be_modules_that_are_called_once(layers, message):
    with pytest.raises(ValueError, match=message):
        transformer(Net(lambda net, y: net.relu(net.relu(y))), layers).fit(PHOTOS)


def test_module_is_copied_and_left_as_it_is():
    network = drawn(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
    network.train()
    before = copy.deepcopy(network.state_dict())
    fitted = transformer(network, ["1"]).fit(PHOTOS)
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in fitted.backbone_.modules())
    expected = fitted.transform(PHOTOS).levels
    nn.init.zeros_(network[0].weight)
    assert_equals(fitted.transform(PHOTOS).levels, expected)


def test_module_takes_a_state_dict_file_and_no_name(tmp_path):
    def make():
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        other = make()
    torch.save(other.state_dict(), tmp_path / "weights.pth")
    arguments = {"layers": ["1"], "image_size": 16}
    found = CNNFeatureTransformer(drawn(make), weights=tmp_path / "weights.pth", **arguments)
    assert_equals(found.fit_transform(PHOTOS).levels, by_hand(other, ["1"]))
    named = CNNFeatureTransformer(drawn(make), weights="IMAGENET1K_V1", **arguments)
    with pytest.raises(ValueError, match=r"weights='IMAGENET1K_V1' is not a file.*nn\.Module"):
        named.fit(PHOTOS)


def test_module_that_cannot_be_copied_is_named():
    module = drawn(lambda: nn.Sequential(nn.Conv2d(3, 4, 3)))
    prune.identity(module[0], "weight")
    module(torch.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match="backbone Sequential cannot be copied"):
        transformer(module, ["0"]).fit(PHOTOS)


def test_half_precision_that_a_forward_asks_for():
    class Half(nn.Sequential):
        def forward(self, x):
            return super().forward(x.to(torch.bfloat16))

    network = drawn(lambda: Half(nn.Conv2d(3, 8, 3), nn.ReLU()).bfloat16())
    assert np.isfinite(transformer(network, ["1"], device="cpu").fit_transform(PHOTOS).levels[0]).all()


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_compiled_modules_in_a_network():
    compiled = drawn(lambda: torch.jit.trace(nn.Conv2d(3, 8, 3).eval(), torch.zeros(1, 3, 16, 16)))
    network = nn.Sequential(compiled, nn.ReLU())
    found = transformer(network, ["1"], device="cpu").fit_transform(PHOTOS)
    assert found.levels[0].shape == (3, 8, 14, 14)


def test_name_that_somebody_registered_runs_as_it_is():
    """torch.fx would take the part that is written to for a tensor of its own."""

    class Written(nn.Sequential):
        def forward(self, x):
            y = self[0](x)
            y[:, :4].relu_()
            return self[1](y)

    def build(weights=None):
        return Written(nn.Conv2d(3, 8, 3), nn.Identity())

    try:
        register_model(name="skpadim_test_network")(build)
        found = transformer("skpadim_test_network", ["1"], random_state=0).fit_transform(PHOTOS).levels
        assert_equals(found, by_hand(drawn(build), ["1"]))
    finally:
        BUILTIN_MODELS.pop("skpadim_test_network", None)


class Handled(nn.Module):
    """Its forward handles exceptions, the one that stops it, too."""

    def __init__(self, handle):
        super().__init__()
        self.a, self.b, self.c = drawn(lambda: [nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)])
        self.handle = handle

    def forward(self, x):
        return self.handle(self, x)


def finally_reads(net, x):
    try:
        y = net.b(net.a(x))
    finally:
        net.last = y.shape
    return net.c(y)


def swallows(net, x):
    y = None
    with contextlib.suppress(BaseException):
        y = net.b(net.a(x))
    return net.c(y)


def raises_another(net, x):
    try:
        y = net.b(net.a(x))
    except BaseException as error:
        raise RuntimeError("something went wrong") from error
    return net.c(y)


@pytest.mark.parametrize("handle", [finally_reads, swallows, raises_another], ids=lambda f: f.__name__)
def test_whatever_a_forward_makes_of_the_stop(handle):
    found = transformer(Handled(handle)).fit_transform(PHOTOS).levels
    assert_equals(found, by_hand(Handled(lambda net, x: net.b(net.a(x)))))


def test_interrupts_are_no_stop():
    def interrupted(net, x):
        net.b(net.a(x))
        raise KeyboardInterrupt

    net = Handled(interrupted)
    net.b.register_forward_hook(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        transformer(net).fit(PHOTOS)


def test_layer_that_some_images_do_without():
    net = Handled(lambda net, x: net.b(net.a(x)) if x.mean() < 2.0 else net.a(x))
    fitted = transformer(net).fit(PHOTOS // 8)
    with pytest.raises(ValueError, match=r"layers: 'b' was not called for some image"):
        fitted.transform(np.full((1, 16, 16, 3), 255, dtype=np.uint8))


def test_networks_of_one_size_work_whatever_they_raise():
    class Fixed(Net):
        def forward(self, x):
            if x.shape[2] != 16:
                raise KeyError(x.shape[2])
            return super().forward(x)

    found = transformer(Fixed(lambda net, y: y)).fit_transform(PHOTOS).levels
    assert_equals(found, by_hand(Net(lambda net, y: y)))


def test_networks_that_resize_inside_work():
    class Resizing(Net):
        def forward(self, x):
            return super().forward(functional.interpolate(x, (16, 16)))

    assert transformer(Resizing(lambda net, y: y)).fit_transform(PHOTOS).levels[0].shape == (3, 8, 16, 16)


def test_images_come_in_the_precision_of_the_weights():
    class Tempered(nn.Module):
        def __init__(self):
            super().__init__()
            self.number = nn.Parameter(torch.tensor(3), requires_grad=False)
            self.temperature = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
            self.a = drawn(lambda: nn.Conv2d(3, 4, 3))

        def forward(self, x):
            return self.a(x) / self.temperature

    found = transformer(Tempered(), ["a"]).fit_transform(PHOTOS)
    assert found.dtype == np.float32


def test_train_may_return_nothing():
    class Frozen(nn.Sequential):
        def train(self, mode=True):
            super().train(mode)

    network = Frozen(*drawn(lambda: [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)]))
    assert transformer(network, ["1"]).fit_transform(PHOTOS).shape == (3, 4, 14, 14)


def test_default_dtype_of_torch_stays():
    def wide(net, x):
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        y = net.b(net.a(x))
        torch.set_default_dtype(before)
        return y

    transformer(Handled(wide)).fit_transform(PHOTOS)
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_compiled_layer_is_refused_in_words():
    compiled = drawn(lambda: torch.jit.trace(nn.Conv2d(3, 8, 3).eval(), torch.zeros(1, 3, 16, 16)))
    with pytest.raises(ValueError, match=r"layers: '0' of Sequential is compiled.*nn\.Sequential"):
        transformer(nn.Sequential(compiled, nn.ReLU()), ["0"]).fit(PHOTOS)


@pytest.mark.parametrize("weights", [None, "DEFAULT"])
def test_registered_name_that_pretends_to_be_torchvision_s(weights):
    """functools.wraps copies the name of a module; a builder may have no argument ``weights``."""

    class Written(nn.Sequential):
        def forward(self, x):
            y = self[0](x)
            y[:, :4].relu_()
            return self[1](y)

    @functools.wraps(resnet18)
    def build():
        return Written(nn.Conv2d(3, 8, 3), nn.Identity())

    del build.__wrapped__
    try:
        register_model(name="skpadim_test_network")(build)
        found = CNNFeatureTransformer("skpadim_test_network", layers=["1"], weights=weights, image_size=16)
        if weights is None:
            assert_equals(found.fit_transform(PHOTOS).levels, by_hand(drawn(build), ["1"]))
        else:
            with pytest.raises(ValueError, match="was registered with torchvision without trained weights"):
                found.fit(PHOTOS)
    finally:
        BUILTIN_MODELS.pop("skpadim_test_network", None)

"""What must never share features in a memory, and files that must not be believed."""

from __future__ import annotations

import pickle
import shutil

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image
from torch import nn
from torch.nn.utils import prune
from torchvision import ops
from torchvision.models._api import BUILTIN_MODELS, register_model

from skpadim import CNNFeatureTransformer
from skpadim.memory.store import network_digest
from skpadim.network.tracing import trace_network

SIZE = 32
PHOTOS = np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE, 3), dtype=np.uint8)


class Net(nn.Module):
    """Two convolutions, and between them a constant and an activation that no repr of weights shows."""

    def __init__(self, scale=1.0, power=1):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            self.a, self.b = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 8, 3, stride=2)
        self.scale, self.power = scale, power
        self.shift = torch.tensor(float(power))

    def forward(self, x):
        return self.b(torch.relu(self.a(x)) ** self.power * self.scale - self.shift)


def features(backbone="resnet18", memory=None, **arguments):
    arguments = {"weights": None, "image_size": SIZE, "layers": ("a", "b"), **arguments}
    return CNNFeatureTransformer(backbone, memory=memory, **arguments)


def assert_same(found, expected):
    for level, other in zip(found.levels, expected.levels, strict=True):
        assert level.dtype == other.dtype
        assert_allclose(level, other, rtol=1e-4, atol=1e-4 * abs(other).max())


def shift(value):
    net = Net()
    net.shift = torch.tensor(value)
    return net


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Net(), Net(scale=3.0)),
        (Net(), Net(power=2)),
        (Net(), shift(5.0)),
        (Net().bfloat16(), Net().bfloat16().float()),
        (torch.fx.symbolic_trace(Net()), torch.fx.symbolic_trace(Net(scale=3.0))),
    ],
    ids=["constant", "attribute in a branch", "tensor that is no buffer", "precision", "traced graph"],
)
def test_modules_are_known_by_what_they_do(one, other, tmp_path):
    features(one, tmp_path).fit_transform(PHOTOS)
    found = features(other, tmp_path).fit_transform(PHOTOS)
    expected = features(other).fit_transform(PHOTOS)
    for level, right in zip(found.levels, expected.levels, strict=True):
        assert_allclose(level, right, rtol=1e-5, atol=1e-5 * abs(right).max())


def between(module):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3), module, nn.Identity())


def hooked(scale):
    module = nn.ReLU()
    module.register_forward_hook(lambda _module, _args, output: scale * output)
    return module


class Scaled(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self._scale = scale

    def forward(self, x):
        return self._scale * x


def parametrised(scale):
    module = nn.Conv2d(8, 8, 1)
    nn.init.constant_(module.weight, 0.1)
    nn.init.zeros_(module.bias)
    nn.utils.parametrize.register_parametrization(module, "weight", Scaled(scale))
    return module


def with_attribute(value):
    module = nn.AvgPool2d(2)
    module.divisor_override = value
    return module


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: nn.AvgPool2d(3, 1, 1), lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
        (
            lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
            lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        ),
        (lambda: with_attribute(4), lambda: with_attribute(5)),
    ],
    ids=["padding counted", "corners aligned", "divisor"],
)
def test_modules_are_known_by_what_their_repr_hides(one, other, tmp_path):
    with torch.random.fork_rng(devices=[]):
        first, second = between(one()), between(other())
    features(first, tmp_path, layers=["2"]).fit_transform(PHOTOS)
    found = features(second, tmp_path, layers=["2"]).fit_transform(PHOTOS).levels[0]
    expected = features(second, layers=["2"]).fit_transform(PHOTOS).levels[0]
    assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * abs(expected).max())


class Adding(nn.Module):
    """Adds to what another name holds, or to a new tensor."""

    def __init__(self, in_place):
        super().__init__()
        self.in_place = in_place

    def forward(self, x):
        y = x
        if self.in_place:
            y += 1
        else:
            y = y + 1
        return 2 * x


@torch.fx.wrap
def scaled(x):
    return FACTOR["now"] * x


FACTOR = {"now": 1.0}


class Wrapped(nn.Module):
    def forward(self, x):
        return scaled(x)


class Doubled(torch.autograd.Function):
    """Somebody's activation, whose ``apply`` says that it is of torch.autograd."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x


class Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x / 2


def test_sums_in_place_are_others(tmp_path):
    first, second = (network_digest(between(Adding(in_place)), None, 0) for in_place in (True, False))
    assert first != second
    one, other = (trace_network(between(Adding(in_place)))[0] for in_place in (True, False))
    assert str(one) != str(other), "not by the attribute alone"


def excited(activation):
    """A module of torchvision into which torch.fx does not look, around one of somebody else."""

    class Gate(nn.Module):
        def forward(self, x):
            return activation(x)

    Gate.__qualname__ = "Gate"
    return ops.SqueezeExcitation(8, 4, scale_activation=Gate)


def encoder(activation):
    layer = nn.Identity()
    layer.activation = activation
    return layer


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: hooked(1.0), lambda: hooked(3.0)),
        (lambda: parametrised(1.0), lambda: parametrised(3.0)),
        (Wrapped, Wrapped),
        (lambda: excited(torch.sigmoid), lambda: excited(torch.tanh)),
        (lambda: encoder(lambda x: x), lambda: encoder(lambda x: 2 * x)),
        (lambda: encoder(nn.Hardtanh(-1, 1).forward), lambda: encoder(nn.Hardtanh(-3, 3).forward)),
        (lambda: encoder(Doubled.apply), lambda: encoder(Halved.apply)),
    ],
    ids=["hook", "parametrisation", "wrapped", "below a leaf", "attribute", "method", "function"],
)
def test_what_nobody_can_tell_from_others_is_not_kept(one, other, tmp_path, monkeypatch):
    for make, factor in ((one, 1.0), (other, 3.0)):
        monkeypatch.setitem(FACTOR, "now", factor)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            network = between(make())
        transformer = features(network, tmp_path, layers=["2"]).fit(PHOTOS)
        with pytest.warns(UserWarning, match="cannot be told from others .* computed and not kept"):
            found = transformer.transform(PHOTOS).levels[0]
        expected = features(network, layers=["2"]).fit_transform(PHOTOS).levels[0]
        assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * abs(expected).max())
    assert not list(tmp_path.rglob("*x*x*")), "no features"


def test_network_that_somebody_registered_is_not_kept(tmp_path):
    try:
        for activation in (nn.ReLU, nn.Tanh):

            @register_model(name="skpadim_test_network")
            def build(weights=None, activation=activation):
                return nn.Sequential(nn.Conv2d(3, 4, 3), activation())

            transformer = features("skpadim_test_network", tmp_path, layers=["1"]).fit(PHOTOS)
            with pytest.warns(UserWarning, match="not torchvision's own"):
                found = transformer.transform(PHOTOS).levels[0]
            assert (found.min() < 0) == (activation is nn.Tanh)
            del BUILTIN_MODELS["skpadim_test_network"]
    finally:
        BUILTIN_MODELS.pop("skpadim_test_network", None)


def test_networks_of_another_default_precision_are_others():
    single = network_digest("resnet18", None, 0)
    try:
        torch.set_default_dtype(torch.float64)
        assert network_digest("resnet18", None, 0) != single
    finally:
        torch.set_default_dtype(torch.float32)


class Tied(nn.Module):
    """A network whose last convolution has the weights of another."""

    def __init__(self, tied):
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Conv2d(n_in, 8, 3, padding=1) for n_in in (3, 8, 8, 8))
        self.d.weight = getattr(self, tied).weight

    def forward(self, x):
        return self.d(self.c(self.b(self.a(x))))


class View(nn.Module):
    """A network in which an activation overwrites part of what a layer gave."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(12, 8, 3)
        self.r = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.a(x)
        y = self.r(x[:, :4])
        return self.b(torch.cat([x, y], 1))


def drawn(make):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return make()


def test_tied_weights_are_known_by_what_they_are_tied_to(tmp_path):
    for tied in ("b", "c"):
        network = drawn(lambda tied=tied: Tied(tied))
        found = features(network, tmp_path, layers=["d"]).fit_transform(PHOTOS)
        assert_same(found, features(network, layers=["d"]).fit_transform(PHOTOS))


def test_layers_that_others_overwrite_are_not_gone_on_from(tmp_path):
    network = drawn(View)
    for layers in (["a"], ["r"], ["r", "b"], ["a", "r", "b"]):
        found = features(network, tmp_path, layers=layers).fit_transform(PHOTOS)
        assert_same(found, features(network, layers=layers).fit_transform(PHOTOS))


def test_what_becomes_of_a_module_later_is_not_what_was_fitted(tmp_path):
    network = between(nn.ReLU())
    transformer = features(network, tmp_path, layers=["1"]).fit(PHOTOS)
    network[1] = nn.Tanh()
    for later in (transformer, pickle.loads(pickle.dumps(transformer))):
        found = later.transform(PHOTOS)
        assert_same(found, features(between(nn.ReLU()), layers=["1"]).fit_transform(PHOTOS))
    found = features(between(nn.ReLU()), tmp_path, layers=["1"]).fit_transform(PHOTOS)
    assert found.levels[0].min() == 0


def test_module_that_cannot_be_copied_is_named(tmp_path):
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(nn.Conv2d(3, 4, 3))
    prune.identity(network[0], "weight")
    network(torch.zeros(1, 3, SIZE, SIZE))
    with pytest.raises(ValueError, match="backbone Sequential cannot be copied"):
        features(network, tmp_path, layers=["0"]).fit(PHOTOS)


def test_folder_that_takes_nothing(tmp_path):
    """As on a full disk, or where another user owns it: told, and computed all the same."""
    memory = joblib.Memory(tmp_path / "store", verbose=0)
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "store").write_text("no folder")
    with pytest.warns(UserWarning, match=r"memory: features cannot be kept \(.*Not a directory"):
        found = features(memory=memory, layers=["layer1"]).fit_transform(PHOTOS)
    assert_same(found, features(layers=["layer1"]).fit_transform(PHOTOS))


def test_module_whose_source_is_nowhere(tmp_path):
    names = {"nn": nn}
    exec("class Typed(nn.Sequential):\n    pass", names)
    with torch.random.fork_rng(devices=[]):
        module = names["Typed"](nn.Conv2d(3, 4, 3))
    expected = features(module, layers=["0"]).fit_transform(PHOTOS)
    for _ in range(2):
        assert_same(features(module, tmp_path, layers=["0"]).fit_transform(PHOTOS), expected)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a VGG whose batch norms are far from doing nothing, as those of a trained network."""
    from torchvision.models import vgg11_bn

    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        model = vgg11_bn(weights=None)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(4 * torch.rand(module.num_features, generator=generator) + 0.1)
    path = tmp_path_factory.mktemp("weights") / "vgg.pth"
    torch.save(model.features.state_dict(prefix="features."), path)
    return path


# In torchvision's VGG, 0 is a convolution, 1 its batch norm, 4 the next convolution.
@pytest.mark.parametrize(
    ("first", "second"),
    [("features.1", "features.0"), ("features.0", "features.1"), ("features.0", "features.4")],
)
def test_folded_batch_norm_is_not_its_convolution(first, second, weights, tmp_path):
    arguments = {"backbone": "vgg11_bn", "weights": weights}
    features(memory=tmp_path, layers=[first], **arguments).fit_transform(PHOTOS)
    found = features(memory=tmp_path, layers=[second], **arguments).fit_transform(PHOTOS)
    assert_same(found, features(layers=[second], **arguments).fit_transform(PHOTOS))


def test_half_a_file_of_doubles_is_not_one_of_floats(tmp_path):
    transformer = features(Net().double(), tmp_path).fit(PHOTOS)
    expected = transformer.transform(PHOTOS)
    halved = [path for path in tmp_path.rglob("skpadim/*/*") if path.is_file()]
    assert len(halved) == 2 * len(PHOTOS)
    for path in halved:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    assert_same(transformer.transform(PHOTOS), expected)


@pytest.mark.parametrize("memory_in_first_fit", [True, False])
def test_memory_given_after_a_fit(memory_in_first_fit, tmp_path):
    transformer = features(Net(), tmp_path if memory_in_first_fit else None).fit(PHOTOS)
    transformer.set_params(memory=tmp_path).transform(PHOTOS)
    transformer.set_params(backbone=Net(scale=3.0), memory=None).fit(PHOTOS)
    expected = transformer.transform(PHOTOS)
    assert_same(transformer.set_params(memory=tmp_path).transform(PHOTOS), expected)


def test_file_rewritten_in_a_tick_is_another_image(tmp_path):
    photos = [PHOTOS[0], PHOTOS[1], PHOTOS[2]]
    path = tmp_path / "photo.bmp"  # all of one size
    for photo in photos:
        Image.fromarray(photo).save(path)
        found = features(memory=tmp_path / "memory", layers=["layer1"]).fit_transform([path])
        assert_same(found, features(layers=["layer1"]).fit_transform(photo[None]))

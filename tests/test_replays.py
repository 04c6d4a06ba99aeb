"""Replays on a GPU: what is recorded gives what the function gives, and what may not be is called as ever."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn
from torch.fx import symbolic_trace

from skpadim.backbones import build_trunk
from skpadim.kernels.replays import _MOST_NUMBERS, Replays
from skpadim.tracing import runs_torchs_code_alone
from skpadim.trunks import optimise_trunk
from test_backbones import network
from test_convolutions import NETWORKS
from test_devices import on_a_gpu


@pytest.fixture(autouse=True)
def _recorded_at_the_second_call(monkeypatch):
    monkeypatch.setattr("skpadim.kernels.replays._CALLS_BEFORE", 1)


class Counted:
    """A function that counts its calls."""

    def __init__(self):
        self.n_calls = 0

    def __call__(self, x, y):
        self.n_calls += 1
        return (x @ y).relu_(), x.sum(dim=1)


def draw(n, seed, device="cuda"):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(device) for shape in ((n, 5), (5, 7))]


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
        assert one.stride() == other.stride()


def test_a_processor_calls_the_function_each_time():
    replays, function = Replays(), Counted()
    for seed in range(4):
        tensors = draw(3, seed, "cpu")
        assert_equal(replays.run(function, *tensors), Counted()(*tensors))
    assert function.n_calls == 4


@on_a_gpu
def test_from_the_third_call_on_nothing_is_called():
    replays, function = Replays(), Counted()
    inputs = [draw(n, seed) for seed in range(5) for n in (3, 4)]
    results = [replays.run(function, *tensors) for tensors in inputs]
    assert function.n_calls == 6, "each shape once as it is, and twice to record it"
    for tensors, result in zip(inputs, results, strict=True):  # None was overwritten by a later call.
        assert_equal(result, Counted()(*tensors))


@on_a_gpu
def test_short_streams_are_not_recorded(monkeypatch):
    monkeypatch.setattr("skpadim.kernels.replays._CALLS_BEFORE", 5)
    replays, function = Replays(), Counted()
    for seed in range(12):
        tensors = draw(3, seed)
        assert_equal(replays.run(function, *tensors), Counted()(*tensors))
    assert function.n_calls == 7


@on_a_gpu
def test_other_layouts_and_dtypes_are_other_shapes():
    replays, function = Replays(), Counted()
    x, y = draw(3, 0)
    for _ in range(3):
        for tensors in ((x, y), (x.T.contiguous().T, y), (x.double(), y.double())):
            assert_equal(replays.run(function, *tensors), Counted()(*tensors))
    assert function.n_calls == 9


@on_a_gpu
def test_shapes_come_and_go():
    replays, function = Replays(), Counted()
    for n in (*range(1, 9), *range(1, 9), 8, 8):
        tensors = draw(n, n)
        assert_equal(replays.run(function, *tensors), Counted()(*tensors))
    assert function.n_calls == 18, "eight shapes are too many to remember"


@on_a_gpu
def test_many_numbers_are_not_recorded():
    replays, calls = Replays(), []
    x = torch.zeros(_MOST_NUMBERS + 1, device="cuda")
    for _ in range(4):
        replays.run(lambda x: (calls.append(0), (x + 1,))[1], x)
    assert len(calls) == 4


@on_a_gpu
def test_what_cannot_be_recorded_is_called():
    replays = Replays()

    def waits(x, y):
        return (x * float(y.sum()),)

    for seed in range(4):
        x, y = draw(3, seed)
        assert_equal(replays.run(waits, x, y), [x * y.sum()])
    free = torch.cuda.memory_allocated()
    for _ in range(3):
        torch.zeros(10**7, device="cuda")
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == free, "the allocator works as before"
    assert_equal(Replays().run(Counted(), x, y), Counted()(x, y))


@on_a_gpu
def test_threads_with_streams_of_their_own():
    replays, function, wrong = Replays(), Counted(), []

    def work(seed):
        with torch.cuda.stream(torch.cuda.Stream()):
            for step in range(50):
                tensors = draw(64, 100 * seed + step)
                result = replays.run(function, *tensors)
                if not torch.allclose(result[0], (tensors[0] @ tensors[1]).relu()):
                    wrong.append((seed, step))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert function.n_calls == 3


@on_a_gpu
@pytest.mark.parametrize(("name", "layers"), NETWORKS)
def test_networks_are_recorded(name, layers):
    trunk = optimise_trunk(build_trunk(network(name), layers, None, seed=0)).cuda()
    replays, n_calls = Replays(), 0

    def compute(images):
        nonlocal n_calls
        n_calls += 1
        outputs = trunk(images)
        return [outputs[layer] for layer in layers]

    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for seed in range(4):
            images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed)).cuda()
            expected = [trunk(images)[layer] for layer in layers]
            for found, output in zip(replays.run(compute, images), expected, strict=True):
                torch.testing.assert_close(found, output, rtol=0, atol=1e-5 * float(output.abs().max()))
    assert n_calls == 3


class Leaf(nn.Module):
    def forward(self, x):
        return x + 1


def hooked_relu():
    relu = nn.ReLU()
    relu.register_forward_hook(lambda _module, _args, output: output + 1)
    return relu


def own_function(x):
    return x


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), True),
        (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))), False),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), hooked_relu()), False),
    ],
    ids=["torch's", "parametrised", "hooked"],
)
def test_others_code_is_not_recorded(make, expected):
    with torch.random.fork_rng(devices=[]):
        assert runs_torchs_code_alone(symbolic_trace(make())) is expected


def test_others_modules_and_functions_are_not_recorded():
    graph = torch.fx.Graph()
    node = graph.placeholder("x")
    graph.output(graph.call_module("leaf", (node,)))
    assert not runs_torchs_code_alone(torch.fx.GraphModule({"leaf": Leaf()}, graph))
    graph = torch.fx.Graph()
    graph.output(graph.call_function(own_function, (graph.placeholder("x"),)))
    assert not runs_torchs_code_alone(torch.fx.GraphModule({}, graph))

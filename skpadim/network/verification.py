"""Whether the network made of a module computes what the module does."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from ..base.devices import own_precision
from .extractor import Network, normalised_pixels
from .tracing import finished, trace_network
from .weights import build_trunk, copied, layer_ends


def check_module(module: nn.Module, layers: Sequence[str], size: tuple[int, int]) -> None:
    """Compare the network made of a module with the module itself, and images alone with images in a batch.

    torch.fx does not see everything that Python and torch allow: writes through views, say. torchvision's own
    networks need no such check.

    Raises
    ------
    ValueError
        If a layer gives something else, or an image another result among others than alone.
    """
    trunk = build_trunk(module, layers, None, seed=0).cpu()
    # Unlike each other, lest statistics of a batch be the same as of each image: bright, dark, and flat.
    images = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0))
    images[1] *= 0.2
    images[2] = 0.7
    with torch.inference_mode(), own_precision(torch.device("cpu")):
        if _dtype(trunk).itemsize < 4:
            # Its rounding would hide what is wrong. Some forwards ask for their precision themselves.
            wide = copied(module).float()
            wide_trunk = build_trunk(wide, layers, None, seed=0).cpu()
            if not _failure(wide_trunk, normalised_pixels(images, torch.float32)):
                module, trunk = wide, wide_trunk
        pixels = normalised_pixels(images, _dtype(trunk))
        network = Network(finished(cast(GraphModule, copied(trunk))), layers, torch.device("cpu"), None)
        expected = _expected(module, layers, pixels[:1])
        singles = [trunk(image.clone()) for image in pixels.split(1)]
        alone = {layer: torch.cat([outputs[layer] for outputs in singles]) for layer in layers}
        _check_traced(module, network, images[:1], expected, alone)
        _check_alone(module, trunk, pixels, alone)


def _dtype(trunk: nn.Module) -> torch.dtype:
    return next(trunk.parameters(), torch.empty(0)).dtype


def _check_traced(
    module: nn.Module,
    network: Network,
    image: Tensor,
    expected: Mapping[str, Sequence[Tensor]],
    alone: Mapping[str, Tensor],
) -> None:
    whole, again = network.levels(image), network.levels(image)
    some = [np.arange(0, level.shape[1], 2) for level in whole]
    chosen = network.levels(image, some)
    for layer, *levels, index in zip(network.layers, whole, again, chosen, some, strict=True):
        # What the flat image gives may be of another order.
        traced, outputs = alone[layer][:1], alone[layer][:2]
        # A module may be called several times, of which a layer is one.
        if not any(
            _near(traced, output, outputs) and _all_folded(levels, [output, output, output[:, index]])
            for output in expected[layer]
        ):
            raise _traced_wrongly(module, layer)


def _traced_wrongly(module: nn.Module, layer: str) -> ValueError:
    return ValueError(
        f"backbone {type(module).__name__}: layer {layer!r} gives something else once torch.fx has "
        "traced it. Let its forward overwrite no views, constants or buffers (y = y + 1 instead of "
        "y[:] += 1), and be the same at every call."
    )


def _check_alone(module: nn.Module, trunk: nn.Module, images: Tensor, alone: Mapping[str, Tensor]) -> None:
    try:
        together = trunk(images)
    except RuntimeError as error:
        raise ValueError(
            f"backbone {type(module).__name__} takes one image, and fails on several ({error}). Let it take "
            "batches of any size."
        ) from error
    for layer, found in together.items():
        single = alone[layer]
        if not (_near(found, single, single) and _near(found[:2], single[:2], single[:2])):
            raise ValueError(
                f"backbone {type(module).__name__}: layer {layer!r} gives for an image alone something else "
                "than for the image among others. Let it treat each image by itself (no statistics of a "
                "batch: track_running_stats=True, say)."
            )


def _expected(module: nn.Module, layers: Sequence[str], images: Tensor) -> dict[str, list[Tensor]]:
    """Return what the layers give when the module is called, for each time that they are called.

    What a layer gives that is no module only a graph can say: that of the whole network, from which nothing
    is left out. It is believed if it ends as the module does.
    """
    model = copied(module).cpu().eval()
    graph, nodes = trace_network(model)
    ends = layer_ends(model, layers, nodes)
    seen = {str(node.target) for node in graph.nodes if node.op == "call_module"}
    call = _Call(model, seen, images)
    expected = {layer: call.outputs[layer] for layer in layers if layer in call.outputs}
    missing = [layer for layer in layers if layer not in expected]
    if missing:
        whole = _WholeNetwork(finished(GraphModule(model, graph)), ends, call)
        failure = _failure(whole.run, images)
        if not whole.agrees or (call.failure and not failure):
            raise _traced_wrongly(module, missing[0])
        if not whole.outputs.keys() >= set(missing):
            raise ValueError(
                f"backbone {type(module).__name__} fails on images, channels last in memory "
                f"({call.failure}). Mend it where it wants another layout, or what it does for nothing."
            )
        expected |= {layer: [whole.outputs[layer]] for layer in missing}
    return expected


class _Call:
    """What a call of a module comes to: for each module in it, and for the last one that torch.fx sees."""

    def __init__(self, model: nn.Module, seen: Set[str], images: Tensor) -> None:
        self.outputs: dict[str, list[Tensor]] = {}
        self.last, self.last_number = "", 0  # "" is the whole
        self.last_tensors: list[Tensor] = []
        self._seen, self._numbers = seen, Counter[str]()
        with contextlib.ExitStack() as hooks:
            for name, each in model.named_modules():
                # Compiled modules take no hooks.
                if not isinstance(each, torch.jit.ScriptModule):
                    hooks.enter_context(each.register_forward_hook(partial(self._record, name)))
            # What fails before the layers fails in the network, too, and is explained there.
            self.failure = _failure(model, images)

    def _record(self, name: str, _module: nn.Module, _arguments: object, output: object) -> None:
        if isinstance(output, Tensor):
            self.outputs.setdefault(name, []).append(output.clone())
        if name in self._seen or not name:
            self._numbers[name] += 1
            self.last, self.last_number = name, self._numbers[name]
            self.last_tensors = [tensor.clone() for tensor in _tensors(output)]


class _WholeNetwork(Interpreter):
    """A whole network, run node by node to see what its layers give, and if the last call is as it was."""

    def __init__(self, network: GraphModule, ends: Mapping[str, Node], call: _Call) -> None:
        super().__init__(network)
        self.extra_traceback = False
        self.outputs: dict[str, Tensor] = {}
        self.agrees = not call.last_number
        self._layers = {end: layer for layer, end in ends.items()}
        self._call, self._numbers = call, Counter[str]()

    def run_node(self, n: Node) -> Any:
        """Compute a node, as an Interpreter does; keep what a layer gives, and compare the last call."""
        result = super().run_node(n)
        if n in self._layers:
            self.outputs[self._layers[n]] = result.clone()
        if n.op in ("call_module", "output"):
            name = str(n.target) if n.op == "call_module" else ""
            self._numbers[name] += 1
            if (name, self._numbers[name]) == (self._call.last, self._call.last_number):
                self.agrees = _all_near(_tensors(result), self._call.last_tensors)
        return result


def _failure(call: Callable[[Tensor], object], images: Tensor) -> Exception | None:
    """Return what a call raises, if anything; it may overwrite what it takes."""
    try:
        call(images.clone())
    except Exception as error:
        return error
    return None


def _tensors(output: object) -> list[Tensor]:
    """Return the tensors of numbers that an output holds."""
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, list | tuple):
        return [tensor for each in output for tensor in _tensors(each)]
    return [output] if isinstance(output, Tensor) and output.is_floating_point() else []


def _all_folded(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Whether all are the same but for the rounding of folded weights."""
    pairs = zip(found, expected, strict=True)
    return all(_near(level, output, output, of_spread=0, of_largest=1e-3) for level, output in pairs)


def _all_near(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    return len(found) == len(expected) and all(map(_near, found, expected, expected))


def _near(
    found: Tensor, expected: Tensor, outputs: Tensor, of_spread: float = 1e-3, of_largest: float = 1e-5
) -> bool:
    """Whether two are the same but for rounding; what is not finite is so in both.

    Next to rounding, an error counts by the spread of its channel in some outputs, as it does for PaDiM.
    """
    finite = expected.isfinite()
    if found.shape != expected.shape or not torch.equal(found.isfinite(), finite):
        return False
    if not found.numel():
        return True
    error = _by_channel((found - expected).where(finite, 0)).abs().amax(1)
    values = _by_channel(outputs.where(outputs.isfinite(), 0))
    if expected.itemsize < 4:
        of_spread, of_largest = 0.1, 0.01
    tolerance = of_spread * (values.amax(1) - values.amin(1)) + of_largest * values.abs().max()
    return bool((error <= tolerance).all())


def _by_channel(values: Tensor) -> Tensor:
    return values.movedim(1, 0).flatten(1) if values.ndim > 1 else values.reshape(1, -1)

"""From a torchvision name, or an nn.Module, to a frozen trunk that ends at the deepest layer asked for."""

from __future__ import annotations

import copy
import difflib
import inspect
import operator
import os
import pickle
import threading
from collections.abc import Mapping, Sequence, Set
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.overrides import TorchFunctionMode

from .tracing import calls_forward_alone, finished, is_number, trace_network

#: torch.fx traces by patching nn.Module for the whole process, and random weights are drawn from torch's
#: global generator: while one thread builds a network, no other may build or run one.
NETWORK_LOCK = threading.RLock()

#: What a trunk's weights are outside of it: plain arrays by name.
StateArrays = dict[str, NDArray[Any]]

# Modules that leave what they take as it is, and return something else.
_KEEP_THEIR_INPUT = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d)


def build_trunk(
    backbone: str | nn.Module,
    layers: Sequence[str],
    weights: str | os.PathLike[str] | None,
    seed: int | None,
) -> nn.Module:
    """Build a network, cut it behind the deepest of the layers, and load its weights.

    Parameters
    ----------
    backbone : str or nn.Module
        A name that torchvision.models knows, or a network, which is copied.
    layers : sequence of str
        Names of the graph's nodes, or of modules.
    weights : str, path or None
        A name of torchvision's weights ("DEFAULT", "IMAGENET1K_V1", downloaded by torchvision unless in its
        cache), the path of a state-dict file, or None: random weights for a name. A module keeps its own
        with "DEFAULT" or None.
    seed : int or None
        Decides random weights; torch's global generator is left alone. None: the weights of a name are
        whatever memory held, for a caller that loads others.

    Returns
    -------
    nn.Module
        In evaluation mode, frozen; it maps images to a dict of the layers' outputs.

    Raises
    ------
    ValueError
        If a name or file is unknown, the network cannot be traced, or the weights do not fit.
    """
    name = None if isinstance(backbone, nn.Module) else backbone
    if isinstance(backbone, nn.Module):
        model = copied(backbone)
    else:
        # Whatever torch's default is, torchvision's weights are of single precision.
        model = _random_model(backbone, seed if weights is None else None).float()
    trunk = _cut(model.eval(), layers)
    if weights is not None and (name is not None or weights != "DEFAULT"):
        state = _state_dict(name, weights)
        _load(trunk, set(model.state_dict()), state, f"weights={os.fspath(weights)!r}")
    return finished(trunk).eval().requires_grad_(False)


def copied(backbone: nn.Module) -> nn.Module:
    """Return a copy of a network, or raise a ValueError that says why there is none."""
    try:
        return copy.deepcopy(backbone)
    # Of tensors that are computed from others, as pruned weights are; of compiled functions.
    except (RuntimeError, TypeError, pickle.PickleError) as error:
        raise ValueError(
            f"backbone {type(backbone).__name__} cannot be copied ({_first_line(error)}). Make its "
            "parametrisations permanent, by torch.nn.utils.prune.remove or remove_weight_norm, say, and hold "
            "no compiled functions as attributes."
        ) from error


class _Uninitialised(TorchFunctionMode):
    """Networks made in this context are not initialised, which is half of the work of making them."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, unless it initialises a tensor."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _random_model(name: str, seed: int | None) -> nn.Module:
    from torchvision.models import get_model, get_model_builder, list_models

    if name not in list_models():
        raise ValueError(
            f"backbone={name!r} is not a model of torchvision.{_close_matches(name, list_models())} "
            "Pass a name from torchvision.models.list_models(), or an nn.Module."
        )
    initialised = _Uninitialised() if seed is None else nullcontext()
    with torch.random.fork_rng(devices=[]), initialised:
        torch.default_generator.manual_seed(seed or 0)
        # Without it, torchvision's segmentation and detection networks download a pretrained backbone.
        has_backbone = "weights_backbone" in inspect.signature(get_model_builder(name)).parameters
        return get_model(name, weights=None, **({"weights_backbone": None} if has_backbone else {}))


def _state_dict(name: str | None, weights: str | os.PathLike[str]) -> Mapping[str, Tensor]:
    """Return the state dict that ``weights`` means: a file that exists, or torchvision's by name."""
    from torchvision.models import get_model_weights

    if Path(weights).is_file():
        return _read_state_dict(weights)
    if name is None:
        raise ValueError(
            f"weights={os.fspath(weights)!r} is not a file. For a backbone that is an nn.Module, pass the "
            "path of a state-dict file, or weights=None to keep the module's own weights."
        )
    known = list(get_model_weights(name).__members__)
    if str(weights) not in known:
        raise ValueError(
            f"weights={os.fspath(weights)!r} is neither a file nor one of torchvision's weights of "
            f"{name}: {', '.join(known)}. Pass the path of a state-dict file, one of these names, or None "
            "for random weights."
        )
    try:
        return get_model_weights(name)[str(weights)].get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except Exception as error:  # A broken file in torch's cache raises almost anything.
        raise ValueError(
            f"weights={os.fspath(weights)!r} of {name} could not be downloaded ({error}). Without a network, "
            "download the file elsewhere and pass its path as weights."
        ) from error


def _read_state_dict(path: str | os.PathLike[str]) -> Mapping[str, Tensor]:
    """Read a state-dict file without executing anything in it."""
    where = f"weights={os.fspath(path)!r}"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # On other files torch's unpickler raises almost anything.
        # Of other objects torch says how to build them nevertheless, if their source is trusted.
        others = isinstance(error, pickle.UnpicklingError)
        reason = "it is damaged, or holds other objects as well" if others else _first_line(error)
        raise ValueError(
            f"{where} cannot be read as a state dict of tensors ({reason}). Save one with "
            "torch.save(model.state_dict(), path)."
        ) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise ValueError(
            f"{where} holds a {type(state).__name__}, not a state dict of tensors. Save one with "
            "torch.save(model.state_dict(), path)."
        )
    return state


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _load(trunk: nn.Module, known: Set[str], state: Mapping[str, Tensor], where: str) -> None:
    """Load into a trunk what it needs of a state dict, and refuse one of another network.

    ``known`` are the entries of the whole network. What lies behind the trunk (a classifier of another
    size, say) is nobody's concern; an entry inside the trunk's modules that the network lacks is.
    """
    own = trunk.state_dict()
    modules = {name.split(".")[0] for name in own}
    problems = {
        # What tracing made of constants has no entry in the network itself.
        "missing": [n for n in own if n in known - set(state) and not n.endswith("num_batches_tracked")],
        "unknown": [n for n in state if n not in known and n.split(".")[0] in modules],
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(value.shape)}"
            for name, value in own.items()
            if name in state and state[name].shape != value.shape
        ],
    }
    if any(problems.values()):
        found = "; ".join(
            f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for what, names in problems.items()
            if names
        )
        raise ValueError(
            f"{where} does not fit the backbone: entries {found}. Choose the backbone that these weights "
            "were trained for."
        )
    trunk.load_state_dict({name: state[name] for name in own if name in state}, strict=False)


def layer_ends(model: nn.Module, layers: Sequence[str], nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Return the node that ends each layer, of the nodes of a traced network by name.

    Raises
    ------
    ValueError
        If a layer is unknown, or two are the same.
    """
    parents = {name[:end] for name in nodes for end in range(len(name)) if name[end] == "."}
    known = [*nodes, *sorted(parents)]
    for layer in layers:
        if layer not in known:
            raise ValueError(
                f"layers: {layer!r} is not a layer of {type(model).__name__}.{_close_matches(layer, known)} "
                "torchvision.models.feature_extraction.get_graph_node_names lists all."
            )
    ends = {layer: [n for n in nodes if n == layer or n.startswith(f"{layer}.")][-1] for layer in layers}
    for end in ends.values():
        same = [other for other in layers if ends[other] == end]
        if len(same) > 1:
            raise ValueError(f"layers: {', '.join(map(repr, same))} are the same output; name it once.")
    return {layer: nodes[end] for layer, end in ends.items()}


def _cut(model: nn.Module, layers: Sequence[str]) -> GraphModule:
    """Cut a network behind the deepest of the layers."""
    graph, nodes = trace_network(model)
    ends = layer_ends(model, layers, nodes)
    for output in graph.find_nodes(op="output"):
        graph.erase_node(output)
    graph.output(ends)
    graph.owning_module = GraphModule(model, graph)  # knows which modules are impure
    graph.eliminate_dead_code()
    trunk = GraphModule(model, graph, type(model).__name__)  # holds what is left
    _protect_outputs(trunk)
    return trunk


def _protect_outputs(trunk: GraphModule) -> None:
    """Copy the outputs of layers unless what follows is known not to overwrite them in place."""
    (output,) = (node for node in trunk.graph.nodes if node.op == "output")
    outputs = dict(cast("Mapping[str, Node]", output.args[0]))
    for layer, node in outputs.items():
        stays = all(user is output or _keeps_its_input(trunk, user) for user in node.users)
        if not (stays or is_number(node)):
            kept = f"{node.name}_kept"  # A name of its own, by which a cache tells it from others.
            with trunk.graph.inserting_after(node):
                outputs[layer] = trunk.graph.create_node("call_method", "clone", (node,), name=kept)
    output.args = (outputs,)
    trunk.recompile()


def _keeps_its_input(trunk: GraphModule, node: Node) -> bool:
    if node.op == "call_module":
        module = trunk.get_submodule(str(node.target))
        return isinstance(module, _KEEP_THEIR_INPUT) and calls_forward_alone(module)
    return node.target in (operator.add, torch.add, torch.cat) and "out" not in node.kwargs


def _close_matches(name: str, known: Sequence[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=4, cutoff=0.4)
    return f" Close matches: {', '.join(matches)}." if matches else ""


def trunk_arrays(trunk: nn.Module) -> StateArrays:
    """Return a trunk's weights and buffers as arrays."""
    state = trunk.state_dict().items()
    # NumPy has no bfloat16; float32 holds it exactly.
    arrays = {
        name: (value.float() if value.dtype == torch.bfloat16 else value).cpu().numpy().copy()
        for name, value in state
    }
    for array in arrays.values():
        array.setflags(write=False)  # The estimators that share a network share them.
    return arrays


def rebuild_trunk(backbone: str | nn.Module, layers: Sequence[str], arrays: StateArrays) -> nn.Module:
    """Build the trunk whose weights are these arrays; nothing is downloaded."""
    trunk = build_trunk(backbone, layers, None, seed=None)
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
    # A module says in which precision it computes; by name the arrays do, whatever torch's default is by now.
    trunk.load_state_dict(tensors, assign=isinstance(backbone, str))
    return trunk

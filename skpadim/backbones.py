"""From a torchvision name, or an nn.Module, to a frozen trunk that ends at the deepest layer asked for."""

from __future__ import annotations

import copy
import difflib
import functools
import inspect
import math
import operator
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Interpreter, Node, Proxy
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from .kernels.channels import select_channels

#: torch.fx traces by patching nn.Module for the whole process, and random weights are drawn from torch's
#: global generator: while one thread builds a network, no other may build or run one.
NETWORK_LOCK = threading.RLock()

#: What a trunk's weights are outside of it: plain arrays by name.
StateArrays = dict[str, NDArray[Any]]

#: Shapes of the tensors that a trunk's nodes compute, by name.
Shapes = dict[str, tuple[int, ...]]

# Modules that leave what they take as it is, and return something else.
_KEEP_THEIR_INPUT = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d)
# Each channel of what they return depends on that channel of what they take alone.
_ELEMENTWISE_MODULES = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.GELU, nn.Identity)
_ELEMENTWISE_FUNCTIONS = (operator.add, operator.iadd, torch.add, torch.relu, functional.relu)


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
        model = _copied(backbone)
    else:
        model = _random_model(backbone, seed if weights is None else None)
    trunk = _cut(model.eval(), layers)
    if weights is not None and (name is not None or weights != "DEFAULT"):
        state = _state_dict(name, weights)
        _load(trunk, set(model.state_dict()), state, f"weights={os.fspath(weights)!r}")
    return trunk.eval().requires_grad_(False)


def _copied(backbone: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(backbone)
    except RuntimeError as error:  # Of tensors that are computed from others, as pruned weights are.
        raise ValueError(
            f"backbone {type(backbone).__name__} cannot be copied ({_first_line(error)}). Make its "
            "parametrisations permanent, by torch.nn.utils.prune.remove or remove_weight_norm, say."
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
        raise ValueError(
            f"{where} cannot be read as a state dict of tensors ({_first_line(error)}). Save one with "
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


def _cut(model: nn.Module, layers: Sequence[str]) -> GraphModule:
    """Cut a network behind the deepest of the layers."""
    graph, nodes = _trace(model)
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
    for output in graph.find_nodes(op="output"):
        graph.erase_node(output)
    _read_what_was_written(model, graph)
    graph.output({layer: nodes[end] for layer, end in ends.items()})
    graph.owning_module = GraphModule(model, graph)  # knows which modules are impure
    graph.eliminate_dead_code()
    trunk = GraphModule(model, graph, type(model).__name__)  # holds what is left
    _protect_outputs(trunk)
    return trunk


class _Value(Proxy):
    """A value of a traced network, of which is known if ``+=`` and its like overwrite it.

    torch.fx makes plain sums of them, which leave what is added to as it was.
    """

    def _overwritten(self, function: Callable[..., Any], other: Any) -> Proxy:
        result = self.tracer.create_proxy("call_function", function, (self, other), {})
        result.node.meta["overwrites"] = True
        return result

    __iadd__ = functools.partialmethod(_overwritten, operator.add)
    __isub__ = functools.partialmethod(_overwritten, operator.sub)
    __imul__ = functools.partialmethod(_overwritten, operator.mul)
    __itruediv__ = functools.partialmethod(_overwritten, operator.truediv)


def _trace(model: nn.Module) -> tuple[Graph, dict[str, Node]]:
    """Return what a network computes, and its nodes by their torchvision names, in order."""
    from torchvision import ops
    from torchvision.models.feature_extraction import NodePathTracer

    kinds = [kind for _, kind in inspect.getmembers(ops, inspect.isclass) if issubclass(kind, nn.Module)]
    # torchvision does not look into its own modules. In those that hold a convolution, its batch norm and an
    # activation there is something to fold, to cut and to pack.
    leaves = [kind for kind in kinds if not issubclass(ops.Conv2dNormActivation, kind)]
    tracer = NodePathTracer(autowrap_modules=(math, ops), leaf_modules=leaves)
    tracer.proxy = lambda node: _Value(node, tracer)
    try:
        graph = tracer.trace(model)
    except Exception as error:
        raise ValueError(
            f"backbone {type(model).__name__} cannot be traced by torch.fx ({error}). Wrap it so that its "
            "forward has no control flow that depends on the input."
        ) from error
    return graph, {name: node for node, name in tracer.node_to_qualname.items()}


def _read_what_was_written(model: nn.Module, graph: Graph) -> None:
    """Let whatever reads a tensor after it was overwritten in place read the result of that.

    Then the graph alone says what depends on what, also where the result itself is not used.
    """
    order = {node: place for place, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        written = _overwritten(model, node)
        if written is not None:
            for user in [user for user in written.users if order[user] > order[node]]:
                user.replace_input_with(written, node)


def _overwritten(model: nn.Module, node: Node) -> Node | None:
    """Return the node whose tensor a node overwrites in place, if any."""
    if isinstance(node.kwargs.get("out"), Node):
        return cast(Node, node.kwargs["out"])
    if node.op == "call_module":
        in_place = getattr(model.get_submodule(str(node.target)), "inplace", False)
    elif node.op == "call_method":
        in_place = _ends_as_in_place(str(node.target))
    elif node.op == "call_function":
        in_place = node.meta.get("overwrites", False) and not _is_number(cast(Node, node.args[0]))
        in_place = in_place or _is_told_to_overwrite(node)
    else:
        return None
    first = next(iter([*node.args, *node.kwargs.values()]), None)
    return first if in_place and isinstance(first, Node) else None


def _is_number(node: Node) -> bool:
    """Whether a node computes a number from the shapes of tensors: numbers are never overwritten."""
    if node.op == "call_method":
        return node.target in ("size", "dim", "numel")
    if node.target is getattr:
        return node.args[1] in ("shape", "ndim")
    sources = node.all_input_nodes
    return node.op == "call_function" and bool(sources) and all(map(_is_number, sources))


def _ends_as_in_place(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")


def _is_told_to_overwrite(node: Node) -> bool:
    """Whether a function is in place by its name, or by an argument."""
    function = cast("Callable[..., Any]", node.target)
    if _ends_as_in_place(getattr(function, "__name__", "")):
        return True
    try:
        arguments = inspect.signature(function).bind(*node.args, **node.kwargs).arguments
    except (TypeError, ValueError):  # A builtin has no signature, and no such argument.
        return False
    return bool(arguments.get("inplace"))


def _protect_outputs(trunk: GraphModule) -> None:
    """Copy the outputs of layers unless what follows is known not to overwrite them in place."""
    (output,) = (node for node in trunk.graph.nodes if node.op == "output")
    outputs = dict(cast("Mapping[str, Node]", output.args[0]))
    for layer, node in outputs.items():
        if not all(user is output or _keeps_its_input(trunk, user) for user in node.users):
            kept = f"{node.name}_kept"  # A name of its own, by which a cache tells it from others.
            with trunk.graph.inserting_after(node):
                outputs[layer] = trunk.graph.create_node("call_method", "clone", (node,), name=kept)
    output.args = (outputs,)
    trunk.recompile()


def _keeps_its_input(trunk: GraphModule, node: Node) -> bool:
    if node.op == "call_module":
        return isinstance(trunk.get_submodule(str(node.target)), _KEEP_THEIR_INPUT)
    return node.target in (operator.add, torch.add, torch.cat)


def _close_matches(name: str, known: Sequence[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=4, cutoff=0.4)
    return f" Close matches: {', '.join(matches)}." if matches else ""


def trunk_arrays(trunk: nn.Module) -> StateArrays:
    """Return a trunk's weights and buffers as arrays."""
    state = trunk.state_dict().items()
    # NumPy has no bfloat16; float32 holds it exactly.
    return {
        name: (value.float() if value.dtype == torch.bfloat16 else value).cpu().numpy().copy()
        for name, value in state
    }


def rebuild_trunk(backbone: str | nn.Module, layers: Sequence[str], arrays: StateArrays) -> nn.Module:
    """Build the trunk whose weights are these arrays; nothing is downloaded."""
    trunk = build_trunk(backbone, layers, None, seed=None)
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
    # A module says in which precision it computes; by name the arrays do, whatever torch's default is by now.
    trunk.load_state_dict(tensors, assign=isinstance(backbone, str))
    return trunk


def optimise_trunk(trunk: nn.Module) -> GraphModule:
    """Fold batch norms into the convolutions before them and lay weights out channels-last.

    The result is the same function to float rounding; on a CPU it takes little more than half the time.
    The trunk itself is changed.
    """
    from torch.fx.experimental.optimization import fuse

    if not _may_be_folded(trunk):
        return cast(GraphModule, trunk.to(memory_format=torch.channels_last))
    # Not in place, fuse would copy the trunk, and torchvision's copies go back to training mode.
    fused = cast(GraphModule, fuse(trunk, inplace=True, no_trace=True))
    return fused.to(memory_format=torch.channels_last)


def calls_forward_alone(module: nn.Module) -> bool:
    """Whether a call of a module is its class's ``forward`` and nothing else, no hook above all."""
    return not (module._forward_pre_hooks or module._forward_hooks or "forward" in vars(module))


def _may_be_folded(trunk: nn.Module) -> bool:
    """Whether each convolution and batch norm is called once, alone, and its weights are its own."""
    nodes = cast(GraphModule, trunk).graph.nodes
    modules = dict(trunk.named_modules())
    return all(
        _n_uses(nodes, node.target) == 1 and calls_forward_alone(modules[str(node.target)])
        for node in nodes
        if node.op == "call_module" and isinstance(modules[str(node.target)], (nn.Conv2d, nn.BatchNorm2d))
    )


def _n_uses(nodes: Iterable[Node], target: object) -> int:
    """Return how often a module is called, or one of its tensors read."""
    return sum(node.target == target or str(node.target).startswith(f"{target}.") for node in nodes)


class _SeenShapes(Interpreter):
    """A trunk that is run node by node, to see the shapes of all tensors that it computes."""

    def __init__(self, trunk: GraphModule) -> None:
        super().__init__(trunk)
        self.extra_traceback = False  # Errors are explained to the user, not to a developer of the network.
        self.shapes: Shapes = {}

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.shapes[n.name] = tuple(result.shape)
        return result


def see_shapes(trunk: GraphModule, pixels: Tensor) -> Shapes:
    """Return the shapes of all tensors that the nodes of a trunk compute from some images, by name."""
    seen = _SeenShapes(trunk)
    seen.run(pixels)
    return seen.shapes


def narrow_trunk(trunk: GraphModule, keep: Mapping[str, Tensor], shapes: Shapes) -> GraphModule:
    """Return a trunk whose outputs are some channels of another's.

    What only the dropped channels need is not computed: the convolution that ends the trunk is cut to the
    kept ones, through the additions and activations behind it. All else shares its weights with ``trunk``.

    Parameters
    ----------
    trunk : GraphModule
        See :func:`optimise_trunk`.
    keep : mapping of str to Tensor of int64
        The channels to keep of every output, by layer.
    shapes : mapping of str to tuple of int
        See :func:`see_shapes`: a sum is cut only where both sides have all channels.

    Returns
    -------
    GraphModule
    """
    narrow = GraphModule(trunk, copy.deepcopy(trunk.graph))
    (output,) = (node for node in narrow.graph.nodes if node.op == "output")
    outputs = dict(cast("Mapping[str, Node]", output.args[0]))
    for number, (layer, index) in enumerate(keep.items()):
        narrow.register_buffer(f"keep_{number}", index)
        outputs[layer] = _narrow(narrow, outputs[layer], f"keep_{number}", output, shapes)
    output.args = (outputs,)
    narrow.graph.eliminate_dead_code()
    narrow.recompile()
    return narrow


def resume_trunk(trunk: GraphModule, known: Sequence[str]) -> GraphModule | None:
    """Return a trunk that goes on from what some of its nodes computed.

    Parameters
    ----------
    trunk : GraphModule
        See :func:`optimise_trunk`.
    known : sequence of str
        Names of nodes; the new trunk takes what they computed, in this order.

    Returns
    -------
    GraphModule or None
        None where the images themselves are needed as well.
    """
    resumed = GraphModule(trunk, copy.deepcopy(trunk.graph))
    nodes = {node.name: node for node in resumed.graph.nodes}
    pixels = [node for node in nodes.values() if node.op == "placeholder"]
    for number, name in enumerate(known):
        with resumed.graph.inserting_before(pixels[0]):
            nodes[name].replace_all_uses_with(resumed.graph.placeholder(f"known_{number}"))
    resumed.graph.eliminate_dead_code()
    if any(node.users for node in pixels):
        return None
    for node in pixels:
        resumed.graph.erase_node(node)
    resumed.recompile()
    return resumed


def _narrow(trunk: GraphModule, node: Node, keep: str, user: Node, shapes: Shapes) -> Node:
    """Return a node that computes, of a node's channels, those that the buffer ``keep`` names."""
    index = trunk.get_buffer(keep)
    if set(node.users) == {user} and len(index):
        module = trunk.get_submodule(str(node.target)) if node.op == "call_module" else None
        if _is_elementwise(node, module, shapes):
            for source in node.all_input_nodes:
                node.replace_input_with(source, _narrow(trunk, source, keep, node, shapes))
            return node
        alone = _n_uses(trunk.graph.nodes, node.target) == 1
        # A subclass may make its weights anew at every call.
        if type(module) is nn.Conv2d and module.groups == 1 and alone and calls_forward_alone(module):
            trunk.set_submodule(str(node.target), _narrow_convolution(module, index))
            return node
    with trunk.graph.inserting_before(user):
        return trunk.graph.call_function(select_channels, (node, trunk.graph.get_attr(keep)))


def _is_elementwise(node: Node, module: nn.Module | None, shapes: Shapes) -> bool:
    """Whether each channel that a node computes depends on that channel of all that it takes, alone."""
    shape = shapes.get(node.name)
    return (
        shape is not None
        and all(shapes.get(source.name) == shape for source in node.all_input_nodes)
        and (
            node.target in _ELEMENTWISE_FUNCTIONS
            if module is None
            else type(module) in _ELEMENTWISE_MODULES and calls_forward_alone(module)
        )
    )


def _narrow_convolution(convolution: nn.Conv2d, index: Tensor) -> nn.Conv2d:
    narrow = copy.copy(convolution)
    narrow._parameters = {
        name: value if value is None else nn.Parameter(value[index], requires_grad=False)
        for name, value in convolution._parameters.items()
    }
    narrow.out_channels = len(index)
    return narrow.to(memory_format=torch.channels_last)

"""Trunks that compute the same in less time: folded, cut to some channels, gone on with."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node
from torch.nn import functional
from torch.nn.utils import fuse_conv_bn_eval

from ..kernels.channels import select_channels
from .tracing import calls_forward_alone, finished

#: Shapes of the tensors that a trunk's nodes compute, by name.
Shapes = dict[str, tuple[int, ...]]

# Each channel of what they return depends on that channel of what they take alone.
_ELEMENTWISE_MODULES = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.GELU, nn.Identity)
_ELEMENTWISE_FUNCTIONS = (operator.add, operator.iadd, torch.add, torch.relu, functional.relu)


def optimise_trunk(trunk: nn.Module) -> GraphModule:
    """Fold batch norms into the convolutions before them and lay weights out channels-last.

    The result is the same function to float rounding; on a CPU it takes little more than half the time.
    The trunk itself is changed.
    """
    trunk = cast(GraphModule, trunk)
    if _may_be_folded(trunk):
        _fold_batch_norms(trunk)
    return finished(trunk).to(memory_format=torch.channels_last)


def _fold_batch_norms(trunk: GraphModule) -> None:
    for node in trunk.graph.nodes:
        source = next(iter(node.all_input_nodes), node)
        if node.op == source.op == "call_module" and len(source.users) == 1:
            convolution, norm = (trunk.get_submodule(str(each.target)) for each in (source, node))
            if type(convolution) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.track_running_stats:
                trunk.set_submodule(str(source.target), fuse_conv_bn_eval(convolution, norm))
                node.replace_all_uses_with(source)
                trunk.graph.erase_node(node)
    trunk.delete_all_unused_submodules()
    trunk.recompile()


def _may_be_folded(trunk: GraphModule) -> bool:
    """Whether each convolution and batch norm is called once, alone, and its weights are its own."""
    nodes = trunk.graph.nodes
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
        """Compute a node, as an Interpreter does, and note the shape of a tensor."""
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.shapes[n.name] = tuple(result.shape)
        return result


def see_shapes(trunk: GraphModule, pixels: Tensor) -> Shapes:
    """Return the shapes of all tensors that the nodes of a trunk compute from some images, by name."""
    seen = _SeenShapes(trunk)
    seen.run(pixels)
    return seen.shapes


def is_within_another(nodes: Iterable[Node], target: object) -> bool:
    """Whether a module is part of another that is called: copies of a trunk share that with all in it."""
    return any(node.op == "call_module" and str(target).startswith(f"{node.target}.") for node in nodes)


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
    return finished(narrow)


def _narrow(trunk: GraphModule, node: Node, keep: str, user: Node, shapes: Shapes) -> Node:
    """Return a node that computes, of a node's channels, those that the buffer ``keep`` names."""
    index = trunk.get_buffer(keep)
    if set(node.users) == {user} and len(index):
        module = trunk.get_submodule(str(node.target)) if node.op == "call_module" else None
        if _is_elementwise(node, module, shapes):
            for source in node.all_input_nodes:
                node.replace_input_with(source, _narrow(trunk, source, keep, node, shapes))
            return node
        nodes = trunk.graph.nodes
        alone = _n_uses(nodes, node.target) == 1 and not is_within_another(nodes, node.target)
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
    finished(resumed)
    if any(node.users for node in pixels):
        return None
    for node in pixels:
        resumed.graph.erase_node(node)
    resumed.recompile()
    return resumed

"""Trunks of networks that we know: traced, cut behind the deepest layer, their batch norms folded.

Only networks come here whose code is torchvision's or our own, as torch.fx follows all that they do. Any
other network runs as it is: see :mod:`skpadim.network.modules`.
"""

from __future__ import annotations

import inspect
import itertools
import math
import operator
import os
import re
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node, Tracer
from torch.nn.utils import fuse_conv_bn_eval

from .weights import build_model, close_matches, load_weights

# Modules and functions that leave what they take as it is, and return something else.
_KEEP_THEIR_INPUT = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d)
_SUMS = (operator.add, torch.add, torch.cat)


def build_trunk(
    name: str, layers: Sequence[str], weights: str | os.PathLike[str] | None, seed: int | None
) -> GraphModule:
    """Build a network, cut it behind the deepest of the layers, and load its weights.

    Parameters
    ----------
    name : str
        A network that we know: see :func:`skpadim.network.weights.is_known`.
    layers : sequence of str
        Names of modules, or of nodes of the graph.
    weights : str, path or None
        See :func:`skpadim.network.weights.read_weights`. None: random weights.
    seed : int or None
        Decides random weights; see :func:`skpadim.network.weights.build_model`.

    Returns
    -------
    GraphModule
        In evaluation mode, frozen; it maps images to a dict of the layers' outputs.

    Raises
    ------
    ValueError
        If a layer or file is unknown, the network cannot be traced, or the weights do not fit.
    """
    model = build_model(name, seed if weights is None else None)
    trunk = cut_trunk(model, layers)
    if weights is not None:
        load_weights(trunk, set(model.state_dict()), name, weights)
    return trunk


def cut_trunk(model: nn.Module, layers: Sequence[str]) -> GraphModule:
    """Return what a network computes up to the deepest of some layers; see :func:`build_trunk`."""
    graph, nodes = _trace(model)
    ends = _layer_ends(model, layers, nodes)
    for output in graph.find_nodes(op="output"):
        graph.erase_node(output)
    graph.output(ends)
    graph.owning_module = GraphModule(model, graph)  # knows which modules are impure
    graph.eliminate_dead_code()
    trunk = GraphModule(model, graph, type(model).__name__)  # holds what is left
    _keep_outputs(trunk)
    return without_cycle(trunk).eval().requires_grad_(False)


def _trace(model: nn.Module) -> tuple[Graph, dict[str, Node]]:
    """Return a network's graph, and its nodes by the names that torchvision gives them."""
    tracer = _NamingTracer(model)
    try:
        graph = tracer.trace(model)
    except Exception as error:
        raise ValueError(
            f"backbone {type(model).__name__} cannot be traced by torch.fx ({error}). Build it yourself and "
            "pass the module, which then runs as it is."
        ) from error
    nodes = tracer.named
    vars(tracer).clear()  # It would hold the network, and the network's graph it.
    return graph, nodes


class _NamingTracer(Tracer):
    """It names every node as ``torchvision.models.feature_extraction`` does; a network of ours without it.

    A node has the path of the module that it calls, or of the module that calls it and its own name. Those
    after the first of a name are numbered.

    Parameters
    ----------
    model : nn.Module
        The network that it is for.
    """

    def __init__(self, model: nn.Module) -> None:
        ours = type(model).__module__.startswith(__package__)
        leaves, functions = ((), ()) if ours else _of_torchvision()
        super().__init__(autowrap_modules=(math, *functions))
        self._leaves = leaves
        self.named: dict[str, Node] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self._leaves) or super().is_leaf_module(m, module_qualified_name)

    def create_proxy(self, kind: str, target: Any, *args: Any, **kwargs: Any) -> Any:
        """Add a node to the graph, and to those that are named."""
        proxy = super().create_proxy(kind, target, *args, **kwargs)
        path = self.scope.module_path
        name = path if kind == "call_module" else f"{path}.{proxy.node}".removeprefix(".")
        name = re.sub("(?<=.)_[0-9]+$", "", name)  # torch.fx numbers over the whole network
        numbered = (f"{name}_{number}" if number else name for number in itertools.count())
        self.named[next(free for free in numbered if free not in self.named)] = proxy.node
        return proxy


def _of_torchvision() -> tuple[tuple[type[nn.Module], ...], tuple[ModuleType, ...]]:
    """Return the modules of torchvision into which tracing does not look, and where its functions are.

    torchvision does not look into its own. In some there is something to fold, or nothing but torch's.
    """
    from torchvision import ops

    opened = (ops.Conv2dNormActivation, ops.SqueezeExcitation)
    kinds = [kind for _, kind in inspect.getmembers(ops, inspect.isclass) if issubclass(kind, nn.Module)]
    return tuple(kind for kind in kinds if not any(issubclass(each, kind) for each in opened)), (ops,)


def _layer_ends(model: nn.Module, layers: Sequence[str], nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Return the node that ends each layer, of the nodes of a traced network by name."""
    parents = {name[:end] for name in nodes for end in range(len(name)) if name[end] == "."}
    known = [*nodes, *sorted(parents)]
    for layer in layers:
        if layer not in known:
            raise ValueError(
                f"layers: {layer!r} is not a layer of {type(model).__name__}.{close_matches(layer, known)} "
                "torchvision.models.feature_extraction.get_graph_node_names lists all."
            )
    ends = {layer: [n for n in nodes if n == layer or n.startswith(f"{layer}.")][-1] for layer in layers}
    for end in ends.values():
        same = [other for other in layers if ends[other] == end]
        if len(same) > 1:
            raise ValueError(f"layers: {', '.join(map(repr, same))} are the same output; name it once.")
    return {layer: nodes[end] for layer, end in ends.items()}


def _keep_outputs(trunk: GraphModule) -> None:
    """Copy the outputs of layers unless what follows is known not to overwrite them in place."""
    (output,) = trunk.graph.find_nodes(op="output")
    outputs = dict(cast("Mapping[str, Node]", output.args[0]))
    for layer, node in outputs.items():
        if not all(user is output or _keeps_its_input(trunk, user) for user in node.users):
            with trunk.graph.inserting_after(node):
                outputs[layer] = trunk.graph.call_function(own_copy, (node,))
    output.args = (outputs,)
    trunk.recompile()


def _keeps_its_input(trunk: GraphModule, node: Node) -> bool:
    if node.op == "call_module":
        return isinstance(trunk.get_submodule(str(node.target)), _KEEP_THEIR_INPUT)
    return node.target in _SUMS


def own_copy(output: Any) -> Any:
    """Return a tensor that nothing else writes to, or what is no tensor as it is."""
    return output.clone() if isinstance(output, Tensor) else output


def fold_batch_norms(trunk: GraphModule) -> None:
    """Fold each batch norm into the convolution before it: the same function, but for float rounding.

    Parameters
    ----------
    trunk : GraphModule
        It is changed.
    """
    called = [str(node.target) for node in trunk.graph.find_nodes(op="call_module")]
    for node in trunk.graph.nodes:
        source = next(iter(node.all_input_nodes), node)
        if node.op == source.op == "call_module" and len(source.users) == 1:
            convolution, norm = (trunk.get_submodule(str(each.target)) for each in (source, node))
            alone = called.count(str(source.target)) == called.count(str(node.target)) == 1
            if alone and isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                trunk.set_submodule(str(source.target), fuse_conv_bn_eval(convolution, norm))
                node.replace_all_uses_with(source)
                trunk.graph.erase_node(node)
    trunk.delete_all_unused_submodules()
    trunk.recompile()
    without_cycle(trunk)


def without_cycle(trunk: GraphModule) -> GraphModule:
    """Let the graph no longer hold its trunk: in such a cycle weights stay until Python's collector comes."""
    trunk.graph.owning_module = None
    return trunk

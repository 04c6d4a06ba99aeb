"""From a network to the graph of what it computes, in which every dependence is an edge."""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from torch import nn
from torch.fx import Graph, GraphModule, Node, Proxy


def trace_network(model: nn.Module) -> tuple[Graph, dict[str, Node]]:
    """Return what a network computes, as a graph that hides no dependence.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.

    Returns
    -------
    graph : Graph
        Whatever reads a tensor that was overwritten in place before takes the node that did so.
    nodes : dict of str to Node
        By the names that torchvision's feature extraction gives them, in order.

    Raises
    ------
    ValueError
        If it cannot be traced.
    """
    from torchvision import ops
    from torchvision.models.feature_extraction import NodePathTracer

    kinds = [kind for _, kind in inspect.getmembers(ops, inspect.isclass) if issubclass(kind, nn.Module)]
    # torchvision does not look into its own modules. In those that hold a convolution, its batch norm and an
    # activation there is something to fold, to cut and to pack.
    leaves = [kind for kind in kinds if not issubclass(ops.Conv2dNormActivation, kind)]
    tracer = NodePathTracer(autowrap_modules=(math, ops), leaf_modules=leaves)
    tracer.proxy = lambda node: _Value(node, tracer)
    # NumPy's numbers as Python's, which the code of a graph can name.
    make_argument = tracer.create_arg
    tracer.create_arg = lambda value: make_argument(value.item() if isinstance(value, np.generic) else value)
    try:
        graph = tracer.trace(model)
    except Exception as error:
        raise ValueError(
            f"backbone {type(model).__name__} cannot be traced by torch.fx ({error}). Wrap it so that its "
            "forward has no control flow that depends on the input, and assigns to no part of a tensor."
        ) from error
    _read_what_was_written(model, graph)
    nodes = {name: node for node, name in tracer.node_to_qualname.items()}
    vars(tracer).clear()  # as in `finished`
    return graph, nodes


def finished(network: GraphModule) -> GraphModule:
    """Return a network of which the graph is done, and no longer holds the network.

    In such a cycle all weights would stay in memory until Python's garbage collector comes by.
    """
    network.graph.owning_module = None
    return network


def calls_forward_alone(module: nn.Module) -> bool:
    """Whether a call of a module is its class's ``forward`` and nothing else, no hook above all."""
    return not (module._forward_pre_hooks or module._forward_hooks or "forward" in vars(module))


class _Value(Proxy):
    """A value of a traced network, of which is known if ``+=`` and its like overwrite it.

    torch.fx makes plain sums of them, which leave what is added to as it was.
    """

    __array_ufunc__ = None  # NumPy's numbers leave sums and products to it.

    def _overwritten(self, function: Callable[..., Any], other: Any) -> Proxy:
        result = self.tracer.create_proxy("call_function", function, (self, other), {})
        result.node.meta["overwrites"] = True
        return result

    __iadd__ = functools.partialmethod(_overwritten, operator.add)
    __isub__ = functools.partialmethod(_overwritten, operator.sub)
    __imul__ = functools.partialmethod(_overwritten, operator.mul)
    __itruediv__ = functools.partialmethod(_overwritten, operator.truediv)
    __ifloordiv__ = functools.partialmethod(_overwritten, operator.floordiv)
    __imod__ = functools.partialmethod(_overwritten, operator.mod)
    __ipow__ = functools.partialmethod(_overwritten, operator.pow)


def _read_what_was_written(model: nn.Module, graph: Graph) -> None:
    """Let whatever reads a tensor after it was overwritten in place take the result, used so far or not."""
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
        in_place = node.meta.get("overwrites", False) and not is_number(cast(Node, node.args[0]))
        in_place = in_place or _is_told_to_overwrite(node)
    else:
        return None
    first = next(iter([*node.args, *node.kwargs.values()]), None)
    return first if in_place and isinstance(first, Node) else None


def is_number(node: Node) -> bool:
    """Whether a node computes a number from the shapes of tensors: numbers are never overwritten."""
    if node.op == "call_method":
        return node.target in ("size", "dim", "numel")
    if node.target is getattr:
        return node.args[1] in ("shape", "ndim")
    sources = node.all_input_nodes
    return node.op == "call_function" and bool(sources) and all(map(is_number, sources))


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

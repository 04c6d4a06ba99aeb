"""A traced network as plain text, from which torch alone builds it again.

A fitted file thus needs neither the code of the network nor the library that it came from. The text names
modules and functions of the tables below and no others: a file that somebody changed runs nothing else.
"""

from __future__ import annotations

import inspect
import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.fx import Graph, GraphModule, Node
from torch.nn import functional

from .efficientnet_lite import even
from .trunks import own_copy

_MODULES: dict[str, type[nn.Module]] = {
    kind.__name__: kind
    for kind in (
        *(nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.LayerNorm, nn.Identity),
        *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d),
        *(nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Sigmoid, nn.Hardswish, nn.Hardsigmoid),
    )
}
# What torchvision drops in training alone does nothing here.
_IDENTITIES = {"torchvision.ops.stochastic_depth.StochasticDepth", "torch.nn.modules.dropout.Dropout"}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "getitem": operator.getitem,
    "cat": torch.cat,
    "transpose": torch.transpose,
    "relu": functional.relu,
    "pad": functional.pad,
    "avg_pool2d": functional.avg_pool2d,
    "max_pool2d": functional.max_pool2d,
    "own_copy": own_copy,
    "even": even,
}
_SEQUENCES: dict[str, Callable[[list[Any]], Any]] = {"tuple": tuple, "slice": lambda ends: slice(*ends)}
_METHODS = {"view", "size", "contiguous", "chunk", "permute"}


def describe(trunk: GraphModule) -> str | None:
    """Return a trunk, without its weights, as a text for :func:`rebuild`.

    Parameters
    ----------
    trunk : GraphModule
        In evaluation mode.

    Returns
    -------
    str or None
        None where the network holds what is not in the tables of this module.
    """
    try:
        steps = [
            {"name": node.name, "op": node.op, **_described(trunk, node), "args": _plain(node.args)}
            | {"kwargs": {name: _plain(value) for name, value in node.kwargs.items()}}
            for node in trunk.graph.nodes
        ]
    except _NotPlainError:
        return None
    return json.dumps(steps)


class _NotPlainError(Exception):
    """Something that the tables of this module lack."""


def _described(trunk: GraphModule, node: Node) -> dict[str, Any]:
    """Return what a node calls, and how to build it."""
    if node.op == "call_module":
        return {"target": str(node.target), **_module(trunk.get_submodule(str(node.target)))}
    if node.op == "call_function":
        for name, function in _FUNCTIONS.items():
            if function is node.target:
                return {"target": name}
    known = node.op in ("placeholder", "output") or (node.op == "call_method" and node.target in _METHODS)
    if not known:
        raise _NotPlainError
    return {"target": str(node.target)}


def _module(module: nn.Module) -> dict[str, Any]:
    kind = type(module)
    if f"{kind.__module__}.{kind.__qualname__}" in _IDENTITIES:
        return {"kind": "Identity", "given": {}}
    if _MODULES.get(kind.__name__) is not kind:
        raise _NotPlainError
    # torch's modules keep what they were built with under the names of the parameters, but for the bias.
    names = inspect.signature(kind).parameters.keys() - {"device", "dtype", "args", "kwargs"}
    given = {name: getattr(module, name) for name in sorted(names)}
    if "bias" in given:
        given["bias"] = given["bias"] is not None
    return {"kind": kind.__name__, "given": {name: _plain(value) for name, value in given.items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, Node):
        return {"node": value.name}
    if isinstance(value, slice):
        return {"slice": [_plain(each) for each in (value.start, value.stop, value.step)]}
    if isinstance(value, tuple):
        return {"tuple": [_plain(each) for each in value]}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {"dict": {str(name): _plain(each) for name, each in value.items()}}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise _NotPlainError


def rebuild(text: str) -> GraphModule:
    """Build a network from what :func:`describe` returned, on torch's device "meta": it lacks its weights.

    Raises
    ------
    ValueError
        If the text is none of these.
    """
    try:
        return _rebuilt(json.loads(text))
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise ValueError(
            f"trunk_graph_ describes no network ({type(error).__name__}: {error}): the file is damaged, or "
            "somebody changed it. Do not use it."
        ) from error


def _rebuilt(steps: list[dict[str, Any]]) -> GraphModule:
    root, graph, nodes = nn.Module(), Graph(), dict[str, Node]()
    for step in steps:
        op, target = step["op"], step["target"]
        if op == "call_function":
            target = _FUNCTIONS[target]
        elif op == "call_module":
            _put(root, target, _MODULES[step["kind"]], _values(step["given"], nodes))
        elif not (op in ("placeholder", "output") or (op == "call_method" and target in _METHODS)):
            raise ValueError(f"a step {op!r} {target!r}")
        args, kwargs = _value(step["args"], nodes), _values(step["kwargs"], nodes)
        # torch.fx writes names into the code that it compiles.
        words = [str(step["name"]), *kwargs] + ([target] if op == "placeholder" else [])
        if not all(word.isidentifier() for word in words):
            raise ValueError(f"the names {words}")
        nodes[step["name"]] = graph.create_node(op, target, args, kwargs, step["name"])
    if not graph.find_nodes(op="output"):
        raise ValueError("no output")
    graph.lint()
    return GraphModule(root, graph).eval().requires_grad_(False)


def _put(root: nn.Module, path: str, kind: type[nn.Module], given: dict[str, Any]) -> None:
    """Build a module, unless it is there already, and those around it."""
    *around, name = path.split(".")
    if not re.fullmatch(r"[\w.-]+", path):
        raise ValueError(f"a module named {path!r}")
    for part in around:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    if name not in root._modules:
        with torch.device("meta"):
            root.add_module(name, kind(**given))


def _values(plain: Mapping[str, Any], nodes: Mapping[str, Node]) -> dict[str, Any]:
    return {name: _value(value, nodes) for name, value in plain.items()}


def _value(plain: Any, nodes: Mapping[str, Node]) -> Any:
    """Undo :func:`_plain`."""
    if isinstance(plain, list):
        return [_value(each, nodes) for each in plain]
    if not isinstance(plain, dict):
        return plain
    ((kind, content),) = plain.items()
    if kind == "node":
        return nodes[content]
    if kind == "dict":
        return _values(content, nodes)
    return _SEQUENCES[kind]([_value(each, nodes) for each in content])

"""Convolutions of networks that we know as a processor takes them fastest.

Torch's own convolution lays weights out anew at every call, takes a slow way for small images, and leaves
the clamp behind it to a second pass over what it has just written. The operations used here are those of
torch's compiler for a processor: weights are laid out once, and the clamp is part of the convolution.
"""

from __future__ import annotations

import copy
import platform
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

from .trunks import without_cycle

#: How oneDNN calls what may follow a convolution, and its arguments. Others round otherwise than torch's.
_CLAMPS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
_NOTHING: tuple[str, list[float]] = ("none", [])


def can_be_fused(trunk: nn.Module, device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether `fused` takes a trunk: a network that we know, in float32, on an x86 processor.

    Weights must be numbers: fused clamps make numbers of NaN, and nobody would be told of a broken file. An
    application may turn oneDNN off.
    """
    if not isinstance(trunk, GraphModule) or device.type != "cpu" or dtype != torch.float32:
        return False
    # Elsewhere nobody has measured it.
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    mkldnn: Any = torch.backends.mkldnn
    return mkldnn.is_available() and mkldnn.enabled and all(map(_gives_numbers, trunk.modules()))


def _gives_numbers(module: nn.Module) -> bool:
    """Return whether a module's own weights are numbers, and, of a batch norm, their root, too."""
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
        own.append((module.running_var + module.eps).rsqrt())
    return all(bool(torch.isfinite(tensor).all()) for tensor in own)


def fused(trunk: GraphModule) -> GraphModule:
    """Return a trunk that computes the same, to float32 rounding, with fused convolutions.

    Parameters
    ----------
    trunk : GraphModule
        Batch norms folded, in evaluation mode, for which `can_be_fused`. It stays as it is.

    Returns
    -------
    GraphModule
        It shares all other modules with the trunk. It cannot be pickled: it is laid out for a processor.
    """
    result = GraphModule(trunk, copy.deepcopy(trunk.graph), type(trunk).__name__)
    for node in result.graph.find_nodes(op="call_module"):
        module = trunk.get_submodule(str(node.target))
        if isinstance(module, nn.Identity):
            node.replace_all_uses_with(node.all_input_nodes[0])
            result.graph.erase_node(node)
        elif _is_plain(module):
            _fuse(result, node, module, _clamp_behind(trunk, node))
    result.delete_all_unused_submodules()
    result.recompile()
    return without_cycle(result)


def _is_plain(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    )


def _clamp_behind(trunk: GraphModule, node: Node) -> Node | None:
    """Return the clamp that alone takes what a node gives."""
    (user, *others) = node.users
    if others or user.op != "call_module" or type(trunk.get_submodule(str(user.target))) not in _CLAMPS:
        return None
    return user


def _fuse(trunk: GraphModule, node: Node, convolution: Any, clamp: Node | None) -> None:
    """Let one operation stand for a convolution, which a node calls, and the clamp behind it.

    It is called as a function: of one image, what Python does around sixty modules takes a tenth of the time.
    """
    name, arguments = _NOTHING if clamp is None else _CLAMPS[type(trunk.get_submodule(str(clamp.target)))]
    where = [list(convolution.padding), list(convolution.stride), list(convolution.dilation)]
    with torch.no_grad():
        weight = torch.ops.mkldnn._reorder_convolution_weight(
            convolution.weight.detach(), *where, convolution.groups
        )
    # A convolution may be called twice, with a clamp and without.
    held = {f"fused_{node.name}_weight": weight}
    if convolution.bias is not None:
        held[f"fused_{node.name}_bias"] = convolution.bias.detach()
    for attribute, tensor in held.items():
        setattr(trunk, attribute, tensor)
    last = node if clamp is None else clamp
    with trunk.graph.inserting_before(last):
        tensors = [trunk.graph.create_node("get_attr", attribute) for attribute in held]
        bias = tensors[1] if len(tensors) > 1 else None
        how = (*where, convolution.groups, name, arguments, "")
        fused_node = trunk.graph.call_function(
            torch.ops.mkldnn._convolution_pointwise.default, (node.args[0], tensors[0], bias, *how)
        )
    last.replace_all_uses_with(fused_node)
    for gone in (clamp, node):
        if gone is not None:
            trunk.graph.erase_node(gone)

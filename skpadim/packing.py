"""Convolutions whose weights are laid out once as a processor's kernels read them."""

from __future__ import annotations

import copy
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from .tracing import calls_forward_alone, finished
from .trunks import Shapes


class PackedConvolution(nn.Module):
    """A convolution on the CPU whose weights are not reordered at every call, as oneDNN else does.

    A single image takes a ResNet-18 a few per cent less time.

    Parameters
    ----------
    convolution : nn.Conv2d
        See :func:`pack_trunk` for those that can be packed.
    shape : (int, int, int, int)
        Of the images that are expected. Others give the same, but may take several times as long: the layout
        is the best for these alone.
    """

    def __init__(self, convolution: nn.Conv2d, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.bias = convolution.bias
        sizes = (convolution.padding, convolution.stride, convolution.dilation)
        self.geometry = (*map(list, sizes), convolution.groups)
        # torch's compiler packs so, too; the functions have no other name.
        pack: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
        self.weight = pack(convolution.weight.detach().to_mkldnn(), *self.geometry, list(shape))
        self.convolve: Any = torch.ops.mkldnn._convolution_pointwise

    def forward(self, input: Tensor) -> Tensor:
        """Convolve images (n_images, channels, height, width)."""
        result: Tensor = self.convolve(input, self.weight, self.bias, *self.geometry, "none", [], "")
        return result


def pack_trunk(trunk: GraphModule, shapes: Shapes) -> GraphModule:
    """Return a trunk with the weights of its convolutions packed, where that can be done.

    Parameters
    ----------
    trunk : GraphModule
        It is not changed.
    shapes : mapping of str to tuple of int
        See :func:`skpadim.trunks.see_shapes`.

    Returns
    -------
    GraphModule
    """
    packed = GraphModule(trunk, copy.deepcopy(trunk.graph))
    read = tuple(str(node.target) for node in packed.graph.nodes if node.op == "get_attr")
    for node in packed.graph.nodes:
        if node.op == "call_module":
            name, shape = str(node.target), shapes.get(node.all_input_nodes[0].name, ())
            module, alone = packed.get_submodule(name), not any(of.startswith(f"{name}.") for of in read)
            if len(shape) == 4 and alone and _can_be_packed(module):
                packed.set_submodule(name, _packed(module, shape))
    return finished(packed)


def _packed(convolution: nn.Conv2d, shape: tuple[int, ...]) -> nn.Module:
    try:
        return PackedConvolution(convolution, shape)
    except (AttributeError, RuntimeError):  # The functions are private: another torch may lack them.
        return convolution


def _can_be_packed(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    # A subclass may make its weights anew at every call.
    return (
        type(module) is nn.Conv2d
        and calls_forward_alone(module)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and module.weight.dtype == torch.float32
        and module.weight.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
    )

"""Convolutions that compute the same in another way: packed for a processor, exact on a GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

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


class ExactConvolution(nn.Module):
    """A convolution in float32 on a GPU, where torch's own rounds to TF32 unless a global switch forbids it.

    With TF32 scores would depend on the batch size, and differ from those on a CPU, by several 1e-3.

    Parameters
    ----------
    convolution : nn.Conv2d
        See :func:`exact_trunk` for those that can be replaced.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        # Channels last is the layout of tensor cores; without them GPUs take a seventh more time with it.
        self.weight = nn.Parameter(convolution.weight.detach().contiguous(), requires_grad=False)
        self.bias = convolution.bias
        geometry = (convolution.stride, convolution.padding, convolution.dilation)
        not_transposed, no_output_padding = False, (0, 0)
        # No search for the fastest algorithm, which finds another each time; deterministic; cuDNN; no TF32.
        switches = (False, True, True, False)
        self.arguments: Any = (*geometry, not_transposed, no_output_padding, convolution.groups, *switches)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve images (n_images, channels, height, width), or one without the first dimension."""
        if input.dim() == 3:
            return self.forward(input[None])[0]
        # What conv2d itself calls, with the switches that it reads from torch.backends.
        return torch._convolution(input.contiguous(), self.weight, self.bias, *self.arguments)


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

    def packed(convolution: nn.Conv2d, node: Node) -> nn.Module:
        shape = shapes.get(node.all_input_nodes[0].name, ())
        if len(shape) != 4 or not torch.backends.mkldnn.is_available():
            return convolution
        try:
            return PackedConvolution(convolution, shape)
        except (AttributeError, RuntimeError):  # The functions are private: another torch may lack them.
            return convolution

    return _with_convolutions(trunk, packed)


def exact_trunk(trunk: GraphModule) -> GraphModule:
    """Return a trunk whose convolutions in float32 are exact to float rounding, where that can be done.

    Parameters
    ----------
    trunk : GraphModule
        It is not changed.

    Returns
    -------
    GraphModule
    """
    return _with_convolutions(trunk, lambda convolution, _: ExactConvolution(convolution))


def _with_convolutions(trunk: GraphModule, replace: Callable[[nn.Conv2d, Node], nn.Module]) -> GraphModule:
    """Return a trunk with other modules in place of its convolutions, each made of one and its node."""
    replaced = GraphModule(trunk, copy.deepcopy(trunk.graph))
    read = tuple(str(node.target) for node in replaced.graph.nodes if node.op == "get_attr")
    for node in replaced.graph.nodes:
        if node.op == "call_module":
            name = str(node.target)
            module, alone = replaced.get_submodule(name), not any(of.startswith(f"{name}.") for of in read)
            if alone and _can_be_replaced(module):
                replaced.set_submodule(name, replace(module, node))
    return finished(replaced)


def _can_be_replaced(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    # A subclass may make its weights anew at every call.
    return (
        type(module) is nn.Conv2d
        and calls_forward_alone(module)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and module.weight.dtype == torch.float32
    )

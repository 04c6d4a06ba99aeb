"""Convolutions that compute the same in another way: packed for a processor, exact on a GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional

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
        It is not changed; weights that lie contiguous are shared.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        # Channels last is the layout of tensor cores; without them GPUs take a seventh more time with it.
        contiguous = convolution.weight.detach().flatten().view(convolution.weight.shape)
        self.weight, self.bias = nn.Parameter(contiguous, requires_grad=False), convolution.bias
        self.stride, self.dilation, self.groups = convolution.stride, convolution.dilation, convolution.groups
        self.padding: Any = convolution.padding
        self.pad: Callable[[Tensor], Tensor] | None = None
        if convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
            mode = "constant" if convolution.padding_mode == "zeros" else convolution.padding_mode
            sides = convolution._reversed_padding_repeated_twice
            self.padding, self.pad = (0, 0), partial(functional.pad, pad=sides, mode=mode)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve images (n_images, channels, height, width), or one without the first dimension."""
        if input.dim() == 3:
            return self.forward(input[None])[0]
        padded = input if self.pad is None else self.pad(input)
        # What conv2d itself calls, with the switches it reads from torch.backends: TF32 is off, and so is
        # the search for the fastest algorithm, which finds another each time.
        return torch._convolution(
            padded.contiguous(),
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            transposed=False,
            output_padding=(0, 0),
            groups=self.groups,
            benchmark=False,
            deterministic=True,
            cudnn_enabled=torch.backends.cudnn.enabled,
            allow_tf32=False,
        )


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
    return (
        _is_plain(module)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and module.weight.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
    )


def _is_plain(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    # A subclass may make its weights anew at every call.
    plain = type(module) is nn.Conv2d and calls_forward_alone(module)
    return plain and module.weight.dtype == torch.float32


def exact_trunk(trunk: GraphModule) -> GraphModule:
    """Return a trunk whose convolutions in float32, subclasses aside, are exact to float rounding.

    Parameters
    ----------
    trunk : GraphModule
        It is not changed.

    Returns
    -------
    GraphModule
    """
    exact = GraphModule(trunk, copy.deepcopy(trunk.graph))
    for name, module in list(exact.named_children()):
        exact.set_submodule(name, _exact(module))
    return finished(exact)


def _exact(module: nn.Module) -> nn.Module:
    """Return a module with the same tensors, and exact convolutions."""
    if _is_plain(module):
        return ExactConvolution(module)
    own = copy.deepcopy(module, {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())})
    for name, inner in list(own.named_modules()):
        if _is_plain(inner):
            own.set_submodule(name, ExactConvolution(inner))
    return own

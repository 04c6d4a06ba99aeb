"""Convolutions that compute the same in another way: packed for a processor, exact on a GPU."""

from __future__ import annotations

import copy
from typing import Any, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional
from torch.nn.modules.utils import _pair

from .tracing import calls_forward_alone, finished
from .trunks import Shapes, is_within_another


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


class ExactConvolution(nn.Conv2d):
    """A convolution in float32 on a GPU, where torch's own rounds to TF32 unless a global switch forbids it.

    With TF32 scores would depend on the batch size, and differ from those on a CPU, by several 1e-3.
    """

    @classmethod
    def of(cls, convolution: nn.Conv2d) -> ExactConvolution:
        """Return one that does what a convolution does, which is not changed."""
        exact = copy.copy(convolution)
        exact.__class__ = cls
        # Channels last is the layout of tensor cores; without them GPUs take a seventh more time with it.
        contiguous = convolution.weight.detach().flatten().view(convolution.weight.shape)
        weight = nn.Parameter(contiguous, requires_grad=False)
        exact._parameters = {**convolution._parameters, "weight": weight}
        return cast(ExactConvolution, exact)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve images (n_images, channels, height, width), or one without the first dimension."""
        if input.dim() == 3:
            return self._conv_forward(input[None], weight, bias)[0]
        sides, mode = self._sides()
        padded = functional.pad(input, sides, mode=mode) if sides else input
        # What conv2d itself calls, with the switches it reads from torch.backends: TF32 is off, and so is
        # the search for the fastest algorithm, which finds another each time.
        return torch._convolution(
            padded.contiguous(),
            weight,
            bias,
            _pair(self.stride),
            (0, 0) if sides or isinstance(self.padding, str) else _pair(self.padding),
            _pair(self.dilation),
            transposed=False,
            output_padding=(0, 0),
            groups=self.groups,
            benchmark=False,
            deterministic=True,
            cudnn_enabled=torch.backends.cudnn.enabled,
            allow_tf32=False,
        )

    def _sides(self) -> tuple[list[int], str]:
        """Return by how much to pad left, right, above and below, and how; none: as the kernels do it."""
        if self.padding_mode != "zeros":
            return self._reversed_padding_repeated_twice, self.padding_mode
        if self.padding != "same":
            return [], "constant"
        (rows, columns), (high, wide) = _pair(self.dilation), self.weight.shape[2:]
        across, down = columns * (wide - 1), rows * (high - 1)
        return [across // 2, across - across // 2, down // 2, down - down // 2], "constant"


def pack_trunk(trunk: GraphModule, shapes: Shapes) -> GraphModule:
    """Return a trunk with the weights of its convolutions packed, where that can be done.

    Parameters
    ----------
    trunk : GraphModule
        It is not changed.
    shapes : mapping of str to tuple of int
        See :func:`skpadim.network.trunks.see_shapes`.

    Returns
    -------
    GraphModule
    """
    packed = GraphModule(trunk, copy.deepcopy(trunk.graph))
    used = [str(node.target) for node in packed.graph.nodes if node.op in ("get_attr", "call_module")]
    for node in packed.graph.nodes:
        if node.op == "call_module":
            name, shape = str(node.target), shapes.get(node.all_input_nodes[0].name, ())
            module, alone = packed.get_submodule(name), not any(of.startswith(f"{name}.") for of in used)
            alone = alone and not is_within_another(packed.graph.nodes, name)
            if len(shape) == 4 and alone and _can_be_packed(module):
                packed.set_submodule(name, _packed(module, shape))
    return finished(packed)


def _packed(convolution: nn.Conv2d, shape: tuple[int, ...]) -> nn.Module:
    try:
        return PackedConvolution(convolution, shape)
    # The functions are private: another torch may lack them, and they take no sizes that are no pairs.
    except (AttributeError, RuntimeError, TypeError):
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
    plain = type(module) is nn.Conv2d and calls_forward_alone(module) and "_conv_forward" not in vars(module)
    return plain and module.weight.dtype == torch.float32


def exact_trunk(trunk: GraphModule) -> GraphModule:
    """Return a trunk whose convolutions in float32 are exact to float rounding.

    Parameters
    ----------
    trunk : GraphModule
        It is not changed. Subclasses of convolutions, and those with hooks, stay as they are.

    Returns
    -------
    GraphModule
    """
    tensors = (*trunk.parameters(), *trunk.buffers())
    exact: GraphModule = copy.deepcopy(trunk, {id(tensor): tensor for tensor in tensors})
    made: dict[nn.Module, ExactConvolution] = {}
    # One module may have several names.
    for name, module in list(exact.named_modules(remove_duplicate=False)):
        if _is_plain(module):
            made[module] = made.get(module) or ExactConvolution.of(module)
            exact.set_submodule(name, made[module])
    return finished(exact)

"""A trunk at work: from pixels to the outputs of its layers, on a device."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from ..base.devices import own_precision
from .convolutions import exact_trunk, pack_trunk
from .trunks import narrow_trunk, optimise_trunk, resume_trunk, see_shapes
from .weights import NETWORK_LOCK

# The statistics of ImageNet, with which torchvision's weights are trained.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
# On a CPU, images pass so many at a time that no activation takes more. What is larger comes from the system
# anew at every call, page by page (glibc's limit for mmap on 64 bits), and leaves a processor's caches.
_ACTIVATION_BYTES = 2**25

#: What a network may compute in, and the dtype of its weights then; None: that of the weights given.
PRECISIONS = {None: None, "float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16}


class Network:
    """A trunk on a device, ready to compute; it may be shared by threads and estimators.

    Parameters
    ----------
    trunk : nn.Module
        See :func:`skpadim.network.weights.build_trunk`; it is changed.
    layers : sequence of str
        The layers, in the order in which their outputs are returned.
    device : torch.device
    precision : str or None
        One of ``PRECISIONS``.
    """

    def __init__(
        self, trunk: nn.Module, layers: Sequence[str], device: torch.device, precision: str | None
    ) -> None:
        self.layers = tuple(layers)
        dtype = PRECISIONS[precision]
        graph = cast(GraphModule, trunk).graph
        ends: Any = next(node.args[0] for node in graph.nodes if node.op == "output")
        names = {layer: ends[layer].name for layer in self.layers}
        inputs = {
            node.name: [source.name for source in node.all_input_nodes]
            for node in graph.nodes
            if node.op != "output"
        }
        given = next(trunk.parameters(), torch.empty(0)).dtype
        # Folding in half precision would round the weights once more.
        wide = given if dtype is None else torch.promote_types(given, dtype)
        self._trunk = optimise_trunk(trunk.to(wide)).to(device, dtype)
        weight = next(self._trunk.parameters(), torch.empty(0))
        self._device, self.dtype = device, weight.dtype
        #: Whether convolutions round their inputs to ten bits of mantissa, if torch's own switch lets them.
        self.rounds_to_tf32 = device.type == "cuda" and precision == "tf32"
        # Where a batch norm is folded into a convolution, the node of the convolution computes what the batch
        # norm did, and nothing what the convolution did: another trunk's output of that name is another.
        left = {node.name for node in self._trunk.graph.nodes}
        computed: dict[str, str] = {}
        for name, sources in inputs.items():
            computed[name] = name if name in left else computed.pop(sources[0])
        #: Names, before folding, of the nodes that compute the layers, and of all that are still computed.
        self.outputs = tuple(names[layer] for layer in self.layers)
        self.nodes = frozenset(computed)
        self._computed = computed
        self._at_work: dict[Any, _TrunkAtWork] = {}
        #: Makes of a trunk one that computes on the device as exactly as was asked for.
        self._exact = _as_it_is
        if device.type == "cuda" and not self.rounds_to_tf32:
            self._exact = exact_trunk
            self._trunk.to(memory_format=torch.contiguous_format)  # as it wants weights, which are shared so
        # No method, which would hold the network: in such a cycle its weights would stay for a while.
        resume = functools.partial(_resumed, self._trunk, self._exact)
        self._resume = functools.lru_cache(maxsize=1)(resume)

    def levels(self, pixels: Tensor, channels: Sequence[NDArray[np.int64]] | None = None) -> list[Tensor]:
        """Compute the outputs of the layers.

        Parameters
        ----------
        pixels : Tensor of shape (n_images, 3, height, width)
            uint8, or floats in [0, 1].
        channels : sequence of ndarray, optional
            The channels to compute of every layer. Default: all.

        Returns
        -------
        list of Tensor of shape (n_images, channels, height, width)
            One per layer, on the device.
        """
        with NETWORK_LOCK, torch.inference_mode(), own_precision(self._device):
            if self._device.type == "cuda":
                # From pinned memory the copy runs beside the network, without waiting for it.
                pixels = pixels.pin_memory().to(self._device, non_blocking=True)
            wanted = tuple(tuple(index.tolist()) for index in channels or ())
            trunk = self._trunk_for(wanted, (pixels.shape[2], pixels.shape[3]))
            outputs = [
                self._in_order(trunk(normalised_pixels(part, self.dtype))) for part in trunk.split(pixels)
            ]
            return [parts[0] if len(parts) == 1 else torch.cat(parts) for parts in zip(*outputs, strict=True)]

    def _trunk_for(self, channels: tuple[tuple[int, ...], ...], size: tuple[int, int]) -> _TrunkAtWork:
        """Return the trunk that computes these channels alone, or all; the last two made are kept.

        Two: one to score with, and that of all channels, which a transformer returns.
        """
        if (channels, size) not in self._at_work:
            keep = (torch.tensor(index, dtype=torch.int64, device=self._device) for index in channels)
            keep_by_layer = dict(zip(self.layers, keep, strict=bool(channels)))
            while len(self._at_work) > 1:
                del self._at_work[next(iter(self._at_work))]
            image = self._image(size)
            self._at_work[channels, size] = _TrunkAtWork(self._trunk, keep_by_layer, image, self._exact)
        return self._at_work[channels, size]

    def resume(self, known: Mapping[str, Tensor]) -> list[Tensor] | None:
        """Compute the outputs of all layers from those of some nodes, or return None if they do not suffice.

        Parameters
        ----------
        known : mapping of str to Tensor of shape (n_images, channels, height, width)
            By name of the node.
        """
        with NETWORK_LOCK, torch.inference_mode(), own_precision(self._device):
            trunk = self._resume(tuple(self._computed[name] for name in known))
            if trunk is None:
                return None
            return self._in_order(trunk(*(level.to(self._device, self.dtype) for level in known.values())))

    def shapes(self, size: tuple[int, int]) -> list[tuple[int, int, int]]:
        """Run once, on a grey image of this height and width, to see what the layers give.

        Returns
        -------
        list of (int, int, int)
            Channels, height and width of every layer's output.

        Raises
        ------
        ValueError
            If the network fails on such images, or a layer gives no feature maps.
        """
        try:
            with NETWORK_LOCK, torch.inference_mode(), own_precision(self._device):
                seen = see_shapes(self._trunk, self._image(size))
        except (RuntimeError, AssertionError) as error:
            raise ValueError(
                f"image_size: the backbone fails on images of {size[0]}x{size[1]} pixels, channels last in "
                f"memory ({error}). Choose a size that suits it, or mend it where it wants another layout."
            ) from error
        (output,) = (node for node in self._trunk.graph.nodes if node.op == "output")
        nodes = cast("Mapping[str, Node]", output.args[0])
        shapes = []
        for layer in self.layers:
            shape = seen.get(nodes[layer].name)
            if shape is None or len(shape) != 4:
                raise ValueError(
                    f"layers: {layer!r} gives {shape or 'no tensor'}; PaDiM needs layers that give feature "
                    "maps (n_images, channels, height, width)."
                )
            shapes.append((shape[1], shape[2], shape[3]))
        return shapes

    def _image(self, size: tuple[int, int]) -> Tensor:
        """Return a grey image, laid out as all are."""
        image = torch.zeros(1, 3, *size, dtype=self.dtype, device=self._device)
        return image.contiguous(memory_format=torch.channels_last)

    def _in_order(self, outputs: Mapping[str, Any]) -> list[Tensor]:
        # A network may compute in half precision; the statistics never do. They read channels last.
        return [
            (output.float() if output.itemsize < 4 else output).contiguous(memory_format=torch.channels_last)
            for output in (outputs[layer] for layer in self.layers)
        ]


class _TrunkAtWork:
    """A trunk that computes some channels of its layers, each time in the way that is fastest.

    Parameters
    ----------
    trunk : GraphModule
        See :func:`skpadim.network.trunks.optimise_trunk`.
    keep : mapping of str to Tensor of int64
        The channels to compute, by layer; empty: all.
    pixels : Tensor of shape (1, 3, height, width)
        An image such as will come.
    exact : callable
        Makes of the trunk the one to be used.
    """

    def __init__(
        self,
        trunk: GraphModule,
        keep: Mapping[str, Tensor],
        pixels: Tensor,
        exact: Callable[[GraphModule], GraphModule],
    ) -> None:
        self._shapes = see_shapes(trunk, pixels)
        self._trunk = exact(narrow_trunk(trunk, keep, self._shapes) if keep else trunk)
        largest = pixels.itemsize * max(map(math.prod, self._shapes.values()))
        on_processor = pixels.device.type == "cpu"
        self._at_a_time = max(1, _ACTIVATION_BYTES // largest) if on_processor else None

    @functools.cached_property
    def _packed(self) -> GraphModule:
        return pack_trunk(self._trunk, self._shapes)

    def split(self, pixels: Tensor) -> Sequence[Tensor]:
        """Cut images into parts of equal size, to within one, that suit a processor."""
        if self._at_a_time is None:
            return [pixels]
        return pixels.tensor_split(-(-len(pixels) // self._at_a_time))

    def __call__(self, images: Tensor) -> Mapping[str, Any]:
        """Compute the outputs of the layers, by name, of normalised images."""
        # Weights packed for one image are slow for several on some processors.
        trunk = self._packed if len(images) == 1 else self._trunk
        outputs: Mapping[str, Any] = trunk(images)
        return outputs


def _as_it_is(trunk: GraphModule) -> GraphModule:
    return trunk


def _resumed(
    trunk: GraphModule, exact: Callable[[GraphModule], GraphModule], known: Sequence[str]
) -> GraphModule | None:
    resumed = resume_trunk(trunk, known)
    return None if resumed is None else exact(resumed)


def normalised_pixels(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """Return pixels, uint8 or in [0, 1], with the statistics of ImageNet."""
    # In half precision the differences of bright pixels would be lost before the network sees them.
    precise = torch.promote_types(dtype, torch.float32)
    width = pixels.shape[3]
    scale, black = _scale_and_black(pixels.dtype == torch.uint8, width, precise, pixels.device)
    # Row by row: operations along the three channels of one pixel are too short to be fast.
    rows = pixels.permute(0, 2, 3, 1).flatten(2)
    return torch.addcmul(black, rows, scale).to(dtype).unflatten(2, (width, 3)).permute(0, 3, 1, 2)


@functools.lru_cache(maxsize=16)
def _scale_and_black(
    in_bytes: bool, width: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return 1 / std and -mean / std for a row of pixels, (width * 3,); kept, as a GPU waits for new ones."""
    mean, std = (
        torch.tensor(values, dtype=dtype).repeat(width).to(device)
        for values in (_IMAGENET_MEAN, _IMAGENET_STD)
    )
    return 1 / (std * (255 if in_bytes else 1)), -mean / std

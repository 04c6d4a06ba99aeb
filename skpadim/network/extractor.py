"""A network at work: from pixels to the outputs of its layers, on a device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx import GraphModule

from ..base.devices import own_precision
from ..base.locks import ForkSafeLock
from ..kernels.channels import select_channels
from .fused import can_be_fused, fused
from .layers import other_size
from .modules import ModuleTrunk, check_images_are_apart
from .normalisation import Normalisation
from .tiles import SHAPE_SIDE, Reach, Tiling, blank, can_be_tiled, measure_reach, tile, whole_shapes
from .weights import StateArrays

#: torch.fx traces by patching nn.Module for the whole process, and random weights are drawn from torch's
#: global generator: while one thread builds a network, no other may build or run one.
NETWORK_LOCK = ForkSafeLock()

#: What a network may compute in, and the dtype of its weights then; None: that of the weights given.
PRECISIONS = {None: None, "float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16}

# On a CPU, images pass so many at a time that no activation takes more. What is larger comes from the system
# anew at every call, page by page (glibc's limit for mmap on 64 bits), and leaves a processor's caches.
_ACTIVATION_BYTES = 2**25
# On a CPU, a photo of which one would take more passes in tiles. Each is several such tensors at its peak.
_TILE_BYTES = 2**28


class FeatureExtractor:
    """A frozen network on a device, ready to compute; it may be shared by threads and estimators.

    Parameters
    ----------
    trunk : nn.Module
        It maps normalised images to a mapping of the layers' outputs. It is changed.
    layers : sequence of str
        The layers, in the order in which their outputs are returned.
    normalisation : Normalisation
    device : torch.device
    precision : str or None
        One of ``PRECISIONS``.
    """

    def __init__(
        self,
        trunk: nn.Module,
        layers: Sequence[str],
        normalisation: Normalisation,
        device: torch.device,
        precision: str | None,
    ) -> None:
        self.layers = tuple(layers)
        self._normalisation = normalisation
        self.device = device
        #: Where its weights came from, for those who share it.
        self.arrays: StateArrays = {}
        #: Whether convolutions may round their inputs to ten bits of mantissa, as torch's own switch says.
        self.rounds_to_tf32 = device.type == "cuda" and precision == "tf32"
        # Channels last suits processors and tensor cores; without these, a GPU is a seventh slower with it.
        exact_on_gpu = device.type == "cuda" and precision != "tf32" and not isinstance(trunk, ModuleTrunk)
        self._trunk = trunk.to(device, PRECISIONS[precision])
        _lay_out(self._trunk, torch.contiguous_format if exact_on_gpu else torch.channels_last)
        self.dtype = dtype_of(self._trunk)
        self._largest: dict[tuple[int, int], int] = {}
        self._tilings: dict[tuple[int, int], Tiling | None] = {}
        self._reach: list[Reach | None] = []  # measured once, where it is needed
        #: Another engine than torch, which computes the layers of normalised pixels; None: the trunk does.
        self.run: Callable[[Tensor], Mapping[str, Any]] | None = None

    @property
    def trunk(self) -> nn.Module:
        """The network at work; not to be changed."""
        return self._trunk

    @functools.cached_property
    def _at_its_fastest(self) -> nn.Module:
        """The trunk as it computes: laid out for this processor once it is wanted, and not for engines."""
        can_fuse = can_be_fused(self._trunk, self.device, self.dtype)
        return fused(cast("GraphModule", self._trunk)) if can_fuse else self._trunk

    def levels(self, pixels: Tensor, channels: Sequence[NDArray[np.int64]] | None = None) -> list[Tensor]:
        """Compute the outputs of the layers.

        Parameters
        ----------
        pixels : Tensor of shape (n_images, 3, height, width)
            uint8, or floats in [0, 1].
        channels : sequence of ndarray, optional
            The channels to return of every layer. Default: all.

        Returns
        -------
        list of Tensor of shape (n_images, channels, height, width)
            One per layer, on the device.
        """
        with self._at_work():
            if self.device.type == "cuda":
                # From pinned memory the copy runs beside the network, without waiting for it.
                pixels = pixels.pin_memory().to(self.device, non_blocking=True)
            wanted = [None] * len(self.layers) if channels is None else map(self._index, channels)
            index = dict(zip(self.layers, wanted, strict=True))
            tiling = self.tiling((pixels.shape[2], pixels.shape[3]))

            run = self.run or self._at_its_fastest

            def compute(part: Tensor) -> list[Tensor]:
                return self._selected(run(normalised_pixels(part, self._normalisation, self.dtype)), index)

            outputs = [
                compute(part) if tiling is None else tiling.levels(part, compute, self.layers)
                for part in self._split(pixels)
            ]
            return [parts[0] if len(parts) == 1 else torch.cat(parts) for parts in zip(*outputs, strict=True)]

    def activation_bytes(self, size: tuple[int, int]) -> int:
        """Return how much the largest tensor in the network takes for one image of this height and width.

        Of an image that is cut, for its largest tile.
        """
        if size not in self._largest:
            self.shapes(size)
        return self._largest[size]

    def tiling(self, size: tuple[int, int]) -> Tiling | None:
        """Return how photos of this height and width are cut, or None: they pass whole.

        Those pass in tiles, on a CPU, of which one activation would take more than ``_TILE_BYTES``, in
        networks that we know and that see no further than tiles may overlap. Other engines run whole photos.
        """
        if self.device.type != "cpu" or self.run is not None or isinstance(self._trunk, ModuleTrunk):
            return None
        with self._at_work():
            if size not in self._tilings:
                self._tilings[size] = self._cut(size) if can_be_tiled(size) else None
            return self._tilings[size]

    def _cut(self, size: tuple[int, int]) -> Tiling | None:
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        if size[0] * size[1] <= SHAPE_SIDE**2:
            return None
        try:
            outputs, largest = _outputs_and_largest(self._trunk, blank(like, SHAPE_SIDE))
            per_pixel = largest / SHAPE_SIDE**2
            if per_pixel * size[0] * size[1] <= _TILE_BYTES:
                return None
            self._reach = self._reach or [measure_reach(self._trunk, self.layers, like)]
        except Exception:  # It takes images of one size alone, say: run whole, it is refused in words.
            return None
        if self._reach[0] is None:
            return None
        seen = {layer: tuple(outputs[layer].shape[1:]) for layer in self.layers}
        shapes = whole_shapes(seen, self._reach[0].strides, size)
        tiling = tile(size, shapes, self._reach[0], int(_TILE_BYTES / per_pixel))
        self._largest[size] = round(per_pixel * tiling.largest)
        return tiling

    @property
    def at_a_time_bytes(self) -> int | None:
        """What the largest tensors of images that pass together may take; None: all of a batch pass."""
        return _ACTIVATION_BYTES if self.device.type == "cpu" else None

    def shapes(self, size: tuple[int, int]) -> list[tuple[int, int, int]]:
        """Run once, on a grey image of this height and width, to see what the layers give.

        Where photos are cut, a small one tells.

        Returns
        -------
        list of (int, int, int)
            Channels, height and width of every layer's output.

        Raises
        ------
        ValueError
            If the network fails on such images, or a layer gives no feature maps.
        """
        tiling = self.tiling(size)
        if tiling is not None:
            return [tiling.shapes[layer] for layer in self.layers]
        try:
            with self._at_work():
                image = self._image(size)
                if isinstance(self._trunk, ModuleTrunk):
                    self._trunk.check_calls(image)
                outputs, self._largest[size] = _outputs_and_largest(self._trunk, image)
        except ValueError as error:
            if str(error).startswith("layers:"):
                raise
            raise ValueError(
                f"image_size: the backbone refuses {size[0]}x{size[1]} pixels ({error})."
            ) from error
        except Exception as error:  # Whatever a stranger's network raises.
            raise ValueError(
                f"image_size: the backbone fails on images of {size[0]}x{size[1]} pixels, channels last in "
                f"memory ({error}). Choose a size that suits it, or mend it where it wants another layout."
            ) from error
        found = {layer: _shape(outputs[layer]) for layer in self.layers}
        self._check_maps(found, size)
        return [(shape[1], shape[2], shape[3]) for shape in found.values()]

    def _check_maps(self, found: Mapping[str, tuple[int, ...]], size: tuple[int, int]) -> None:
        """Check that layers give feature maps: their channels do not change with the height of an image."""
        other = other_size(size)
        try:
            with self._at_work():
                outputs = self._trunk(self._image(other))
            others = {layer: _shape(outputs[layer]) for layer in self.layers}
        except Exception:  # A network of one size, for which the proportions of its maps must do.
            others = {}
        for layer, shape in found.items():
            if not _are_maps(shape, others.get(layer), size):
                raise ValueError(
                    f"layers: {layer!r} gives {shape or 'no tensor'} for images of {size[0]}x{size[1]} "
                    "pixels; PaDiM needs layers that give feature maps (n_images, channels, height, width), "
                    "not tokens, and not channels last. Choose others, or wrap the network in a module that "
                    "moves the axes."
                )

    def _image(self, size: tuple[int, int]) -> Tensor:
        """Return a grey image, laid out as all are."""
        image = torch.zeros(1, 3, *size, dtype=self.dtype, device=self.device)
        return image.contiguous(memory_format=torch.channels_last)

    def check_images_are_apart(self, size: tuple[int, int]) -> None:
        """Check that a network treats each image of a batch by itself; those that we know do.

        Raises
        ------
        ValueError
            If it does not.
        """
        if not isinstance(self._trunk, ModuleTrunk):
            return
        images = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0))
        # Unlike each other: bright, dark, and flat.
        images[1] *= 0.2
        images[2] = 0.7
        with self._at_work():
            pixels = normalised_pixels(images.to(self.device), self._normalisation, self.dtype)
            check_images_are_apart(self._trunk, pixels)

    @contextmanager
    def _at_work(self) -> Any:
        with NETWORK_LOCK, torch.inference_mode(), own_precision(self.device, tf32=self.rounds_to_tf32):
            yield

    def _split(self, pixels: Tensor) -> Sequence[Tensor]:
        """Cut images into parts of equal size, to within one, that suit a processor."""
        if self.at_a_time_bytes is None:
            return [pixels]
        largest = self.activation_bytes((pixels.shape[2], pixels.shape[3]))
        at_a_time = max(1, self.at_a_time_bytes // largest)
        return pixels.tensor_split(-(-len(pixels) // at_a_time))

    def _index(self, channels: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(np.array(channels, dtype=np.int64)).to(self.device)

    def _selected(self, outputs: Mapping[str, Any], index: Mapping[str, Tensor | None]) -> list[Tensor]:
        """Return the wanted channels of the outputs, in the order of the layers."""
        levels = []
        for layer, kept in index.items():
            # A network may compute in half precision; the statistics never do.
            output = outputs[layer].float() if outputs[layer].itemsize < 4 else outputs[layer]
            level = output if kept is None else select_channels(output, kept)
            levels.append(level.contiguous(memory_format=torch.channels_last))  # as the statistics read them
        return levels


def _outputs_and_largest(trunk: nn.Module, image: Tensor) -> tuple[Mapping[str, Any], int]:
    """Return a trunk's outputs, and the bytes of the largest tensor that a module in it gives."""
    largest = image.nbytes

    def note(_module: nn.Module, _arguments: object, output: object) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, output.nbytes)

    with ExitStack() as hooks:
        for module in trunk.modules():
            # Compiled modules take no hooks.
            if not isinstance(module, torch.jit.ScriptModule):
                hooks.enter_context(module.register_forward_hook(note))
        return trunk(image), largest


def _are_maps(shape: tuple[int, ...], other: tuple[int, ...] | None, size: tuple[int, int]) -> bool:
    """Whether a layer gives feature maps, by the shape of its output, and that for a higher image, if any."""
    if len(shape) != 4 or other is not None:
        return len(shape) == 4 and other is not None and len(other) == 4 and shape[1] == other[1]
    rows, columns = shape[2] / size[0], shape[3] / size[1]
    return max(rows, columns) <= 1.25 * min(rows, columns)


def dtype_of(network: nn.Module) -> torch.dtype:
    """Return in which dtype a network takes images: that of its first weights, if it has some."""
    floats = [tensor for tensor in network.parameters() if tensor.is_floating_point()]
    weights = [tensor for tensor in floats if tensor.dim() > 1]
    return next(iter([*weights, *floats]), torch.empty(0)).dtype


def _shape(output: object) -> tuple[int, ...]:
    return tuple(output.shape) if isinstance(output, Tensor) else ()


def _lay_out(trunk: nn.Module, layout: torch.memory_format) -> None:
    """Lay the weights of two-dimensional convolutions out so; those of others have no such layout."""
    for tensor in (*trunk.parameters(), *trunk.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=layout)


def normalised_pixels(pixels: Tensor, normalisation: Normalisation, dtype: torch.dtype) -> Tensor:
    """Return pixels, uint8 or in [0, 1], as a network was trained to see them."""
    # In half precision the differences of bright pixels would be lost before the network sees them.
    precise = torch.promote_types(dtype, torch.float32)
    width = pixels.shape[3]
    in_bytes = pixels.dtype == torch.uint8
    scale, black = _scale_and_black(normalisation, in_bytes, width, precise, pixels.device)
    # Row by row: operations along the three channels of one pixel are too short to be fast.
    rows = pixels.permute(0, 2, 3, 1).flatten(2)
    return torch.addcmul(black, rows, scale).to(dtype).unflatten(2, (width, 3)).permute(0, 3, 1, 2)


@functools.lru_cache(maxsize=16)
def _scale_and_black(
    normalisation: Normalisation, in_bytes: bool, width: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return 1 / std and -mean / std for a row of pixels, (width * 3,); kept, as a GPU waits for new ones."""
    mean, std = (
        torch.tensor(values, dtype=dtype).repeat(width).to(device)
        for values in (normalisation.mean, normalisation.std)
    )
    return 1 / (std * (255 if in_bytes else 1)), -mean / std

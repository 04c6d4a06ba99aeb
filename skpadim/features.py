"""CNNFeatureTransformer, from images to embeddings, and FeaturePyramid, what it returns."""

from __future__ import annotations

import functools
import operator
import os
from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.fx import GraphModule

from .backbones import (
    NETWORK_LOCK,
    build_trunk,
    narrow_trunk,
    optimise_trunk,
    rebuild_trunk,
    trunk_arrays,
)
from .devices import join_on_host, resolve_device
from .images import ImageBatch, check_images
from .kernels.prefix import nearest_index
from .randomness import draw_seed
from .state import Estimator, rolls_back

# The statistics of ImageNet, with which torchvision's weights are trained.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class FeaturePyramid:
    """Embeddings with every layer at its own resolution.

    ``np.asarray`` gives the paper's embedding, in which coarse layers are upsampled to the finest by nearest
    neighbour and all are concatenated.

    Parameters
    ----------
    levels : sequence of ndarray of shape (n_images, channels, height, width)
        One per layer, in the order of the layers.
    layer_names : sequence of str, optional
        Default: "level0", "level1", ...
    image_size : (int, int), optional
        Height and width in pixels of the images that the features were computed from. Default: the
        finest resolution, as if each patch were a pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from skpadim import FeaturePyramid
    >>> pyramid = FeaturePyramid([np.zeros((4, 8, 6, 6)), np.ones((4, 16, 3, 3))])
    >>> pyramid.shape
    (4, 24, 6, 6)
    >>> pyramid[1:3].shape
    (2, 24, 6, 6)
    """

    def __init__(
        self,
        levels: Sequence[NDArray[Any]],
        layer_names: Sequence[str] | None = None,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        self.levels = list(levels)
        if not self.levels or any(np.ndim(level) != 4 for level in self.levels):
            raise ValueError(
                "levels must be arrays of shape (n_images, channels, height, width), at least one; got "
                f"shapes {[np.shape(level) for level in self.levels]}."
            )
        if len({len(level) for level in self.levels}) > 1:
            raise ValueError(
                f"levels must have the same number of images; got {[len(v) for v in self.levels]}."
            )
        if layer_names is None:
            layer_names = [f"level{index}" for index in range(len(self.levels))]
        self.layer_names = tuple(layer_names)
        if len(self.layer_names) != len(self.levels):
            raise ValueError(f"layer_names must name the {len(self.levels)} levels; got {self.layer_names}.")
        height, width = self.shape[2:] if image_size is None else image_size
        self.image_size = (int(height), int(width))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the paper's embedding: images, all channels, finest height and width."""
        sizes = np.array([level.shape for level in self.levels])
        n_channels, (height, width) = sizes[:, 1].sum(), sizes[:, 2:].max(axis=0)
        return len(self), int(n_channels), int(height), int(width)

    @property
    def ndim(self) -> int:
        """Number of dimensions of the paper's embedding."""
        return 4

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the paper's embedding."""
        return np.result_type(*self.levels)

    def __len__(self) -> int:
        return len(self.levels[0])

    def __getitem__(self, key: Any) -> FeaturePyramid:
        """Return some images: an int (a pyramid of one image), a slice, a mask or indices.

        ``pyramid[key, ...]`` means the same.
        """
        if isinstance(key, tuple):
            if len(key) != 2 or key[1] is not Ellipsis:
                raise IndexError(f"a FeaturePyramid is indexed by images alone; got {key!r}")
            key = key[0]
        if isinstance(key, int | np.integer):
            index = operator.index(key)
            if not -len(self) <= index < len(self):
                raise IndexError(f"image {index} is out of range: there are {len(self)}")
            key = slice(index % len(self), index % len(self) + 1)
        elif not isinstance(key, slice):
            key = np.asarray(key)
            key = key.astype(np.intp) if key.size == 0 else key
        return FeaturePyramid([level[key] for level in self.levels], self.layer_names, self.image_size)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a FeaturePyramid becomes an array only by copying: the levels are upsampled")
        height, width = self.shape[2:]
        upsampled = []
        for level in self.levels:
            rows = nearest_index(level.shape[2], height).numpy()
            columns = nearest_index(level.shape[3], width).numpy()
            upsampled.append(np.asarray(level)[:, :, rows[:, None], columns])
        return np.concatenate(upsampled, axis=1).astype(dtype or self.dtype, copy=False)

    def __repr__(self) -> str:
        levels = ", ".join(
            f"{name}: {level.shape[1]}x{level.shape[2]}x{level.shape[3]}"
            for name, level in zip(self.layer_names, self.levels, strict=True)
        )
        return f"FeaturePyramid({len(self)} images; {levels})"


class CNNFeatureTransformer(TransformerMixin, Estimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Turn images into the embeddings of a frozen convolutional network.

    Parameters
    ----------
    backbone : str or nn.Module, default="resnet18"
        A name from ``torchvision.models.list_models()``, or a network that torch.fx can trace. It computes
        in the precision of the module's weights.
    layers : sequence of str, default=("layer1", "layer2", "layer3")
        Layers whose outputs make the embedding; the network stops at the deepest of them.
    weights : str, path or None, default="DEFAULT"
        torchvision's weights by name, the path of a state-dict file (read with ``weights_only=True``), or
        None: random weights for a name. A module keeps its own with "DEFAULT" or None.
    image_size : int or (int, int), default=224
        Height and width in pixels to which every image is resized, antialiased, its aspect not kept.
    crop_size : int, (int, int) or None, default=None
        Height and width of the centre that is cut out after resizing. None: all. The paper resizes to 256
        and crops to 224.
    batch_size : int, default=32
        Images that the network sees at a time. Results depend on it to float32 rounding only.
    n_jobs : int or None, default=None
        Threads that decode image files while the network runs. None: 2. -1: one per processor.
    device : str or None, default=None
        A torch device, for example "cpu", "cuda" or "cuda:1". None: the first GPU, or the CPU without one.
    precision : {"float32", "bfloat16"} or None, default=None
        What the network computes in. None: the precision of its weights. "bfloat16" is faster on GPUs and on
        processors made for it; features come out in float32, with an error of about half a percent.
    random_state : int, RandomState instance or None, default=0
        Decides random weights (``weights=None``).

    Attributes
    ----------
    backbone_ : str or nn.Module
        The backbone of the fit.
    trunk_arrays_ : dict of str to ndarray
        The network's weights up to the deepest layer.
    layer_names_ : tuple of str
        The layers, in the order of the embedding.
    level_shapes_ : list of (int, int, int)
        Channels, height and width of every layer's output.
    resized_size_, input_size_ : (int, int)
        Height and width in pixels of an image before and after the crop; the network sees the latter.

    See Also
    --------
    FeaturePyramid : What ``transform`` returns.

    Examples
    --------
    >>> import numpy as np
    >>> from skpadim import CNNFeatureTransformer
    >>> photos = np.zeros((2, 64, 64, 3), dtype=np.uint8)
    >>> features = CNNFeatureTransformer(weights=None, image_size=64, layers=("layer1", "layer2"))
    >>> features.fit_transform(photos)
    FeaturePyramid(2 images; layer1: 64x16x16, layer2: 128x8x8)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "backbone": [str, nn.Module],
        "layers": ["array-like"],
        "weights": [str, os.PathLike, None],
        "image_size": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "crop_size": [Interval(Integral, 1, None, closed="left"), "array-like", None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "device": [str, torch.device, None],
        "precision": [StrOptions({"float32", "bfloat16"}), None],
        "random_state": ["random_state"],
    }

    _rebuilt = ("_trunk", "_narrow")

    def __init__(
        self,
        backbone: str | nn.Module = "resnet18",
        *,
        layers: Sequence[str] = ("layer1", "layer2", "layer3"),
        weights: str | os.PathLike[str] | None = "DEFAULT",
        image_size: int | tuple[int, int] = 224,
        crop_size: int | tuple[int, int] | None = None,
        batch_size: int = 32,
        n_jobs: int | None = None,
        device: str | torch.device | None = None,
        precision: str | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.backbone = backbone
        self.layers = layers
        self.weights = weights
        self.image_size = image_size
        self.crop_size = crop_size
        self.batch_size = batch_size
        self.n_jobs = n_jobs
        self.device = device
        self.precision = precision
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    @rolls_back
    def fit(self, X: Any, y: object = None) -> Self:
        """Build the network; nothing is learned from the images, and none is decoded.

        Parameters
        ----------
        X : images
            See :meth:`transform`.
        y : object
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X holds no images, a layer or backbone is unknown, or the weights do not fit.
        """
        check_images(X)
        self.layer_names_ = self._check_layers()
        self.resized_size_, self.input_size_ = self._check_sizes()
        seed = draw_seed(self.random_state)
        with NETWORK_LOCK:
            trunk = build_trunk(self.backbone, self.layer_names_, self.weights, seed)
            self.trunk_arrays_ = trunk_arrays(trunk)
            self._trunk = self._ready(trunk)
        self.backbone_ = self.backbone
        self.level_shapes_ = self._probe()
        return self

    def transform(self, X: Any) -> FeaturePyramid:
        """Compute the embeddings of images.

        Parameters
        ----------
        X : images
            An array (n, h, w) or (n, h, w, 3), uint8, uint16 or float in [0, 1]; a list or array of file
            paths; a list of PIL images or of arrays of any sizes; a torch tensor (n, 3, h, w).

        Returns
        -------
        FeaturePyramid
            Of all images. In a long stream of images, use :class:`PaDiMDetector`, which never holds them all.

        Raises
        ------
        ValueError, TypeError
            If an image cannot be read; the message names it.
        """
        check_is_fitted(self)
        batches = [
            [level.to("cpu", non_blocking=True) for level in self.extract(batch)] for batch in self.batches(X)
        ]
        levels = [join_on_host(parts) for parts in zip(*batches, strict=True)]
        return FeaturePyramid(levels, self.layer_names_, self.input_size_)

    def batches(self, X: Any, *, min_images: int = 1) -> Iterator[ImageBatch]:
        """Decode images, resized and cropped, a batch at a time.

        Parameters
        ----------
        X : images
            See :meth:`transform`.
        min_images : int, default=1
            How many are needed.

        Yields
        ------
        ImageBatch
        """
        images = check_images(X, min_images=min_images)
        yield from images.batches(
            self.batch_size,
            self.resized_size_,
            self.input_size_,
            self._n_threads(),
        )

    def extract(self, batch: ImageBatch, channels: Sequence[NDArray[np.int64]] | None = None) -> list[Tensor]:
        """Compute the embeddings of a batch, on the device.

        Parameters
        ----------
        batch : ImageBatch
        channels : sequence of ndarray, optional
            The channels to compute of every layer. Default: all.

        Returns
        -------
        list of Tensor of shape (n_images, channels, height, width)
            One per layer.
        """
        with NETWORK_LOCK, torch.inference_mode():
            trunk = self._fitted_trunk() if channels is None else self._narrow_trunk(channels)
            weight = next(trunk.parameters(), torch.empty(0))
            pixels = batch.pixels
            if weight.device.type == "cuda":
                # From pinned memory the copy runs beside the network, without waiting for it.
                pixels = pixels.pin_memory().to(weight.device, non_blocking=True)
            outputs = trunk(_normalised(pixels, weight.dtype))
            # A network may compute in half precision; the statistics never do.
            return [
                output.float() if getattr(output, "itemsize", 4) < 4 else output
                for output in (outputs[layer] for layer in self.layer_names_)
            ]

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Return a name for every channel of the embedding: the layer's and its number in the layer.

        Parameters
        ----------
        input_features : object
            Ignored: pixels have no names.

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        names = [
            f"{layer}_{channel}"
            for layer, shape in zip(self.layer_names_, self.level_shapes_, strict=True)
            for channel in range(shape[0])
        ]
        return np.array(names, dtype=object)

    def _check_layers(self) -> tuple[str, ...]:
        layers = self.layers
        if isinstance(layers, str) or not all(isinstance(layer, str) for layer in layers):
            raise TypeError(f"layers must be a list of names, such as ['layer1']; got {layers!r}.")
        if not len(layers) or len(set(layers)) < len(layers):
            raise ValueError(f"layers must hold at least one name, and none twice; got {layers!r}.")
        return tuple(str(layer) for layer in layers)

    def _check_sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return height and width before and after the crop."""
        full = _as_pair("image_size", self.image_size)
        crop = full if self.crop_size is None else _as_pair("crop_size", self.crop_size)
        if crop[0] > full[0] or crop[1] > full[1]:
            raise ValueError(
                f"crop_size={self.crop_size} is larger than image_size={self.image_size}; choose a crop "
                "that fits into the resized image."
            )
        return full, crop

    def _n_threads(self) -> int:
        if self.n_jobs is None:
            return 2
        if self.n_jobs == 0:
            raise ValueError("n_jobs=0 has no meaning; pass a positive number of threads, -1 or None.")
        return self.n_jobs if self.n_jobs > 0 else max(1, (os.cpu_count() or 1) + 1 + self.n_jobs)

    def _ready(self, trunk: nn.Module) -> GraphModule:
        dtype = None if self.precision is None else getattr(torch, self.precision)
        return optimise_trunk(trunk).to(resolve_device(self.device), dtype)

    def _fitted_trunk(self) -> GraphModule:
        """Return the network, built again from its arrays where a file was loaded."""
        if not hasattr(self, "_trunk"):
            trunk = rebuild_trunk(self.backbone_, self.layer_names_, self.trunk_arrays_)
            self._trunk = self._ready(trunk)
        return self._trunk

    def _narrow_trunk(self, channels: Sequence[NDArray[np.int64]]) -> GraphModule:
        """Return the network that computes these channels alone; the last one made is kept."""
        trunk = self._fitted_trunk()
        made_from, made_for, narrow = getattr(self, "_narrow", (None, (), trunk))
        if made_from is not trunk or not all(map(np.array_equal, made_for, channels)):
            device = resolve_device(self.device)
            keep = {
                layer: torch.from_numpy(index).to(device)
                for layer, index, shape in zip(self.layer_names_, channels, self.level_shapes_, strict=True)
                if len(index) < shape[0]
            }
            narrow = narrow_trunk(trunk, keep)
            self._narrow = trunk, channels, narrow
        return narrow

    def _probe(self) -> list[tuple[int, int, int]]:
        """Run the network once, on a black image, to see what the layers give."""
        size = self.input_size_
        black = ImageBatch(torch.zeros(1, 3, *size, dtype=torch.uint8), 0, [size])
        try:
            outputs = self.extract(black)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(
                f"image_size: the backbone fails on images of {size[0]}x{size[1]} pixels ({error}). Choose "
                "a size that suits it."
            ) from error
        for layer, output in zip(self.layer_names_, outputs, strict=True):
            if getattr(output, "ndim", None) != 4:
                shape = tuple(getattr(output, "shape", ())) or type(output).__name__
                raise ValueError(
                    f"layers: {layer!r} gives {shape}; PaDiM needs layers that give feature maps "
                    "(n_images, channels, height, width)."
                )
        return [(output.shape[1], output.shape[2], output.shape[3]) for output in outputs]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        return describe_image_input(tags)


def describe_image_input(tags: Tags) -> Tags:
    """Say in an estimator's tags that it takes images, as arrays or as paths, and no table.

    Parameters
    ----------
    tags : Tags

    Returns
    -------
    Tags
    """
    tags.input_tags.one_d_array = True
    tags.input_tags.two_d_array = False
    tags.input_tags.three_d_array = True
    tags.input_tags.string = True
    return tags


def _normalised(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """Bring pixels, uint8 or in [0, 1], to the statistics of ImageNet."""
    # In half precision the differences of bright pixels would be lost before the network sees them.
    precise = torch.promote_types(dtype, torch.float32)
    scale, shift = _scale_and_shift(pixels.dtype == torch.uint8, precise, pixels.device)
    return torch.mul(pixels, scale).sub_(shift).to(dtype)


@functools.cache
def _scale_and_shift(in_bytes: bool, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return 1 / std and mean / std of every channel, (3, 1, 1); kept, as a GPU waits for new ones."""
    mean, std = (
        torch.tensor(values, dtype=dtype)[:, None, None].to(device)
        for values in (_IMAGENET_MEAN, _IMAGENET_STD)
    )
    return 1 / (std * (255 if in_bytes else 1)), mean / std


def _as_pair(name: str, size: int | Sequence[int]) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int | np.integer) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, Integral) and side > 0 for side in pair):
        raise ValueError(f"{name} must be a positive int or (height, width); got {size!r}.")
    return int(pair[0]), int(pair[1])

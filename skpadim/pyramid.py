"""What flows between the steps: FeaturePyramid, every layer at its own resolution."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import _check_n_features, assert_all_finite, validate_data
from torch import Tensor

from .kernels.prefix import nearest_index

T = TypeVar("T")


class FeaturePyramid:
    """Embeddings with every layer at its own resolution: what a layer gives is a level.

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

    @property
    def level_channels(self) -> list[int]:
        """Number of channels of every level."""
        return [level.shape[1] for level in self.levels]

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
        if isinstance(key, bool | np.bool_) or (not isinstance(key, slice) and np.ndim(key) > 1):
            raise IndexError(f"images are picked by an int, a slice, or one row of indices; got {key!r}")
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


class CoarseToFine:
    """The order in which the kernels take layers: coarse to fine, those of equal size as given.

    Parameters
    ----------
    shapes : sequence of (int, int, int)
        Channels, height and width of every layer, as given.

    Examples
    --------
    >>> order = CoarseToFine([(64, 56, 56), (128, 28, 28)])
    >>> order.sort(["fine", "coarse"])
    ['coarse', 'fine']
    >>> order.as_given(["coarse", "fine"])
    ['fine', 'coarse']
    """

    def __init__(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        #: For each place in the order, the layer that stands there.
        self.indices = sorted(range(len(shapes)), key=lambda index: shapes[index][1] * shapes[index][2])
        self.shapes = self.sort(shapes)

    def sort(self, of_layers: Sequence[T]) -> list[T]:
        """Bring something of every layer, as given, into this order."""
        return [of_layers[index] for index in self.indices]

    def channels(self) -> NDArray[np.intp]:
        """Return for each channel in this order its place in the embedding, layers as given."""
        counts = [0] * len(self.indices)
        for index, shape in zip(self.indices, self.shapes, strict=True):
            counts[index] = shape[0]
        starts = np.cumsum([0, *counts])
        return np.concatenate([np.arange(starts[index], starts[index + 1]) for index in self.indices])

    def as_given(self, sorted_: Sequence[T]) -> list[T]:
        """Bring something of every layer, in this order, back to where its layer was given."""
        return [sorted_[place] for place in np.argsort(self.indices)]


class PyramidInputMixin:
    """For estimators that take a pyramid, or an array with axes beside channels."""

    def __sklearn_tags__(self) -> Tags:
        """Return scikit-learn's tags."""
        tags: Tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.three_d_array = True
        return tags


def check_level_channels(pyramid: FeaturePyramid, seen: list[int]) -> None:
    """Check that the levels of a pyramid have as many channels as those of the fit had.

    Raises
    ------
    ValueError
        If they do not, be it that all have as many together.
    """
    if pyramid.level_channels != seen:
        raise ValueError(
            f"X has levels of {pyramid.level_channels} channels, but the fit saw {seen}. Use the layers of "
            "the fit."
        )


def check_pyramid(estimator: BaseEstimator, X: Any, *, reset: bool) -> FeaturePyramid:
    """Check the features that a step was given, and make them a pyramid of floats.

    Parameters
    ----------
    estimator : BaseEstimator
        The step, which counts its input features.
    X : FeaturePyramid, or array of shape (n, channels, h, w) or (n, channels)
        An array of two dimensions is one patch.
    reset : bool
        Whether this is a fit.

    Returns
    -------
    FeaturePyramid
        Of float32 or float64, finite.

    Raises
    ------
    ValueError
        If X is none of these or not finite, or has another number of channels than in the fit.
    """
    if not isinstance(X, FeaturePyramid):
        X = validate_data(estimator, X, reset=reset, dtype=[np.float64, np.float32], allow_nd=True)
        if X.ndim not in (2, 4):
            raise ValueError(
                f"X has shape {X.shape}; expected a FeaturePyramid or an array (n, channels, h, w) or "
                "(n, channels)."
            )
        return FeaturePyramid([X[:, :, None, None] if X.ndim == 2 else X])
    _check_n_features(estimator, X, reset=reset)
    for name, level in zip(X.layer_names, X.levels, strict=True):
        assert_all_finite(level, input_name=f"X, layer {name!r},")
    levels = [level.astype(np.result_type(level, np.float32), copy=False) for level in X.levels]
    return FeaturePyramid(levels, X.layer_names, X.image_size)


def check_batches(batches: Iterable[Any], device: torch.device) -> Iterator[list[Tensor]]:
    """Check the batches of a stream of features, and bring them to a device as floats.

    Parameters
    ----------
    batches : iterable of sequence of Tensor of shape (n, channels, h, w)
        For every batch its features, one tensor per layer, and last, if any, what `split_hidden` takes off.
    device : torch.device

    Yields
    ------
    list of Tensor of shape (n, channels, h, w)
        Of float32 or float64; batches without images are left out. And last, if any, what is hidden.

    Raises
    ------
    TypeError, ValueError
        If a batch holds something else, or does not match the first.
    """
    expected = None
    for number, batch in enumerate(batches):
        levels, hidden = split_hidden(list(batch) if isinstance(batch, Iterable) else [batch])
        if not all(map(_holds_maps, levels)) or not any(level.shape[1] for level in levels):
            raise TypeError(
                f"batches: number {number} must hold dense float tensors (n, channels, h, w), one per layer; "
                f"got {[*map(_describe, levels)]}."
            )
        counts = {len(level) for level in levels}
        if counts == {0}:
            continue
        found = [(*level.shape[1:], level.dtype) for level in levels]
        expected = found if expected is None else expected
        if found != expected or len(counts) != 1:
            raise ValueError(
                f"batches: number {number} holds {[*map(_describe, levels)]}; expected one number of "
                f"images, and (channels, height, width, dtype) as in the first: {expected}."
            )
        on_device = [level.detach().to(device, _working_dtype(level)) for level in levels]
        yield on_device if hidden is None else [*on_device, hidden.to(device)]


def split_hidden(batch: list[Any]) -> tuple[list[Any], Tensor | None]:
    """Take off the end of a batch which patches its images do not show, if it says so.

    Parameters
    ----------
    batch : list of Tensor
        Features, one tensor per layer, and perhaps one of bools (n, rows, columns): the finest grid.

    Returns
    -------
    levels : list of Tensor
    hidden : Tensor or None
    """
    *levels, last = batch or [None]
    if isinstance(last, Tensor) and last.dtype == torch.bool and last.dim() == 3:
        return levels, last
    return batch, None


def _holds_maps(level: Any) -> bool:
    is_dense = isinstance(level, Tensor) and level.layout == torch.strided and not level.is_complex()
    return is_dense and level.dim() == 4 and 0 not in level.shape[2:]


def _describe(level: Any) -> str:
    dtype = str(getattr(level, "dtype", "")).removeprefix("torch.")
    return f"{type(level).__name__} {tuple(getattr(level, 'shape', ()))} {dtype}"


def _working_dtype(level: Tensor) -> torch.dtype:
    """Return the dtype to compute with: float32 for floats of up to 32 bits, float64 for the rest."""
    return torch.float32 if level.is_floating_point() and level.itemsize <= 4 else torch.float64

"""Embeddings from a folder, where the network computes what is lacking."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..images.collection import Images
from .store import FeatureStore


class FeatureRecall:
    """The features of images from a store; what it lacks is computed once, and kept.

    Parameters
    ----------
    images : Images
    store : FeatureStore
        Of the network that ``compute`` runs.
    shapes : mapping of str to (int, int, int)
        Channels, height and width of every layer's output.
    compute : callable
        Given a sequence of image numbers, it returns the outputs of all layers.
    """

    def __init__(
        self,
        images: Images,
        store: FeatureStore,
        shapes: Mapping[str, tuple[int, int, int]],
        compute: Callable[[Sequence[int]], list[Tensor]],
    ) -> None:
        self._images = images
        self._store = store
        self._shapes = shapes
        self._compute = compute

    def levels(self, indices: Sequence[int], channels: Sequence[NDArray[np.int64]] | None) -> list[Tensor]:
        """Return the outputs of the layers for a batch.

        Parameters
        ----------
        indices : sequence of int
            The images.
        channels : sequence of ndarray or None
            The channels to return of every layer. None: all.

        Returns
        -------
        list of Tensor of shape (n_images, channels, height, width)
            One per layer.
        """
        kept = channels or [np.arange(shape[0]) for shape in self._shapes.values()]
        contents = [self._images.digest(index) for index in indices]
        levels = self._read(contents, kept)
        if levels is None:
            self._complete(dict(zip(contents, indices, strict=True)))
            levels = self._read(contents, kept)
        if levels is None:  # The folder takes none, or somebody empties it, or writes the images, meanwhile.
            whole = self._compute(indices)
            levels = [level[:, index] for level, index in zip(whole, kept, strict=True)]
        return levels

    def _read(self, contents: Sequence[str], kept: Sequence[NDArray[np.int64]]) -> list[Tensor] | None:
        levels = []
        for (layer, shape), index in zip(self._shapes.items(), kept, strict=True):
            level = self._store.read(contents, layer, shape, index)
            if level is None:
                return None
            levels.append(level)
        return levels

    def _complete(self, image_of: Mapping[str, int]) -> None:
        """Compute and write the features of contents that the store lacks, given an image of each."""
        lacking = {
            content: index
            for content, index in image_of.items()
            if not self._store.has(content, self._shapes)
        }
        if not lacking:
            return
        levels = self._compute(list(lacking.values()))
        # A file that was written since it was read is not what the digest says.
        if list(lacking) != [self._images.digest(index) for index in lacking.values()]:
            return
        try:
            for layer, level in zip(self._shapes, levels, strict=True):
                self._store.write(list(lacking), layer, level)
        except OSError as error:
            warnings.warn(
                f"memory: features cannot be kept ({error}), and are computed each time. Pass a folder that "
                "can be written, with room, or memory=None.",
                UserWarning,
                stacklevel=2,
            )

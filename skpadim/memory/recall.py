"""Embeddings from a folder, where the network computes what is lacking."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

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
        Given a sequence of image numbers, it returns an iterator of those of a batch that could be read, and
        the outputs of all layers for these.
    """

    def __init__(
        self,
        images: Images,
        store: FeatureStore,
        shapes: Mapping[str, tuple[int, int, int]],
        compute: Callable[[Sequence[int]], Iterator[tuple[Sequence[int], list[Tensor]]]],
    ) -> None:
        self._images = images
        self._store = store
        self._shapes = shapes
        self._compute = compute

    def levels(
        self, indices: Sequence[int], channels: Sequence[NDArray[np.int64]] | None
    ) -> tuple[Sequence[int], list[Tensor]]:
        """Return the outputs of the layers for a batch.

        Parameters
        ----------
        indices : sequence of int
            The images.
        channels : sequence of ndarray or None
            The channels to return of every layer. None: all.

        Returns
        -------
        indices : sequence of int
            Those of the images that could be read.
        levels : list of Tensor of shape (n_images, channels, height, width)
            One per layer.
        """
        kept = channels or [np.arange(shape[0]) for shape in self._shapes.values()]
        contents = self._images.digests(indices)
        levels = self._read(contents, kept)
        if levels is None:
            self._complete(contents)
            contents = self._without_failures(contents)
            levels = self._read(contents, kept)
        if levels is None:  # The folder takes none, or somebody empties it, or writes the images, meanwhile.
            for indices, whole in self._compute(list(contents)):
                return indices, [level[:, index] for level, index in zip(whole, kept, strict=True)]
            return [], []
        return list(contents), levels

    def _without_failures(self, contents: Mapping[int, str]) -> dict[int, str]:
        """Leave out what could not be read; of the same content one image was tried, and stands for all."""
        failures = self._images.failures
        reasons = {contents[index]: reason for index, reason in failures.items() if index in contents}
        failures.update({index: reasons[c] for index, c in contents.items() if c in reasons})
        return {index: content for index, content in contents.items() if content not in reasons}

    def _read(self, contents: Mapping[int, str], kept: Sequence[NDArray[np.int64]]) -> list[Tensor] | None:
        levels: list[Tensor] = []
        if not contents:
            return levels
        for (layer, shape), index in zip(self._shapes.items(), kept, strict=True):
            level = self._store.read(list(contents.values()), layer, shape, index)
            if level is None:
                return None
            levels.append(level)
        return levels

    def _complete(self, contents: Mapping[int, str]) -> None:
        """Compute and write the features that the store lacks, of each content once."""
        image_of = {content: index for index, content in contents.items()}
        lacking = [i for content, i in image_of.items() if not self._store.has(content, self._shapes)]
        for indices, levels in self._compute(lacking) if lacking else ():
            found = self._images.digests(indices)
            # A file that was written since it was read is not what the digest says.
            if [*found.values()] == [contents[index] for index in indices]:
                self._write([*found.values()], levels)

    def _write(self, contents: Sequence[str], levels: Sequence[Tensor]) -> None:
        try:
            for layer, level in zip(self._shapes, levels, strict=True):
                self._store.write(contents, layer, level)
        except OSError as error:
            warnings.warn(
                f"memory: features cannot be kept ({error}), and are computed each time. Pass a folder that "
                "can be written, with room, or memory=None.",
                UserWarning,
                stacklevel=2,
            )

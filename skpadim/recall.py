"""Embeddings from the cache, where the network computes what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .cache import FeatureCache
from .network import Network


class RecallingNetwork:
    """A network that computes the outputs of its layers for each image once.

    Parameters
    ----------
    network : Network
    shapes : sequence of (int, int, int)
        Channels, height and width of every layer's output.
    cache : FeatureCache
        Of this network.
    device : torch.device
        Where results go.
    """

    def __init__(
        self,
        network: Network,
        shapes: Sequence[tuple[int, int, int]],
        cache: FeatureCache,
        device: torch.device,
    ) -> None:
        self._network = network
        self._shapes = dict(zip(network.outputs, shapes, strict=True))
        self._cache = cache
        self._device = device

    def levels(
        self,
        contents: Sequence[str],
        pixels: Callable[[range], Tensor],
        channels: Sequence[NDArray[np.int64]] | None = None,
    ) -> list[Tensor]:
        """Return the outputs of the layers for a batch.

        Parameters
        ----------
        contents : sequence of str
            Digests of the images.
        pixels : callable
            Given consecutive positions in the batch, it returns those images, (n, 3, height, width).
        channels : sequence of ndarray, optional
            The channels to return of every layer. Default: all.

        Returns
        -------
        list of Tensor of shape (n_images, channels, height, width)
            One per layer, on the device.
        """
        kept = channels or [np.arange(shape[0]) for shape in self._shapes.values()]
        levels = self._read(contents, kept)
        if levels is None:
            for run in _runs(self._cache.missing(contents, self._shapes)):
                self._complete(contents, run, pixels)
            levels = self._read(contents, kept)
        if levels is None:  # Somebody empties the folder meanwhile.
            levels = self._network.levels(pixels(range(len(contents))), kept)
        return [level.to(self._device, non_blocking=True) for level in levels]

    def _read(self, contents: Sequence[str], kept: Sequence[NDArray[np.int64]]) -> list[Tensor] | None:
        levels = []
        for (output, shape), index in zip(self._shapes.items(), kept, strict=True):
            level = self._cache.read(contents, output, shape, index)
            if level is None:
                return None
            levels.append(level)
        return levels

    def _complete(self, batch: Sequence[str], run: range, pixels: Callable[[range], Tensor]) -> None:
        """Compute what the cache lacks of some consecutive images of a batch, and write it.

        The network goes on from what the cache has, be it of other layers, where that suffices.
        """
        contents = batch[run.start : run.stop]
        shapes = self._cache.outputs(contents[0]) | self._shapes
        usable = {node: shape for node, shape in shapes.items() if node in self._network.nodes}
        found = {node: self._cache.read(contents, node, shape) for node, shape in usable.items()}
        known = {node: features for node, features in found.items() if features is not None}
        levels = self._network.resume(known) if known else None
        if levels is None:
            levels = self._network.levels(pixels(run))
        for output, level in zip(self._shapes, levels, strict=True):
            if output not in known:
                self._cache.write(contents, output, level)


def _runs(positions: Sequence[int]) -> Iterator[range]:
    """Yield the runs of consecutive numbers in ascending ones."""
    cuts = np.flatnonzero(np.diff(positions) > 1) + 1
    for run in np.split(np.asarray(positions), cuts):
        if run.size:
            yield range(int(run[0]), int(run[-1]) + 1)

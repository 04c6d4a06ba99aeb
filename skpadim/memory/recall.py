"""Embeddings from the cache, where the network computes what it lacks."""

from __future__ import annotations

import operator
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..network.extractor import Network
from .store import FeatureCache


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
    goes_on : bool
        Whether it may go on from outputs of other layers. Of torchvision's own networks that is the same; in
        others a module may overwrite what another one gave, by ways that torch.fx does not see.
    """

    def __init__(
        self,
        network: Network,
        shapes: Sequence[tuple[int, int, int]],
        cache: FeatureCache,
        device: torch.device,
        *,
        goes_on: bool,
    ) -> None:
        self._network = network
        self._nodes = network.nodes if goes_on else frozenset()
        self._shapes = dict(zip(network.outputs, shapes, strict=True))
        self._cache = cache
        self._device = device

    def levels(
        self,
        images: Sequence[int],
        digest: Callable[[int], str],
        pixels: Callable[[Sequence[int]], Tensor],
        channels: Sequence[NDArray[np.int64]] | None = None,
    ) -> list[Tensor]:
        """Return the outputs of the layers for a batch.

        Parameters
        ----------
        images : sequence of int
        digest : callable
            Given an image, it returns a digest of its content.
        pixels : callable
            Given images, it returns their pixels, (n, 3, height, width).
        channels : sequence of ndarray, optional
            The channels to return of every layer. Default: all.

        Returns
        -------
        list of Tensor of shape (n_images, channels, height, width)
            One per layer, on the device.
        """
        kept = channels or [np.arange(shape[0]) for shape in self._shapes.values()]
        contents = {image: digest(image) for image in images}
        levels = self._read(list(contents.values()), kept)
        if levels is None:
            for alike in self._lacking(contents):
                self._complete({image: contents[image] for image in alike}, digest, pixels)
            levels = self._read(list(contents.values()), kept)
        if levels is None:  # The folder takes none, or somebody empties it, or writes the images, meanwhile.
            levels = self._network.levels(pixels(images), kept)
        return [level.to(self._device, non_blocking=True) for level in levels]

    def _read(self, contents: Sequence[str], kept: Sequence[NDArray[np.int64]]) -> list[Tensor] | None:
        levels = []
        for (output, shape), index in zip(self._shapes.items(), kept, strict=True):
            level = self._cache.read(contents, output, shape, index)
            if level is None:
                return None
            levels.append(level)
        return levels

    def _lacking(self, contents: Mapping[int, str]) -> Iterable[list[int]]:
        """Return the images that the cache lacks something of, each content once, by what it has of them."""
        first = {content: image for image, content in reversed(list(contents.items()))}
        groups = defaultdict(list)
        for content, image in sorted(first.items(), key=operator.itemgetter(1)):
            if not self._cache.has(content, self._shapes):
                groups[frozenset(self._cache.outputs(content).items())].append(image)
        return groups.values()

    def _complete(
        self,
        contents: Mapping[int, str],
        digest: Callable[[int], str],
        pixels: Callable[[Sequence[int]], Tensor],
    ) -> None:
        """Compute what the cache lacks of some images that it has the same of, and write it.

        The network goes on from what the cache has, be it of other layers, where that suffices.
        """
        digests = list(contents.values())
        shapes = self._cache.outputs(digests[0]) | self._shapes
        usable = {node: shape for node, shape in shapes.items() if node in self._nodes}
        found = {node: self._cache.read(digests, node, shape) for node, shape in usable.items()}
        known = {node: features for node, features in found.items() if features is not None}
        levels = self._network.resume(known) if known else None
        if levels is None:
            levels = self._network.levels(pixels(list(contents)))
            # A file that was written since it was read is not what the digest says.
            if digests != [digest(image) for image in contents]:
                return
        for output, level in zip(self._shapes, levels, strict=True):
            if output not in known:
                self._write(digests, output, level)

    def _write(self, digests: Sequence[str], output: str, level: Tensor) -> None:
        try:
            self._cache.write(digests, output, level)
        except OSError as error:
            warnings.warn(
                f"memory: features cannot be kept ({error}), and are computed each time. Pass a folder that "
                "can be written, with room, or memory=None.",
                UserWarning,
                stacklevel=2,
            )

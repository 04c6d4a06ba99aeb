"""What flows through a fit or a score: batches of features, and what is seen of photos on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .alignment.registration import N_NUMBERS, Placement
from .base.devices import join_on_host
from .coordinates import PlacedBatch
from .images.arrays import Size
from .images.collection import ImageBatch, Images
from .images.copies import pixel_digests
from .images.statistics import STATISTICS, photo_statistics
from .memory.recall import FeatureRecall
from .memory.store import FeatureStore

# What tells pixels from others, beside their statistics: so many numbers of 32 bits.
_HALVES = 2
_SIZES = [STATISTICS.index("height"), STATISTICS.index("width")]


class FeatureBatch(NamedTuple):
    """The features of some images, and what was seen of these on the way."""

    #: Where they are in X.
    indices: Sequence[int]
    #: One tensor (n_images, channels, height, width) per layer.
    levels: list[Tensor]
    #: Height and width of each image before resizing.
    original_sizes: list[Size]
    #: (n_images, 9), see :func:`skpadim.images.statistics.photo_statistics`; None unless asked for.
    statistics: NDArray[np.float64] | None
    #: Digests of eight bytes, equal for equal images; none unless asked for.
    contents: list[bytes]
    #: Where the part of each image lies, if images are moved; else none.
    placements: list[Placement]
    #: What is known of where images lie in what the network sees; None as long as nobody needs it.
    placed: PlacedBatch | None = None

    def hidden(self) -> Tensor | None:
        """Return the patches (n_images, h, w) that images do not show; None where they always show all."""
        return None if self.placed is None else self.placed.hidden

    def only(self, kept: Sequence[int]) -> FeatureBatch:
        """Return the batch with some of its images alone."""
        rows = list(kept)
        return FeatureBatch(
            [self.indices[row] for row in rows],
            [level[rows] for level in self.levels],
            [self.original_sizes[row] for row in rows],
            None if self.statistics is None else self.statistics[rows],
            [self.contents[row] for row in rows] if self.contents else [],
            [self.placements[row] for row in rows] if self.placements else [],
            None if self.placed is None else self.placed.only(rows),
        )


def computed_batches(
    batches: Iterator[ImageBatch], extract: Callable[[ImageBatch], list[Tensor]], *, measure: bool
) -> Iterator[FeatureBatch]:
    """Yield the features of decoded images.

    Parameters
    ----------
    batches : iterator of ImageBatch
    extract : callable
        The network.
    measure : bool
        Whether to measure the images, and to tell those of the same content.
    """
    for batch in batches:
        levels, statistics, contents = extract(batch), None, []
        if measure:
            statistics = photo_statistics(batch.pixels, batch.original_sizes, batch.shown)
            contents = pixel_digests(batch.pixels)
        placements = batch.placements or []
        yield FeatureBatch(batch.indices, levels, batch.original_sizes, statistics, contents, placements)


class RecalledBatches:
    """The features of images from a store, in which their measurements are one more layer.

    Parameters
    ----------
    images : Images
    store : FeatureStore
    shapes : mapping of str to (int, int, int)
        Channels, height and width of every layer's output.
    compute : callable
        Given a sequence of image numbers, it returns an iterator of measured batches.
    is_aligned : bool
        Whether images are moved: where their parts lie is kept, too.
    """

    _MEASURED = "statistics of the photo"

    def __init__(
        self,
        images: Images,
        store: FeatureStore,
        shapes: Mapping[str, tuple[int, int, int]],
        compute: Callable[[Sequence[int]], Iterator[FeatureBatch]],
        *,
        is_aligned: bool = False,
    ) -> None:
        self._images = images
        self._n_placed = N_NUMBERS if is_aligned else 0
        self._n_measured = len(STATISTICS) + _HALVES + self._n_placed
        self._compute = compute
        measured = {**shapes, self._MEASURED: (self._n_measured, 1, 1)}
        self._recall = FeatureRecall(images, store, measured, self._computed)

    def batches(
        self, batch_size: int, channels: Sequence[NDArray[np.int64]] | None, *, measure: bool, start: int = 0
    ) -> Iterator[FeatureBatch]:
        """Yield the features of all images from one on, as far as they can be read.

        Parameters
        ----------
        batch_size : int
        channels : sequence of ndarray or None
            The channels to return of every layer. None: all.
        measure : bool
            As for :func:`computed_batches`.
        start : int, default=0
            The first image.
        """
        kept = self._with_measured(channels)
        for first in range(start, len(self._images), batch_size):
            wanted = range(first, min(first + batch_size, len(self._images)))
            indices, levels = self._recall.levels(wanted, kept)
            if indices:
                rows = levels.pop()[:, :, 0, 0].cpu().numpy()
                statistics, halves, placed = np.split(rows, np.cumsum([len(STATISTICS), _HALVES]), axis=1)
                placements = [Placement.from_numbers(row) for row in placed] if self._n_placed else []
                contents = [row.astype(np.uint32).tobytes() for row in halves] if measure else []
                sizes = [(round(height), round(width)) for height, width in statistics[:, _SIZES].tolist()]
                shown = statistics if measure else None
                yield FeatureBatch(indices, levels, sizes, shown, contents, placements)

    def levels(self, indices: Sequence[int], channels: Sequence[NDArray[np.int64]]) -> list[Tensor]:
        """Return the features of some images, one tensor per layer."""
        return self._recall.levels(indices, self._with_measured(channels))[1][:-1]

    def _with_measured(self, channels: Sequence[NDArray[np.int64]] | None) -> list[NDArray[np.int64]] | None:
        return None if channels is None else [*channels, np.arange(self._n_measured)]

    def _computed(self, indices: Sequence[int]) -> Iterator[tuple[Sequence[int], list[Tensor]]]:
        for batch in self._compute(indices):
            assert batch.statistics is not None
            # Halves of digests are numbers that float64 holds exactly.
            halves = [np.frombuffer(content, np.uint32, count=_HALVES) for content in batch.contents]
            parts = [batch.statistics, np.array(halves, dtype=np.float64)]
            parts += [np.array([each.numbers() for each in batch.placements])] if self._n_placed else []
            rows = torch.from_numpy(np.column_stack(parts))
            yield batch.indices, [*batch.levels, rows[:, :, None, None]]


def join_by_image(
    images: Images, parts: Iterator[tuple[Sequence[int], Tensor]], shape: tuple[int, ...], missing: object
) -> NDArray[Any]:
    """Join what is computed of each batch, and put what is missing where an image was skipped.

    Parameters
    ----------
    images : Images
    parts : iterator of (sequence of int, Tensor of shape (n_images, ...))
        Which images a batch holds, and what was computed of them, on any device.
    shape : tuple of int
        Of what is computed of one image.
    missing : object

    Returns
    -------
    ndarray of shape (len(images), *shape)
    """
    # From a GPU they come while it works on the next.
    pairs = [(indices, part.to("cpu", non_blocking=True)) for indices, part in parts]
    images.warn_of_failures()
    found = [index for indices, _ in pairs for index in indices]
    joined = join_on_host(part for _, part in pairs) if pairs else np.empty((0, *shape))
    if len(found) == len(images):
        return joined
    whole = np.full((len(images), *shape), missing, dtype=joined.dtype if pairs else None)
    whole[found] = joined
    return whole

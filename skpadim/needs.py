"""How much memory a fit takes at its peak: known before the first photo, from shapes alone.

On a CPU fits took what is said here, to about a fifth, and small ones up to 60 MB more, which libraries keep
for themselves (``benchmarks/needs.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import prod
from numbers import Integral
from typing import NamedTuple, Self

from .growth.patches import MIN_IMAGES
from .images.resizing import images_at_a_time
from .kernels.leave_one_out import BAND_BYTES, CHUNK_BYTES, GROUP_CHUNKS, GROUP_SHARE
from .kernels.pooling import pooled_shapes, pooling
from .kernels.prefix import PrefixTree
from .kernels.scoring import UNPACKED_PIXELS
from .kernels.whitening import n_entries
from .parallel.partition import part_size
from .pyramid import CoarseToFine

Shape = tuple[int, int, int]

_DOUBLE = 8
# What an error proposes: sides of images and numbers of channels so many times as large, and sizes of the
# calibration sample, where 5 % of false alarms ask for 19.
_FACTORS = (3 / 4, 1 / 2, 3 / 8, 1 / 4, 3 / 16, 1 / 8)
_CALIBRATION = (200, 100, 50)
# A fit is refused where this share of its need is not there: what it takes is known to about a fifth.
_SURELY = 0.8
# Rows of the calibration sample come in blocks, of which only what is used counts.
_SAMPLE_BLOCK = 64
# Photos that are left out together, at least.
_LEAST_OF_GROUP = 2
# Moments of parts that jobs send, that are packed, unpacked and merged.
_N_ON_THEIR_WAY = 5


@dataclass(frozen=True)
class Plan:
    """What decides how much memory a fit takes.

    Attributes
    ----------
    shapes : tuple of (int, int, int)
        Channels kept, height and width of every layer.
    image_size : (int, int)
        Height and width in pixels of what the network sees.
    n_images : int
        Photos to learn from.
    n_calibration, batch_size : int
        See :class:`skpadim.PaDiMDetector`.
    activation_bytes : int
        Of the largest tensor in the network, for one photo.
    tile_bytes : int or None
        Of the largest tensor for one tile, where photos pass the network in tiles; None: they pass whole.
    at_a_time_bytes : int or None
        What the photos that pass the network together may take of such tensors; None: all of a batch do.
    itemsize : int
        Bytes of a feature: 4, or 8 where the network computes in float64.
    n_spare : int or None
        Photos that a growing detector keeps beside the calibration sample; None: it does not grow.
    largest_group : int
        Photos that are left out together, at most.
    n_jobs : int
        Jobs that share the photos out. More than one are processes of their own, which are not counted.
    """

    shapes: tuple[Shape, ...]
    image_size: tuple[int, int]
    n_images: int
    n_calibration: int = 500
    batch_size: int = 32
    activation_bytes: int = 0
    tile_bytes: int | None = None
    at_a_time_bytes: int | None = None
    itemsize: int = 4
    n_spare: int | None = None
    largest_group: int = 1
    n_jobs: int = 1

    @property
    def n_together(self) -> int:
        """Photos of a batch."""
        return min(images_at_a_time(self.batch_size, self.image_size), self.n_images)

    @property
    def n_channels(self) -> int:
        """Channels of all layers."""
        return sum(shape[0] for shape in self.shapes)

    def at_size(self, factor: float) -> Self:
        """Return the plan for images whose sides are so many times as long."""
        shapes = tuple((c, _side(h, factor), _side(w, factor)) for c, h, w in self.shapes)
        height, width = (_side(side, factor) for side in self.image_size)
        activation = round(self.activation_bytes * factor**2)
        return replace(self, shapes=shapes, image_size=(height, width), activation_bytes=activation)

    def with_channels(self, factor: float) -> Self:
        """Return the plan for so many times as many channels."""
        return replace(self, shapes=tuple((_side(c, factor), h, w) for c, h, w in self.shapes))


class MemoryNeed(NamedTuple):
    """How much memory a detector takes beside imports and network, in bytes on the device."""

    #: A fit, at its peak.
    fit: int
    #: The fitted detector, and what a batch of photos takes in it.
    score: int


def check_n_images(n_images: object) -> int:
    """Return how many photos there will be to learn from.

    Raises
    ------
    TypeError, ValueError
        If it is no whole number, or less than a fit takes.
    """
    if not isinstance(n_images, Integral) or isinstance(n_images, bool):
        raise TypeError(f"n_images={n_images!r} must be an int: how many photos there are to learn from.")
    if n_images < MIN_IMAGES:
        raise ValueError(f"n_images={n_images!r} must be at least {MIN_IMAGES}: fewer photos teach nothing.")
    return int(n_images)


def _side(length: int, factor: float) -> int:
    return max(1, round(length * factor))


@dataclass(frozen=True)
class _Sizes:
    """Numbers that several needs are made of; layers stand coarse to fine."""

    own: list[int]
    above: list[int]
    n_nodes: list[int]
    n_distinct: list[int]
    n_patches: int
    n_under_coarse: int

    @classmethod
    def of(cls, shapes: Sequence[Shape]) -> Self:
        """Return the numbers of layers of these shapes, which may come in any order."""
        ordered = CoarseToFine(shapes).shapes
        tree = PrefixTree.from_shapes([shape[1:] for shape in ordered])
        own = [shape[0] for shape in ordered]
        return cls(
            own,
            [total - channels for total, channels in zip(accumulate(own), own, strict=True)],
            [tree.n_nodes(depth) for depth in range(tree.depth)],
            [prod(grid) for grid in tree.grids],
            prod(tree.fine_shape),
            prod(tree.family_sizes),
        )

    @property
    def rows(self) -> list[int]:
        """Numbers in the blocks of all nodes, per depth."""
        blocks = zip(self.n_nodes, self.own, self.above, strict=True)
        return [nodes * own * (above + own) for nodes, own, above in blocks]

    @property
    def packed(self) -> int:
        """Numbers in the whitening rows, without their zeros."""
        blocks = zip(self.n_distinct, self.own, self.above, strict=True)
        return sum(nodes * n_entries(own, above) for nodes, own, above in blocks)


def fit_bytes(plan: Plan) -> int:
    """Return how much memory a fit takes at its peak, beside what is in memory when the network is built.

    It counts what surely is needed, and not the photos as they are decoded.

    Parameters
    ----------
    plan : Plan

    Returns
    -------
    int
        Bytes, on the device.

    Notes
    -----
    The peak is while batches come, with the moments, the calibration sample, and what a batch takes; or while
    factors are made, with moments, sample, whitening rows and leave-one-out distances, and what
    :func:`skpadim.kernels.leave_one_out.factor_and_leave_one_out` works with. When the scorer is laid out,
    the moments, of which its rows are half, are gone; not so of a detector that grows. A call of its
    ``partial_fit`` takes as much beside what is carried already: it learns in a copy of that. With several
    jobs, batches come in these, and here the moments of parts: one for every doubling of their number, and
    five that are on their way into these (measured, for two jobs and for four).

    Examples
    --------
    >>> plan = Plan(((14, 56, 56), (29, 28, 28), (57, 14, 14)), (224, 224), n_images=500)
    >>> round(fit_bytes(plan) / 1e6)
    260
    """
    sizes = _Sizes.of(plan.shapes)
    moments = _DOUBLE * (sum(sizes.rows) + sum(map(prod, zip(sizes.n_nodes, sizes.own, strict=True))))
    n_kept = min(plan.n_images, plan.n_calibration + (plan.n_spare or 0))
    n_features = sum(map(prod, plan.shapes))
    sample = plan.itemsize * n_features * n_kept
    # Left out with their groups, photos are left out alone, too.
    n_left_out = n_kept if plan.largest_group < _LEAST_OF_GROUP else 2 * n_kept
    result = plan.itemsize * (sizes.packed + n_features) + _DOUBLE * n_left_out * sizes.n_patches
    scorer = 0 if plan.n_spare is None else _unpacked_bytes(plan, sizes)
    learning = _batch_bytes(plan) if plan.n_jobs == 1 else moments * (_n_growths(plan) - 1)
    return (
        moments
        + sample
        + max(learning, result + max(_working_bytes(sizes, n_kept, plan.largest_group), scorer))
    )


def _n_growths(plan: Plan) -> int:
    """Return how many growths are held where parts of a fit come from several jobs."""
    n_parts = -(-plan.n_images // part_size(plan.n_images, plan.n_together))
    return (n_parts - 1).bit_length() + _N_ON_THEIR_WAY


def score_bytes(plan: Plan) -> int:
    """Return how much memory a fitted detector and a batch of photos that it scores take.

    Parameters
    ----------
    plan : Plan

    Returns
    -------
    int
        Bytes, on the device, beside imports and network, and without the maps of photos before.
    """
    sizes, n_features = _Sizes.of(plan.shapes), sum(map(prod, plan.shapes))
    held = plan.itemsize * (sizes.packed + 2 * n_features) + _unpacked_bytes(plan, sizes)
    # Features less their means beside them; a distance and two maps in the making for each photo.
    per_photo = plan.itemsize * (n_features + 2 * sizes.n_patches + 2 * prod(plan.image_size))
    return held + _batch_bytes(plan) + plan.n_together * per_photo


def _unpacked_bytes(plan: Plan, sizes: _Sizes) -> int:
    """Return what whitening rows take once more, as they are laid out for scoring."""
    return 0 if prod(plan.image_size) > UNPACKED_PIXELS else plan.itemsize * sum(sizes.rows)


def _batch_bytes(plan: Plan) -> int:
    """Return what a batch takes: pixels, the next ones too, features, those before, and activations."""
    largest = plan.activation_bytes
    if plan.tile_bytes is not None:
        largest = min(largest, plan.tile_bytes)
    at_once = plan.n_together * largest
    if plan.at_a_time_bytes is not None:
        at_once = min(at_once, max(plan.at_a_time_bytes, largest))
    features = plan.itemsize * sum(map(prod, plan.shapes))
    # What gives the largest activation has an input, mostly half as large or larger.
    return at_once * 3 // 2 + plan.n_together * (2 * features + 2 * 3 * prod(plan.image_size))


def _working_bytes(sizes: _Sizes, n_images: int, largest_group: int) -> int:
    """Return what making factors and leaving images out works with, beside arguments and results."""
    alone = _working_bytes_alone(sizes, n_images)
    if largest_group < _LEAST_OF_GROUP:
        return alone
    per_photo = _DOUBLE * sum(sizes.own) * sizes.n_under_coarse
    of_all = per_photo * sizes.n_nodes[0] * n_images
    return max(alone, GROUP_CHUNKS * min(of_all, max(CHUNK_BYTES // GROUP_SHARE, per_photo * largest_group)))


def _working_bytes_alone(sizes: _Sizes, n_images: int) -> int:
    """Return it where no images are left out together."""
    n_channels = sum(sizes.own)
    per_coarse = _DOUBLE * n_channels * sizes.n_under_coarse
    n_coarse = max(1, min(sizes.n_nodes[0], BAND_BYTES // (per_coarse * n_channels)))
    band = _DOUBLE * sum(sizes.rows) // sizes.n_nodes[0] * n_coarse
    n_together = max(1, min(n_images, _SAMPLE_BLOCK, CHUNK_BYTES // (per_coarse * n_coarse)))
    # Features of a chunk, centred; those before it, if any, go when these are there.
    of_depths = [
        _DOUBLE * n_together * n_coarse * n_nodes // sizes.n_nodes[0] * own
        for n_nodes, own in zip(sizes.n_nodes, sizes.own, strict=True)
    ]
    centred = sum(of_depths)
    before = centred if n_images > n_together else 0
    # A depth below the first is whitened by two products, the first by one.
    whitened = max(of_depths[0], *(2 * of_depth for of_depth in of_depths[1:]), 0)
    return max(2 * band, band + centred + max(before + centred // 2, whitened))


def check_room(
    plan: Plan,
    available: int | None,
    layer_names: Sequence[str],
    *,
    device: str = "cpu",
    size_name: str = "image_size",
) -> None:
    """Refuse a fit for which there surely is too little memory.

    Parameters
    ----------
    plan : Plan
    available : int or None
        Bytes on the device, see :func:`skpadim.base.available.available_bytes`; None: nobody knows.
    layer_names : sequence of str
        The layers of ``plan.shapes``.
    device : str, default="cpu"
        What to call the device in a message.
    size_name : str, default="image_size"
        The parameter that decides ``plan.image_size``; ``crop_size`` where images are cropped.

    Raises
    ------
    ValueError
        It says how much is needed, how much is there, and what to lower.
    """
    needed = fit_bytes(plan)
    if available is None or _SURELY * needed <= available:
        return
    raise ValueError(
        f"{size_name}={_size_in_words(plan.image_size)} with {plan.n_channels} channels takes about "
        f"{in_words(needed)} of memory on {device} to fit, and {in_words(available)} are there. "
        f"{_way_out(plan, available, layer_names, size_name)}"
    )


def _way_out(plan: Plan, available: int, layer_names: Sequence[str], size_name: str) -> str:
    """Say which parameters to lower, each with what a fit would take then."""
    ways = []
    for options in _options(plan, layer_names, size_name):
        needs = ((text, fit_bytes(lowered)) for text, lowered in options)
        # The mildest that is enough.
        ways += [f"with {text} it takes {in_words(need)}" for text, need in needs if need <= available][:1]
    if ways:
        return f"Lower one of these: {'; '.join(ways)}."
    return f"Lower {size_name}, n_channels and layers: none of them is enough alone."


def _options(plan: Plan, layer_names: Sequence[str], size_name: str) -> Iterator[Iterable[tuple[str, Plan]]]:
    """Yield, for one parameter after the other, lower values and their plans, the mildest first."""
    n_kept = min(plan.n_calibration, plan.n_images)
    smaller = (plan.at_size(factor) for factor in _FACTORS)
    yield ((f"{size_name}={_size_in_words(lowered.image_size)}", lowered) for lowered in smaller)
    fewer = (plan.with_channels(factor) for factor in _FACTORS)
    yield ((f"n_channels={lowered.n_channels}", lowered) for lowered in fewer)
    yield _without_fine_layers(plan, layer_names)
    # A sample has to hold two groups, as large as they may be.
    fewest = 1 if plan.largest_group == 1 else 2 * plan.largest_group
    samples = (replace(plan, n_calibration=n) for n in _CALIBRATION if fewest <= n < n_kept)
    yield ((f"n_calibration={lowered.n_calibration}", lowered) for lowered in samples)
    yield _on_coarser_grids(plan, layer_names)
    batches = (replace(plan, batch_size=n) for n in (8, 1) if n < plan.n_together)
    yield ((f"batch_size={lowered.batch_size}", lowered) for lowered in batches)


def _without_fine_layers(plan: Plan, layer_names: Sequence[str]) -> Iterator[tuple[str, Plan]]:
    """Yield plans of the coarser layers alone, from which as many channels are drawn in all."""
    order = CoarseToFine(plan.shapes).indices
    for n_layers in range(len(order) - 1, 0, -1):
        kept = sorted(order[:n_layers])
        lowered = replace(plan, shapes=tuple(plan.shapes[index] for index in kept))
        lowered = lowered.with_channels(plan.n_channels / lowered.n_channels)
        yield f"layers={[layer_names[index] for index in kept]}", lowered


def _on_coarser_grids(plan: Plan, layer_names: Sequence[str]) -> Iterator[tuple[str, Plan]]:
    """Yield plans whose patches are 2, 4 and 8 times as far apart, as far as cells are whole."""
    stride = min(round(plan.image_size[0] / height) for _, height, _ in plan.shapes)
    for wider in (2 * stride, 4 * stride, 8 * stride):
        try:
            factors = pooling(wider, layer_names, plan.shapes, plan.image_size)
        except ValueError:
            continue
        yield f"patch_stride={wider}", replace(plan, shapes=tuple(pooled_shapes(plan.shapes, factors)))


def _size_in_words(size: tuple[int, int]) -> str:
    return str(size[0] if size[0] == size[1] else size)


def in_words(n_bytes: int) -> str:
    """Return a number of bytes as a person says it."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"

"""What a network sees of photos that lie as they lie: photos on the way in, frames on the way out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .alignment.view import AlignedView
from .coordinates import PhotoFrame, PlacedBatch
from .images.arrays import Size
from .images.collection import Images
from .images.hidden import hidden_patches, rarely_seen
from .images.placing import DRAFT, Place, Placer, Window

# Photos of so many sizes are known at a time: mostly all have one.
_N_SIZES = 64

_NOTHING_SEEN = (
    "resize='pad': of every patch more than a quarter is padding in more than one in ten good photos, or is "
    "to be ignored. Pass an image_size, (height, width), of about the aspect of the photos, or another way."
)
_NOTHING_SEEN_OF_PARTS = (
    "align: no place of the part is seen in nine of ten good photos, once they are moved, and is not to be "
    "ignored. Lower max_shift of a PartAligner, or pass align=None."
)

# Padded, also the patches (rows, columns) that are hidden.
_Known: TypeAlias = tuple[Place, PhotoFrame, Tensor | None]


class PhotoView:
    """Photos as they lie, for the sizes of a network.

    Parameters
    ----------
    way : {"stretch", "pad", "crop"}
    resized, seen : (int, int)
        Height and width of a photo before and after the crop.
    patches : (int, int)
        Rows and columns of the network's finest grid.
    interpolation : {"bilinear", "bicubic"}
        How to resize.
    mean : sequence of float
        What the network takes from pixels in [0, 1]: the colour of padding.
    """

    def __init__(
        self, way: str, resized: Size, seen: Size, patches: Size, interpolation: str, mean: Sequence[float]
    ) -> None:
        self._way, self._resized, self._seen, self._patches = way, resized, seen, patches
        self._placer = Placer(way, resized, seen, interpolation, mean)
        self._found: dict[Size, _Known] = {}

    @property
    def place(self) -> Callable[[Tensor, Size], tuple[Tensor, None]] | None:
        """What takes a photo to what the network sees of it; None where it is resized and cropped alone."""
        return None if self._way == "stretch" else self._placer

    def least(self, size: Size) -> Size:
        """Return to which height and width a photo of this size may be reduced before it is resized."""
        height, width = self._known(size)[0].resized
        return DRAFT * height, DRAFT * width

    def batch(self, placements: Sequence[object], sizes: Sequence[Size]) -> PlacedBatch:
        """Return what is known of photos of some sizes, of which no part was looked for."""
        return PlacedBatch([self._known(size)[1] for size in sizes], self._hidden(sizes))

    def shown(self, sizes: Sequence[Size]) -> list[Window] | None:
        """Return the windows of what the network sees that show photos of some sizes; None if all do."""
        return [self._known(size)[0].of_seen for size in sizes] if self._way == "pad" else None

    def note_astray(self, images: Images, batch: PlacedBatch, indices: Sequence[int]) -> None:
        """Note nothing: no part was looked for."""

    def rarely_seen(self, sizes: Sequence[Size]) -> NDArray[np.bool_] | None:
        """Return the pixels that the network sees of too few of some good photos to learn them."""
        hidden = self._hidden(sizes)
        return None if hidden is None else rarely_seen(hidden, self._seen)

    def _hidden(self, sizes: Sequence[Size]) -> Tensor | None:
        hidden = [patches for _, _, patches in map(self._known, sizes) if patches is not None]
        return torch.stack(hidden) if hidden else None

    def _known(self, size: Size) -> _Known:
        """Return place and frame of photos of a size, and the patches that these hide."""
        found = self._found.get(size)
        if found is None:
            place = Place.of(size, self._resized, self._seen, self._way)
            frame = PhotoFrame(place.resized, place.seen, place.canvas)
            pads = self._way == "pad"
            hidden = hidden_patches(place.padding()[None], self._patches)[0] if pads else None
            found = place, frame, hidden
            if len(self._found) >= _N_SIZES:
                self._found.clear()
            self._found[size] = found
        return found


def uncounted(
    view: PhotoView | AlignedView, given: NDArray[np.bool_] | None, sizes: Sequence[Size]
) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
    """Return the pixels that count for nothing in all photos, and those of them that get one colour.

    Parameters
    ----------
    view : PhotoView or AlignedView
    given : ndarray of shape (height, width), bool, or None
        What the user says is to be ignored.
    sizes : sequence of (int, int)
        Height and width of some good photos.

    Returns
    -------
    ignored, painted : ndarray of shape (height, width), bool, or None

    Raises
    ------
    ValueError
        If no pixel is left.
    """
    rarely, moves = view.rarely_seen(sizes), isinstance(view, AlignedView)
    ignored = rarely if given is None else given if rarely is None else rarely | given
    if ignored is None or not ignored.any():
        return None, None
    if ignored.all():
        raise ValueError(_NOTHING_SEEN_OF_PARTS if moves else _NOTHING_SEEN)
    # Moved photos show this and that in places that are rarely seen; padding has its colour already.
    return ignored, ignored if moves else given

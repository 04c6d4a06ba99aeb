"""Connected regions of a photo that are marked as anomalous: their boxes, areas and peaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .coordinates import PhotoFrame
from .images.arrays import Size

# Pixels that touch by a corner belong together.
_NEIGHBOURS = np.ones((3, 3), dtype=np.int8)


@dataclass(frozen=True)
class Region:
    """A connected part of a photo that is marked as anomalous, in the photo's own pixels.

    Attributes
    ----------
    top, left : int
        Its first row and column.
    height, width : int
        Of the box around it.
    area : int
        Its marked pixels.
    peak : float
        The highest anomaly score in it; the highest of all regions is the photo's score.
    peak_row, peak_column : int
        Where that is.
    """

    top: int
    left: int
    height: int
    width: int
    area: int
    peak: float
    peak_row: int
    peak_column: int


def find_regions(
    seen_map: Tensor, seen_mask: Tensor, size: Size, frame: PhotoFrame, min_area: int
) -> tuple[Region, ...]:
    """Return the connected regions that are marked, the highest peak first.

    Parameters
    ----------
    seen_map, seen_mask : Tensor of shape (height, width)
        The anomaly map, and its marked pixels, at the size that the network sees.
    size : (int, int)
        Height and width of the photo.
    frame : PhotoFrame
        The way to the photo's own pixels; regions are those of :meth:`PhotoFrame.mask_at`, where pixels that
        touch by a corner are connected.
    min_area : int
        Smaller regions, in pixels of the photo, are left out.

    Returns
    -------
    tuple of Region
    """
    rows, columns = np.nonzero(seen_mask.numpy())
    if not len(rows):
        return ()
    # Resampled to the size of the photo a peak may be lost: it is read where the network sees it.
    scores = seen_map.numpy()[rows, columns]
    rows, columns = frame.pixels_at(rows, columns, size)
    from scipy import ndimage

    labels, _ = ndimage.label(frame.mask_at(seen_mask, size).numpy(), structure=_NEIGHBOURS)
    areas, boxes = np.bincount(labels.ravel()), ndimage.find_objects(labels)
    return tuple(
        _region(boxes[label - 1], int(areas[label]), float(scores[peak]), int(rows[peak]), int(columns[peak]))
        for label, peak in _peaks(labels[rows, columns], scores)
        if areas[label] >= min_area
    )


def _peaks(labels: NDArray[np.int32], scores: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return each label, and where among the scores its highest is, the highest of all first."""
    falling = np.argsort(-scores, kind="stable")
    found, first = np.unique(labels[falling], return_index=True)
    return [(int(found[rank]), int(falling[first[rank]])) for rank in np.argsort(first)]


def _region(box: tuple[slice, slice], area: int, peak: float, row: int, column: int) -> Region:
    rows, columns = box
    size = rows.stop - rows.start, columns.stop - columns.start
    return Region(rows.start, columns.start, *size, area, peak, row, column)

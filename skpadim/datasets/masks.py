"""Masks that are read or drawn when they are asked for, so that a data set of any size holds none."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..images.decoding import decode_mask, quote
from .files import open_array
from .outlines import fill, unroll


class LazyMask(ABC):
    """A mask that is no file of its own: an array-like (height, width), True on the anomaly."""

    @abstractmethod
    def _read(self) -> NDArray[np.bool_]:
        """Return the mask, an array of its own."""

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError(f"{self} is made when it is asked for: it cannot be had without a copy.")
        marked = self._read()
        return marked if dtype is None else marked.astype(dtype)


@dataclass(frozen=True)
class FrameMask(LazyMask):
    """The mask of one frame of a video, read from the video's file when it is asked for.

    An array-like of shape (height, width), True on the anomaly: the functions of
    `skpadim.metrics` take it as they take an array, and ``np.asarray(mask)`` makes one of it.

    Parameters
    ----------
    path : str
        A ``.npy`` file of shape (n_frames, height, width), 0 for normal.
    frame : int
        Which of its frames, from 0.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from skpadim.datasets import FrameMask
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = str(Path(folder, "01_0014.npy"))
    ...     np.save(path, np.array([[[0, 0]], [[0, 1]]]))
    ...     np.asarray(FrameMask(path, 1)).tolist()
    [[False, True]]
    """

    path: str
    frame: int

    def _read(self) -> NDArray[np.bool_]:
        return np.array(open_array(Path(self.path))[self.frame]) != 0


@dataclass(frozen=True)
class UnionMask(LazyMask):
    """The mask of a photo whose defects are marked in several files: True where one of them is not 0.

    An array-like of shape (height, width), as `FrameMask`.

    Parameters
    ----------
    paths : tuple of str
        Image files of one size, one for each defect. They are read when the mask is asked for.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skpadim.datasets import UnionMask
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = (str(Path(folder, "000.png")), str(Path(folder, "001.png")))
    ...     for path, row in zip(paths, [[255, 0, 0], [0, 0, 254]]):
    ...         Image.fromarray(np.array([row], dtype=np.uint8)).save(path)
    ...     np.asarray(UnionMask(paths)).tolist()
    [[True, False, True]]
    """

    paths: tuple[str, ...]

    def _read(self) -> NDArray[np.bool_]:
        masks = [_read_file(path) for path in self.paths]
        for path, mask in zip(self.paths, masks, strict=True):
            if mask.shape != masks[0].shape:
                raise ValueError(
                    f"{path!r} has shape {mask.shape}, {self.paths[0]!r} {masks[0].shape}; expected masks of "
                    "one photo to have one size."
                )
        return np.logical_or.reduce(masks)


@dataclass(frozen=True)
class DrawnMask(LazyMask):
    """The mask of a photo whose defects are outlined or run-length encoded, drawn when it is asked for.

    An array-like of shape (height, width), as `FrameMask`. `load_coco_masks`, `load_labelme_masks` and
    `load_yolo_masks` read such masks from the files of annotation tools.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the photo in pixels.
    outlines : tuple of outlines, default=()
        An outline is a tuple of at least three (x, y), in pixels from the photo's upper left corner, so
        that the middle of the first pixel is (0.5, 0.5). A pixel is marked if its middle is inside: where
        an odd number of the outline's edges lies to its left, so that an outline may run around a hole and
        back. One too thin to hold a middle marks the pixels it runs through. Several are drawn over
        each other.
    runs : tuple of runs, default=()
        Runs are a tuple of int: how many pixels are good, how many defective, and so on, column after
        column, as in COCO.

    Raises
    ------
    ValueError
        If an outline has fewer than three points or one at infinity, or if runs
        are negative or not as many as pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from skpadim.datasets import DrawnMask
    >>> mask = DrawnMask((2, 4), outlines=(((0, 0), (2, 0), (2, 2), (0, 2)),), runs=((6, 1, 1),))
    >>> np.asarray(mask).astype(int)
    array([[1, 1, 0, 1],
           [1, 1, 0, 0]])
    """

    shape: tuple[int, int]
    outlines: tuple[tuple[tuple[float, float], ...], ...] = ()
    runs: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        height, width = self.shape
        for outline in self.outlines:
            if len(outline) < 3 or not np.isfinite(outline).all():
                raise ValueError(f"an outline is {outline}; expected three points or more, all finite.")
        for runs in self.runs:
            if sum(runs) != height * width or min(runs) < 0:
                raise ValueError(
                    f"runs hold {sum(runs)} pixels, the shortest {min(runs, default=0)}; expected "
                    f"{height} x {width} in all, and none negative."
                )

    def _read(self) -> NDArray[np.bool_]:
        marked = np.zeros(self.shape, dtype=bool)
        for outline in self.outlines:
            marked |= fill(outline, self.shape)
        for runs in self.runs:
            marked |= unroll(runs, self.shape)
        return marked


def read_mask(mask: str | os.PathLike[str] | LazyMask | None) -> NDArray[np.bool_] | None:
    """Read a mask: True where it is not zero, so in the masks of several kinds of defect, too.

    ``map(read_mask, masks_test)`` turns what any loader returns into masks for `skpadim.metrics`, one
    at a time.

    Parameters
    ----------
    mask : str, path-like, FrameMask, UnionMask, DrawnMask or None
        A mask as in ``masks_test``. In a mask with colours, any colour but black is a defect, and what is
        transparent is none; a palette that starts with black numbers labels, of which 0 is none.

    Returns
    -------
    ndarray of shape (height, width), bool, or None
        None if the mask is None: no pixel is anomalous.

    Raises
    ------
    ValueError
        If the file cannot be read as an image, or is a JPEG, whose black is not 0 everywhere.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skpadim.datasets import read_mask
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "000_mask.png")
    ...     Image.fromarray(np.array([[0, 3, 7]], dtype=np.uint8)).save(path)
    ...     read_mask(path)
    array([[False,  True,  True]])
    """
    if mask is None:
        return None
    return np.asarray(mask) if isinstance(mask, LazyMask) else _read_file(mask)


def _read_file(path: str | os.PathLike[str]) -> NDArray[np.bool_]:
    return np.asarray(decode_mask(path, f"mask={quote(path)}") != 0)

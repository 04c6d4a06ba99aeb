"""Masks from YOLO's text files: polygons in fractions of the photo, a file for each photo."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import validate_params

from ..images.decoding import quote
from .annotations import LABELS, PathLike, Paths, as_objects, beside, drawn, upright_size
from .files import lines_of, refuse_absent
from .outlines import Outline, as_outline, box


@validate_params({**LABELS, "folder": [str, os.PathLike, None]}, prefer_skip_nested_validation=True)
def load_yolo_masks(
    photos: Paths,
    folder: PathLike | None = None,
    *,
    labels: Sequence[int] | None = None,
) -> NDArray[np.object_]:
    """Load the masks of photos from YOLO's text files, a file for each photo that has defects.

    Parameters
    ----------
    photos : array-like of str or path-like
        As of `load_coco_masks`.
    folder : str or path-like, default=None
        Folder of the text files, each of its photo's name. None: beside the photos. A line is the
        number of a class and the corners of a polygon, ``0 x y x y x y``, or a box, ``0 x y width height``
        with its middle at (x, y): fractions of the photo's width and height. A polygon may run around
        a hole and back.
    labels : sequence of int, default=None
        Classes that are defects. None: all.

    Returns
    -------
    ndarray of shape (n_photos,), object
        As of `load_coco_masks`; None for a photo without a file, or in whose file nothing is marked.

    Raises
    ------
    ValueError
        If no photo has a file, or a line is not as expected.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skpadim.datasets import load_yolo_masks
    >>> with tempfile.TemporaryDirectory() as root:
    ...     photo = Path(root, "0.png")
    ...     Image.new("L", (4, 2)).save(photo)
    ...     _ = photo.with_suffix(".txt").write_text("0 0.5 0 1 0 1 1 0.5 1")
    ...     masks = load_yolo_masks([photo])
    >>> np.asarray(masks[0]).astype(int)
    array([[0, 0, 1, 1],
           [0, 0, 1, 1]])
    """
    paths = [Path(os.fspath(photo)) for photo in photos]
    files = [beside(path, folder, ".txt") for path in paths]
    if files and not any(file.is_file() for file in files):
        refuse_absent(files[0], f"YOLO's text file of {quote(paths[0])}, or of another photo")
    masks = []
    for path, file in zip(paths, files, strict=True):
        size = upright_size(path)
        lines = lines_of(file) if file.is_file() else ()
        read = [
            _yolo_outline(line, size, f"line {i} of {quote(file)}")
            for i, line in enumerate(lines, 1)
            if line.strip()
        ]
        outlines = [outline for label, outline in read if labels is None or label in labels]
        masks.append(drawn(size, outlines, [], quote(file)))
    return as_objects(masks)


def _yolo_outline(line: str, size: tuple[int, int], name: str) -> tuple[int, Outline]:
    height, width = size
    try:
        label, *values = [float(word) for word in line.split()]
        # Tools write 1.0000001 for 1.
        if not label.is_integer() or len(values) % 2 or len(values) < 4 or not _all_within(values, 1e-3):
            raise ValueError("not so many, or none of these")
    except ValueError as error:
        raise ValueError(
            f"{name} is {line.strip()[:80]!r}; expected the number of a class and the x and y of three "
            "corners or more, or x, y, width and height of a box: fractions of the photo from 0 to 1."
        ) from error
    if len(values) == 4:
        x, y, w, h = values
        outline = box((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
        return int(label), outline
    return int(label), as_outline(
        (x * width, y * height) for x, y in zip(values[::2], values[1::2], strict=True)
    )


def _all_within(values: list[float], tolerance: float) -> bool:
    return all(-tolerance <= value <= 1 + tolerance for value in values)

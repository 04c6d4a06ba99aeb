"""Masks from LabelMe's json: polygons, boxes, circles and small masks, a file for each photo."""

from __future__ import annotations

import base64
import binascii
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.utils._param_validation import validate_params

from ..images.decoding import quote
from .annotations import (
    LABELS,
    ONLY_DEFECTIVE,
    PathLike,
    Paths,
    Runs,
    as_objects,
    beside,
    checked_size,
    drawn,
    refuse_unknown,
    rows_of,
    short,
)
from .files import read_json
from .masks import DrawnMask
from .outlines import Outline, as_outline, box, circle, roll


@validate_params({**LABELS, "folder": [str, os.PathLike, None]}, prefer_skip_nested_validation=True)
def load_labelme_masks(
    photos: Paths,
    folder: PathLike | None = None,
    *,
    labels: Sequence[str] | None = None,
) -> NDArray[np.object_]:
    """Load the masks of photos from LabelMe's json, a file for each photo.

    Parameters
    ----------
    photos : array-like of str or path-like
        As of `load_coco_masks`.
    folder : str or path-like, default=None
        Folder of the json files, each of its photo's name. None: beside the photos.
    labels : sequence of str, default=None
        Labels that are defects. None: all. Polygons, rectangles, circles and masks are drawn; lines and
        points have no area, and are refused.

    Returns
    -------
    ndarray of shape (n_photos,), object
        As of `load_coco_masks`; None for a photo in whose file nothing is marked.

    Raises
    ------
    ValueError
        If a photo has no file, or one that is not as expected or for another size.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skpadim.datasets import load_labelme_masks
    >>> shape = {"label": "dent", "shape_type": "polygon", "points": [[0, 0], [2, 0], [2, 1], [0, 1]]}
    >>> with tempfile.TemporaryDirectory() as root:
    ...     photo = Path(root, "0.png")
    ...     Image.new("L", (3, 2)).save(photo)
    ...     content = {"shapes": [shape], "imageHeight": 2, "imageWidth": 3}
    ...     _ = photo.with_suffix(".json").write_text(json.dumps(content))
    ...     masks = load_labelme_masks([photo])
    >>> np.asarray(masks[0]).astype(int)
    array([[1, 1, 0],
           [0, 0, 0]])
    """
    paths = [Path(os.fspath(photo)) for photo in photos]
    files = [beside(path, folder, ".json") for path in paths]
    contents = [
        read_json(file, f"LabelMe's json of {quote(path)}. {ONLY_DEFECTIVE}")
        for path, file in zip(paths, files, strict=True)
    ]
    shapes = [
        rows_of(content, "shapes", ("label", "points"), file)
        for content, file in zip(contents, files, strict=True)
    ]
    if labels is not None:
        refuse_unknown(labels, [shape["label"] for rows in shapes for shape in rows], "the json files")
    masks = []
    for path, file, content, rows in zip(paths, files, contents, shapes, strict=True):
        size = checked_size(path, content.get("imageHeight"), content.get("imageWidth"), file)
        chosen = [row for row in rows if labels is None or row["label"] in labels]
        masks.append(_labelme_mask(chosen, size, f"the shapes of {quote(file)}"))
    return as_objects(masks)


def _labelme_mask(shapes: list[dict[str, Any]], size: tuple[int, int], name: str) -> DrawnMask | None:
    outlines: list[Outline] = []
    runs: list[Runs] = []
    for shape in shapes:
        try:
            points, kind = as_outline(shape["points"]), shape.get("shape_type") or "polygon"
            if kind in ("polygon", "oriented_rectangle"):
                outlines.append(points)
            elif kind == "rectangle":
                (left, top), (right, bottom) = points
                outlines.append(box(left, top, right, bottom))
            elif kind == "circle":
                centre, edge = points
                outlines.append(circle(centre, edge))
            elif kind == "mask":
                runs.append(_labelme_runs(shape["mask"], points[0], size))
            else:
                raise ValueError(f"a {kind} has no area: draw a polygon around the defect")
        except (KeyError, IndexError, TypeError, ValueError, OSError) as error:
            raise ValueError(
                f"{name} are not as expected: a polygon, a rectangle or circle of two points, or a mask; "
                f"found: {short(shape)} ({error})."
            ) from error
    return drawn(size, outlines, runs, name)


def _labelme_runs(png: str, corner: tuple[float, float], size: tuple[int, int]) -> Runs:
    """Return the runs of a mask that is a PNG in text, with its upper left corner at that pixel."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(png, validate=True))) as image:
            part = np.asarray(image) != 0
    except binascii.Error as error:
        raise ValueError(f"the mask is no PNG in base64: {error}") from error
    left, top = (int(value) for value in corner)
    mask = np.zeros(size, dtype=bool)
    place = mask[top : top + part.shape[0], left : left + part.shape[1]]
    if min(left, top) < 0 or place.shape != part.shape:
        raise ValueError(
            f"the mask of shape {part.shape} at row {top}, column {left} is not within the photo"
        )
    place[...] = part
    return roll(mask)

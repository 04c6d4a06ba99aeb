"""Masks from COCO's json: polygons, and runs of pixels, compressed or not."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import validate_params

from ..images.decoding import quote
from .annotations import (
    LABELS,
    ONLY_DEFECTIVE,
    PathLike,
    Paths,
    Runs,
    as_objects,
    checked_size,
    drawn,
    refuse_unknown,
    rows_of,
    short,
)
from .files import listing, read_json
from .masks import DrawnMask
from .outlines import Outline, as_outline, box, decompress


@validate_params({**LABELS, "annotations": [str, os.PathLike]}, prefer_skip_nested_validation=True)
def load_coco_masks(
    photos: Paths,
    annotations: PathLike,
    *,
    labels: Sequence[str] | None = None,
) -> NDArray[np.object_]:
    """Load the masks of photos from COCO's json, the "instances" format.

    Parameters
    ----------
    photos : array-like of str or path-like
        Such as ``X_test`` of a loader. No more is read of them than their size.
    annotations : str or path-like
        The json file. A photo is the one of its ``images`` whose ``file_name`` its path ends in. All of its
        ``segmentation`` counts: the polygons of one are drawn over each other, as by COCO's own tools, so
        that a hole has to be run-length encoded, compressed or not, or be part of its polygon. A
        ``bbox`` counts where there is no segmentation.
    labels : sequence of str, default=None
        Names of the ``categories`` that are defects. None: all.

    Returns
    -------
    ndarray of shape (n_photos,), object
        `DrawnMask`, or None for a photo without annotations; `read_mask` and `skpadim.metrics` take
        both.

    Raises
    ------
    ValueError
        If the file is not as expected, a photo is not in it, or is there twice, or has another size.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skpadim.datasets import load_coco_masks
    >>> content = {
    ...     "images": [{"id": 1, "file_name": "dent/0.png", "width": 3, "height": 2}],
    ...     "categories": [{"id": 1, "name": "dent"}],
    ...     "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [[1, 0, 3, 0, 3, 1, 1, 1]]}],
    ... }
    >>> with tempfile.TemporaryDirectory() as root:
    ...     photo, file = Path(root, "dent", "0.png"), Path(root, "annotations.json")
    ...     photo.parent.mkdir()
    ...     Image.new("L", (3, 2)).save(photo)
    ...     _ = file.write_text(json.dumps(content))
    ...     masks = load_coco_masks([photo], file)
    >>> np.asarray(masks[0]).astype(int)
    array([[0, 1, 1],
           [0, 0, 0]])
    """
    file = Path(annotations)
    content = read_json(file, "COCO's json")
    images = rows_of(content, "images", ("id", "file_name", "width", "height"), file)
    by_name = defaultdict(list)
    for image in images:
        by_name[_parts(image["file_name"])[-1]].append(image)
    wanted = _wanted_categories(content, labels, file)
    marked = defaultdict(list)
    annotated = rows_of(content, "annotations", ("image_id", "category_id"), file)
    if strays := {row["image_id"] for row in annotated} - {image["id"] for image in images}:
        raise ValueError(f"{quote(file)} annotates an image_id {strays.pop()!r} that no image has as its id.")
    for row in annotated:
        if wanted is None or row["category_id"] in wanted:
            marked[row["image_id"]].append(row)

    paths = [Path(os.fspath(photo)) for photo in photos]
    found = [_match(path, by_name[path.name], images, file) for path in paths]
    _refuse_shared(paths, [image["id"] for image in found], file)
    masks = []
    for path, image in zip(paths, found, strict=True):
        size = checked_size(path, image["height"], image["width"], file)
        masks.append(
            _coco_mask(marked[image["id"]], size, f"the annotations of {quote(path)} in {quote(file)}")
        )
    return as_objects(masks)


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(str(name).replace("\\", "/")).parts or ("",)


def _match(path: Path, candidates: list[dict[str, Any]], images: list[Any], file: Path) -> dict[str, Any]:
    """Return the image whose name the photo's path ends in, the longest if there are several."""
    parts = path.absolute().parts
    names = [_parts(image["file_name"]) for image in candidates]
    fitting = [(len(n), i) for i, n in enumerate(names) if n == parts[-len(n) :]]
    best = [i for length, i in fitting if length == max(fitting)[0]]
    if not best:
        there = listing([str(image["file_name"]) for image in images], most=3)
        raise ValueError(
            f"{quote(file)} has no photo {quote(path)}: expected an image whose file_name is the end of that "
            f"path; found: {there}. {ONLY_DEFECTIVE}"
        )
    if len(best) > 1:
        raise ValueError(
            f"{quote(file)} has {len(best)} images named {'/'.join(names[best[0]])!r}; keep one."
        )
    return candidates[best[0]]


def _refuse_shared(paths: list[Path], ids: list[Any], file: Path) -> None:
    owner: dict[Any, Path] = {}
    for path, identity in zip(paths, ids, strict=True):
        other = owner.setdefault(identity, path)
        if other != path:
            raise ValueError(
                f"one image in {quote(file)} may be {quote(other)} or {quote(path)}: write their folders "
                "into its file_name."
            )


def _wanted_categories(content: Any, labels: Sequence[str] | None, file: Path) -> set[Any] | None:
    if labels is None:
        return None
    categories = rows_of(content, "categories", ("id", "name"), file)
    refuse_unknown(labels, [row["name"] for row in categories], file)
    return {row["id"] for row in categories if row["name"] in labels}


def _coco_mask(rows: list[dict[str, Any]], size: tuple[int, int], name: str) -> DrawnMask | None:
    outlines: list[Outline] = []
    runs: list[Runs] = []
    for row in rows:
        shape = row.get("segmentation")
        try:
            if isinstance(shape, dict):
                runs.append(_coco_runs(shape, size))
            elif shape:
                outlines += [as_outline(zip(flat[::2], flat[1::2], strict=True)) for flat in shape]
            else:
                left, top, width, height = row["bbox"]
                outlines.append(box(left, top, left + width, top + height))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{name} are not as expected: a segmentation of polygons [x, y, x, y, ...] or of runs with "
                f"counts and size, or a bbox [x, y, width, height]; found: {short(row)} ({error})."
            ) from error
    return drawn(size, outlines, runs, name)


def _coco_runs(shape: dict[str, Any], size: tuple[int, int]) -> Runs:
    if tuple(shape["size"]) != size:
        raise ValueError(f"the runs are of {shape['size']}, the photo of {list(size)}")
    counts = shape["counts"]
    return decompress(counts) if isinstance(counts, str) else tuple(int(count) for count in counts)

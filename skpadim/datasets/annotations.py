"""What the readers of annotations share: sizes of photos, rows of json files, masks and errors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..images.decoding import quote
from .masks import DrawnMask
from .outlines import Outline

PathLike: TypeAlias = str | os.PathLike[str]
Paths: TypeAlias = Sequence[PathLike] | NDArray[np.str_]
Runs = tuple[int, ...]

LABELS = {"photos": ["array-like"], "labels": ["array-like", None]}
ONLY_DEFECTIVE = "Pass the photos of defects alone if only these are annotated, e.g. X_test[y_test == -1]."
_ORIENTATION = 0x0112  # of EXIF; from 5 on, width and height change places
_WIDTH, _HEIGHT = 256, 257


def drawn(size: tuple[int, int], outlines: list[Outline], runs: list[Runs], name: str) -> DrawnMask | None:
    """Return the mask of outlines and runs, or None without any."""
    if not outlines and not runs:
        return None
    try:
        for outline in outlines:
            _refuse_outside(outline, size)
        return DrawnMask(size, tuple(outlines), tuple(runs))
    except ValueError as error:
        raise ValueError(f"{name} cannot be drawn: {error}") from error


def _refuse_outside(outline: Outline, size: tuple[int, int]) -> None:
    low, high = np.min(outline, axis=0), np.max(outline, axis=0)
    if (high <= 0).any() or (low >= size[::-1]).any():
        raise ValueError(
            f"an outline is within x {low[0]:g} to {high[0]:g} and y {low[1]:g} to {high[1]:g}, outside of "
            f"the photo, {size[1]} wide and {size[0]} high"
        )


def beside(photo: Path, folder: PathLike | None, suffix: str) -> Path:
    """Return the file of a photo's name in a folder, or beside the photo."""
    return (photo.parent if folder is None else Path(folder)) / f"{photo.stem}{suffix}"


def rows_of(content: Any, key: str, keys: tuple[str, ...], file: Path) -> list[dict[str, Any]]:
    """Return the rows of a list in a json file, each of which must have these keys."""
    rows = content.get(key) if isinstance(content, dict) else None
    expected = f"{quote(file)}: expected a list {key!r}, each with {', '.join(keys)}"
    if not isinstance(rows, list):
        raise ValueError(
            f"{expected}; found: {short(sorted(content) if rows is None and content else rows)}."
        )
    if wrong := [row for row in rows if not isinstance(row, dict) or not set(keys) <= set(row)]:
        raise ValueError(f"{expected}; found: {short(wrong[0])}.")
    return rows


def refuse_unknown(labels: Sequence[Any], known: Sequence[Any], file: Path | str) -> None:
    """Raise if one of the labels asked for does not occur."""
    if unknown := [label for label in labels if label not in known]:
        where = quote(file) if isinstance(file, Path) else file
        raise ValueError(
            f"labels: there is no {unknown[0]!r} in {where}; found: {sorted(set(map(str, known)))}."
        )


def checked_size(photo: Path, height: Any, width: Any, file: Path) -> tuple[int, int]:
    """Return height and width of a photo, which a file must agree with."""
    size = upright_size(photo)
    if (height, width) != size:
        raise ValueError(
            f"{quote(file)} annotates {quote(photo)} as of height {height} and width {width}; upright, it is "
            f"{size[0]} and {size[1]}: annotate the photos as they are, neither resized nor turned."
        )
    return size


def upright_size(photo: Path) -> tuple[int, int]:
    """Return height and width of a photo as a person sees it, without decoding it."""
    try:
        with Image.open(photo) as image:
            width, height = image.size
            if image.format == "TIFF":  # Of these, Pillow may have turned the size already.
                tags: Any = image
                width, height = tags.tag_v2[_WIDTH], tags.tag_v2[_HEIGHT]
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
            return (width, height) if turned else (height, width)
    except OSError as error:
        raise ValueError(f"the size of {quote(photo)} cannot be read: {error}") from error


def as_objects(masks: list[DrawnMask | None]) -> NDArray[np.object_]:
    """Return masks as data sets hold them."""
    objects = np.full(len(masks), None, dtype=object)
    for i, mask in enumerate(masks):  # At once, NumPy would draw them all.
        objects[i] = mask
    return objects


def short(value: Any) -> str:
    """Return a value as it stands in messages."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:120]}..."

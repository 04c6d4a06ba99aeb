"""What folders hold: images, subfolders, tables and json, and errors that say what was expected and found."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def images_in(folder: Path, expected: str) -> list[Path]:
    """Return the images in a folder by name; there must be some."""
    images = [path for path in entries_of(folder, expected) if is_image(path)]
    if not images:
        raise ValueError(
            f"there is no image in {str(folder)!r}: expected {expected}; found: {contents(folder)}."
        )
    return images


def subfolders(folder: Path, expected: str) -> list[Path]:
    """Return the folders in a folder by name; there must be some, and no images beside them."""
    entries = entries_of(folder, expected)
    folders = [path for path in entries if path.is_dir()]
    if not folders or any(map(is_image, entries)):
        raise ValueError(f"expected in {str(folder)!r}: {expected}; found: {contents(folder)}.")
    return folders


def entries_of(folder: Path, expected: str) -> list[Path]:
    """Return what a folder holds, by name, without hidden files."""
    if not folder.is_dir():
        raise ValueError(
            f"there is no folder {str(folder)!r}: expected {expected}; found: {contents(folder)}."
        )
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


# Formats of photos that Pillow does not know.
_OURS = {".dcm", ".dicom", ".npy"}


def is_image(path: Path) -> bool:
    """Say whether Pillow, with the plugins imported so far, or we ourselves read files of this suffix."""
    if path.suffix.lower() in _OURS:
        return path.is_file()
    # Asked anew each time: a plugin that is imported later adds suffixes.
    kind = Image.registered_extensions().get(path.suffix.lower())
    return kind in Image.OPEN and path.is_file()


def contents(folder: Path, most: int = 8) -> str:
    """Say what the folder holds; if it is not there, what the nearest folder above it holds."""
    while not folder.is_dir():
        if folder.exists():
            return f"{str(folder)!r}, which is a file"
        folder = folder.parent
    entries = entries_of(folder, "anything")
    return (
        f"{str(folder.absolute())!r} holds {listing([p.name + os.sep * p.is_dir() for p in entries], most)}"
    )


def listing(names: list[str], most: int = 8) -> str:
    """Return the first of the names, quoted, and how many more there are."""
    shown = [repr(name) for name in names[:most]]
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return ", ".join(shown) or "nothing"


def category_folder(root: Path, category: str, known: str, name: str) -> Path:
    """Return the folder of a category, one of those `known`, of the data set of that name."""
    folder = root / category
    if category not in known.split(", ") or not folder.is_dir():
        raise ValueError(
            f"category={category!r} is not there. {name} has {known}; found: {contents(root, most=30)}."
        )
    return folder


def refuse_missing(paths: Iterable[Path], source: Path) -> None:
    """Raise if one of the files that `source` names is not there."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ValueError(
            f"{len(missing)} file(s) that {str(source)!r} names are not there, the first "
            f"{str(missing[0])!r}; found: {contents(missing[0].parent)}."
        )


def lines_of(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, or say that it is none."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            yield from file
    except UnicodeError as error:
        raise ValueError(f"{str(path)!r} is not a text file in UTF-8: {error}.") from error


def read_json(path: Path, expected: str) -> Any:
    """Return what a json file holds."""
    refuse_absent(path, expected)
    try:
        return json.loads("".join(lines_of(path)))
    except json.JSONDecodeError as error:
        raise ValueError(f"{str(path)!r} is not json: {error}; expected {expected}.") from error


def refuse_absent(path: Path, expected: str) -> None:
    """Raise if there is no such file."""
    if not path.is_file():
        raise ValueError(
            f"there is no file {str(path)!r}: expected {expected}; found: {contents(path.parent)}."
        )


def open_array(path: Path) -> NDArray[Any]:
    """Map a ``.npy`` file into memory, so that only what is used of it is read."""
    refuse_absent(path, "an array saved by numpy.save")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as an array: {error}") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{str(path)!r} holds several arrays; expected one, saved by numpy.save.")
    return array

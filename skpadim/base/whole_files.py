"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path in the same folder to write to, and move that file into place once it is whole.

    Whatever fails, what was at the path before stays.

    Raises
    ------
    ValueError
        If there is no such folder, or nobody may write to it.
    """
    target = Path(path)
    refuse_absent_folder(target)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield part
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def all_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path of the same name in a folder beside, and move all that was written there into place.

    For a file that refers to others by their names, which are whatever else lies in the folder at the end.
    They are moved first. If writing fails, or one of them has no place, nothing is moved.

    Raises
    ------
    ValueError
        If there is no such folder, nobody may write to it, or a folder stands where a file should go.
    """
    target = Path(path)
    refuse_absent_folder(target)
    with TemporaryDirectory(dir=target.absolute().parent, prefix=f".{target.name}.") as folder:
        yield Path(folder, target.name)
        parts = sorted(Path(folder).iterdir(), key=lambda part: (part.name == target.name, part.name))
        for part in parts:
            refuse_absent_folder(target.with_name(part.name))
        for part in parts:
            os.replace(part, target.with_name(part.name))


def refuse_absent_folder(path: Path) -> None:
    """Raise if there is no folder to write a file to."""
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{str(path)!r} cannot be written: there is no folder {str(path.parent)!r}.")
    if path.is_dir():
        raise ValueError(f"{str(path)!r} cannot be written: it is a folder; expected the name of a file.")
    if not os.access(path.absolute().parent, os.W_OK):
        raise ValueError(
            f"{str(path)!r} cannot be written: the folder {str(path.parent)!r} is read-only, for you "
            "at least; name another."
        )

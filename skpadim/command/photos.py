"""Which photos a command is about: files, and those in folders, by name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from ..datasets.bunches import Photo
from ..datasets.files import contents, images_in, is_image
from ..datasets.own import is_mask_folder, read_tested, test_folder, training_folder
from .messages import say


@dataclass(frozen=True)
class Chosen:
    """Photos, by their paths in order.

    Attributes
    ----------
    paths : list of str
        As they were given: a file, or the folder and the file in it.
    root : Path
        The folder to which names of pictures of them are relative.
    labels : dict of str to Photo
        What the folders say of photos to test on, by their paths: kinds of defects, and masks.
    """

    paths: list[str]
    root: Path
    labels: dict[str, Photo]

    def name(self, path: str) -> Path:
        """Return the path of a photo below the root."""
        return Path(os.path.relpath(path, self.root))


def find_photos(inputs: Sequence[Path], *, without: Sequence[Path] = ()) -> Chosen:
    """Return the photos that are given, and those in the folders that are given, sorted, none twice.

    Of a folder with good photos to train on and others to test on, the latter. Folders `without`, to which
    pictures are written, are left out of the folders that they are in.

    Raises
    ------
    ValueError
        If there is no such file or folder, or a folder holds no photo.
    """
    left_out = {os.path.realpath(folder) for folder in without}
    paths = {str(path) for given in inputs for path in _photos_of(given, left_out)}
    # Without "..": names below the root must not lead out of it.
    root = inputs[0] if len(inputs) == 1 else Path(os.path.commonpath(map(os.path.abspath, inputs)))
    return Chosen(sorted(paths), root if root.is_dir() else root.parent, _labels_in(inputs))


def find_training_photos(folder: Path) -> list[Path]:
    """Return the good photos to learn from: those in ``train/good``, or else those right in the folder.

    Raises
    ------
    ValueError
        If there is none.
    """
    good = training_folder(folder) or folder
    expected = "photos of good parts, right in the folder or in 'train/good' in it"
    if _has_groups(good):
        expected += (
            ", or, if all below are of good parts, with --groups a folder for every group, such as a day"
        )
    return images_in(good, expected)


def _has_groups(folder: Path) -> bool:
    """Say whether photos lie in two folders or more that may be groups: none to test on, and no masks.

    Beside a folder of good photos are others.
    """
    if not folder.is_dir() or is_mask_folder(folder) or test_folder(folder) is not None:
        return False
    below = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    are_alike = len(below) > 1 and all(path.name.lower() != "good" for path in below)
    return are_alike and all(any(photos_below(path)) for path in below)


def find_training_groups(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the good photos to learn from, and the folder of each, which is its group.

    They lie in folders in ``train/good``, or else in folders in the folder.

    Raises
    ------
    ValueError
        If there is none, or one lies in no folder of its own.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}; found: {contents(folder.parent)}.")
    good = training_folder(folder) or folder
    paths = list(photos_below(good))
    alone = [path for path in paths if path.parent == good]
    if not paths or alone:
        found = f"{str(alone[0])!r} lies in none" if alone else f"found: {contents(good)}"
        raise ValueError(
            f"--groups takes the photos of every group from a folder of their own in {str(good)!r}; {found}."
        )
    return paths, [str(path.parent.relative_to(good)) for path in paths]


def photos_below(folder: Path, left_out: Set[str] = frozenset()) -> Iterator[Path]:
    """Yield the photos in a folder and in those below, without hidden ones, masks and what is left out."""
    for name, below, files in os.walk(folder):
        below[:] = sorted(
            sub
            for sub in below
            if sub[0] != "."
            and not is_mask_folder(Path(sub))
            and os.path.realpath(os.path.join(name, sub)) not in left_out
        )
        yield from (
            Path(name, file) for file in sorted(files) if file[0] != "." and is_image(Path(name, file))
        )


def _labels_in(inputs: Sequence[Path]) -> dict[str, Photo]:
    folders = [folder for folder in inputs if folder.is_dir() and test_folder(folder) is not None]
    return {str(photo.path): photo for folder in folders for photo in read_tested(folder)[0]}


def _photos_of(given: Path, left_out: Set[str]) -> list[Path]:
    if not given.exists():
        raise ValueError(f"there is no file or folder {str(given)!r}; found: {contents(given.parent)}.")
    if not given.is_dir():
        return [given]
    folder = given
    if training_folder(given) is not None:
        folder = test_folder(given) or given
        if folder != given:
            say(f"{given} has photos to train on and others: those in {folder} are taken.")
    found = list(photos_below(folder, left_out))
    if not found:
        raise ValueError(f"there is no photo in {str(folder)!r} or below; found: {contents(folder)}.")
    return found

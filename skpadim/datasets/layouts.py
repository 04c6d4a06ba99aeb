"""Reads the folders of photos, masks and labels that data sets come in; says what is missing from one."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image
from sklearn.utils import Bunch

from ..images.decoding import decode_mask, quote

_DESCRIPTION = """\
{title}
{rule}
Photos: {n_train} good to train on; {n_good} good and {n_defective} defective to test on
{remarks}
"""

_VISA_COLUMNS = ("object", "split", "label", "image", "mask")


@dataclass(frozen=True)
class FrameMask:
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

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError(f"{self} is in a file: it cannot be had without a copy.")
        marked = np.array(_open_array(Path(self.path))[self.frame]) != 0
        return marked if dtype is None else marked.astype(dtype)


def read_mask(mask: str | os.PathLike[str] | FrameMask | None) -> NDArray[np.bool_] | None:
    """Read a mask: True where it is not zero, so in the masks of several kinds of defect, too.

    ``map(read_mask, masks_test)`` turns what any loader returns into masks for `skpadim.metrics`, one
    at a time.

    Parameters
    ----------
    mask : str, path-like, FrameMask or None
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
    if isinstance(mask, FrameMask):
        return np.asarray(mask)
    return np.asarray(decode_mask(mask, f"mask={quote(mask)}") != 0)


@dataclass(frozen=True)
class Photo:
    """A photo to test on."""

    path: Path
    defect: str = "good"
    mask: Path | FrameMask | None = None


@dataclass(frozen=True)
class Photos:
    """The photos of a data set: good ones to train on, both kinds to test on."""

    train: list[Path]
    test: list[Photo] = field(default_factory=list)


def make_bunch(
    X_train: NDArray[Any],
    X_test: NDArray[Any],
    masks_test: NDArray[Any],
    defects_test: Iterable[str],
    description: str,
) -> Bunch:
    """Return what every data set of `skpadim.datasets` returns."""
    defects = np.array(list(defects_test), dtype=str)
    return Bunch(
        X_train=X_train,
        X_test=X_test,
        y_test=np.where(defects == "good", 1, -1).astype(np.int64),
        masks_test=masks_test,
        defects_test=defects,
        DESCR=description,
    )


def bunch_of_paths(photos: Photos, title: str, remarks: str) -> Bunch:
    """Return what every loader returns, with `remarks` at the end of its description."""
    masks = np.full(len(photos.test), None, dtype=object)
    for i, photo in enumerate(photos.test):
        masks[i] = str(photo.mask) if isinstance(photo.mask, Path) else photo.mask
    n_good = sum(photo.defect == "good" for photo in photos.test)
    return make_bunch(
        np.array([str(path) for path in photos.train], dtype=str),
        np.array([str(photo.path) for photo in photos.test], dtype=str),
        masks,
        defects_test=[photo.defect for photo in photos.test],
        description=_DESCRIPTION.format(
            title=title,
            rule="-" * len(title),
            n_train=len(photos.train),
            n_good=n_good,
            n_defective=len(photos.test) - n_good,
            remarks=remarks,
        ),
    )


def category_folder(root: Path, category: str, known: str, name: str) -> Path:
    """Return the folder of a category, one of those `known`, of the data set of that name."""
    folder = root / category
    if category not in known.split(", ") or not folder.is_dir():
        raise ValueError(
            f"category={category!r} is not there. {name} has {known}; found: {_contents(root, most=30)}."
        )
    return folder


def read_folders(root: Path, good: str = "good") -> Photos:
    """Read ``train/<good>``, ``test/<good or defect>`` and ``ground_truth/<defect>``."""
    train = _images(root / "train" / good, "good photos to train on")
    test = list(_tested(root, good, root / "ground_truth"))
    _images(root / "test" / good, "good photos to test on")  # must be there
    return Photos(train, test)


def read_own_folder(root: Path) -> Photos:
    """Read the same, of which only ``train/good`` must be there."""
    train = _images(root / "train" / "good", "good photos to train on")
    if not (root / "test").exists():
        return Photos(train)
    masks = root / "ground_truth"
    return Photos(train, list(_tested(root, "good", masks if masks.exists() else None)))


def _tested(root: Path, good: str, masks: Path | None) -> Iterator[Photo]:
    for folder in _subfolders(root / "test", f"a folder {good!r} and one for each defect"):
        if folder.name.lower() == good != folder.name:
            raise ValueError(
                f"{str(folder)!r} would be a defect so named; rename it to {good!r} if its parts are good."
            )
        photos = _images(folder, "photos to test on")
        if folder.name == good:
            yield from map(Photo, photos)
        elif masks is None:
            yield from (Photo(path, folder.name) for path in photos)
        else:
            pairs = zip(photos, _masks_of(photos, masks / folder.name), strict=True)
            yield from (Photo(path, folder.name, mask) for path, mask in pairs)


def _masks_of(photos: list[Path], folder: Path) -> list[Path]:
    """Find the mask of each photo: a file of the photo's name, or that and ``_mask``."""
    masks = _images(folder, f"the masks of {str(photos[0].parent)!r}")
    for paths in (photos, masks):
        _refuse_twins(paths, "A mask belongs to the photo of its name")
    by_name = {path.stem: path for path in masks}
    found = [
        [by_name[name] for name in (f"{photo.stem}_mask", photo.stem) if name in by_name] for photo in photos
    ]
    lacking = [photo for photo, fitting in zip(photos, found, strict=True) if not fitting]
    if lacking:
        raise ValueError(
            f"{len(lacking)} of {len(photos)} photos in {str(photos[0].parent)!r} have no mask, the first "
            f"{lacking[0].name!r}: expected {f'{lacking[0].stem}_mask.png'!r} (or another image format, "
            f"with or without '_mask'); found: {_contents(folder)}."
        )
    owners = Counter(mask for fitting in found for mask in fitting)
    for photo, fitting in zip(photos, found, strict=True):
        if len(fitting) > 1 or owners[fitting[0]] > 1:
            raise ValueError(
                f"{[mask.name for mask in fitting]} in {str(folder)!r} may belong to {photo.name!r}, and to "
                "no or another photo; rename them, so that one mask has the name of one photo."
            )
    return [mask for (mask,) in found]


def _refuse_twins(paths: Iterable[Path], why: str) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        other = seen.setdefault(path.stem, path)
        if other is not path:
            raise ValueError(
                f"{other.name!r} and {path.name!r} in {str(path.parent)!r} have one name. {why}: rename or "
                "remove one."
            )


def read_visa(root: Path, category: str) -> Photos:
    """Read the photos of a category that VisA's split into one class names."""
    split = root / "split_csv" / "1cls.csv"
    train: list[Path] = []
    test: list[Photo] = []
    lines: dict[Path, int] = {}
    for line, row in _visa_rows(split):
        if row["object"] != category:
            continue
        path, kind = root / row["image"], (row["split"], row["label"])
        if lines.setdefault(path, line) != line:
            both = f"lines {lines[path]} and {line}"
            raise ValueError(f"{both} of {str(split)!r} name one photo, {row['image']!r}; keep one of them.")
        if kind == ("train", "normal"):
            train.append(path)
        elif kind == ("test", "normal") and not row["mask"]:
            test.append(Photo(path))
        elif kind == ("test", "anomaly") and row["mask"]:
            test.append(Photo(path, "anomaly", root / row["mask"]))
        else:
            raise ValueError(
                f"line {line} of {str(split)!r} is {','.join(row.values())!r}; expected train,normal, or "
                "test,normal without a mask, or test,anomaly and a mask."
            )
    if not train or not test:
        raise ValueError(
            f"{str(split)!r} names {len(train)} photo(s) of {category!r} to train on and {len(test)} to "
            "test on; expected some of both."
        )
    masks = [photo.mask for photo in test if isinstance(photo.mask, Path)]
    _refuse_missing([*train, *(photo.path for photo in test), *masks], split)
    return Photos(sorted(train), sorted(test, key=lambda photo: photo.path))


def _visa_rows(split: Path) -> Iterator[tuple[int, dict[str, str]]]:
    if not split.is_file():
        raise ValueError(
            f"there is no file {str(split)!r}: expected VisA's split into photos to train and to test on; "
            f"found: {_contents(split.parent)}."
        )
    rows = csv.DictReader(_lines(split), restval="")
    if not set(_VISA_COLUMNS) <= set(rows.fieldnames or ()):
        raise ValueError(f"{str(split)!r} has the columns {rows.fieldnames}; expected {list(_VISA_COLUMNS)}.")
    for row in rows:
        yield rows.line_num, {column: row[column] for column in _VISA_COLUMNS}


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, or say that it is none."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            yield from file
    except UnicodeError as error:
        raise ValueError(f"{str(path)!r} is not a text file in UTF-8: {error}.") from error


def _refuse_missing(paths: Iterable[Path], source: Path) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ValueError(
            f"{len(missing)} file(s) that {str(source)!r} names are not there, the first "
            f"{str(missing[0])!r}; found: {_contents(missing[0].parent)}."
        )


def read_shanghaitech(root: Path) -> Photos:
    """Read the frames of all videos, with the labels and masks of those to test on."""
    training, testing = root / "training" / "frames", root / "testing" / "frames"
    if not training.is_dir() and (root / "training" / "videos").is_dir():
        raise ValueError(
            f"the videos in {str(root / 'training' / 'videos')!r} are not decoded here: extract their "
            f"frames to {str(training / '<video>' / '000.jpg')!r} and so on, for instance by `ffmpeg -i "
            "videos/01_001.avi -q:v 2 -start_number 0 frames/01_001/%03d.jpg`."
        )
    one_each = "one folder of frames for each video"
    train = [frame for video in _subfolders(training, one_each) for frame in _frames(video)]
    test = [photo for video in _subfolders(testing, one_each) for photo in _tested_frames(video)]
    return Photos(train, test)


def _tested_frames(video: Path) -> Iterator[Photo]:
    frames, testing = _frames(video), video.parents[1]
    label_path = testing / "test_frame_mask" / f"{video.name}.npy"
    mask_path = testing / "test_pixel_mask" / f"{video.name}.npy"
    labels, masks = _open_array(label_path), _open_array(mask_path)
    if labels.shape != (len(frames),):
        raise ValueError(
            f"{str(label_path)!r} has shape {labels.shape}; expected a label, 0 or 1, for each of the "
            f"{len(frames)} frames in {str(video)!r}."
        )
    if not np.isin(labels, (0, 1)).all():
        wrong = labels[~np.isin(labels, (0, 1))][0]
        raise ValueError(f"{str(label_path)!r} holds {wrong}; expected a label, 0 or 1, for each frame.")
    if masks.ndim != 3 or len(masks) != len(frames):
        raise ValueError(
            f"{str(mask_path)!r} has shape {masks.shape}; expected ({len(frames)}, height, width), a mask "
            f"for each frame in {str(video)!r}."
        )
    for index, (path, label) in enumerate(zip(frames, labels.tolist(), strict=True)):
        yield Photo(path, "anomaly", FrameMask(str(mask_path), index)) if label else Photo(path)


def _frames(video: Path) -> list[Path]:
    frames = _images(video, "the frames of a video")
    unnumbered = [frame.name for frame in frames if not frame.stem.isdecimal()]
    if unnumbered:
        raise ValueError(
            f"{unnumbered[0]!r} in {str(video)!r} is not a frame's number; expected names such as '000.jpg'."
        )
    # By number: of names with three digits, 1000.jpg would come before 101.jpg.
    return sorted(frames, key=lambda frame: int(frame.stem))


def _open_array(path: Path) -> NDArray[Any]:
    """Map a ``.npy`` file into memory, so that only what is used of it is read."""
    if not path.is_file():
        raise ValueError(f"there is no file {str(path)!r}; found: {_contents(path.parent)}.")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as an array: {error}") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{str(path)!r} holds several arrays; expected one, saved by numpy.save.")
    return array


def _images(folder: Path, expected: str) -> list[Path]:
    """Return the images in a folder by name; there must be some."""
    images = [path for path in _entries(folder, expected) if _is_image(path)]
    if not images:
        raise ValueError(
            f"there is no image in {str(folder)!r}: expected {expected}; found: {_contents(folder)}."
        )
    return images


def _subfolders(folder: Path, expected: str) -> list[Path]:
    """Return the folders in a folder by name; there must be some, and no images beside them."""
    entries = _entries(folder, expected)
    folders = [path for path in entries if path.is_dir()]
    if not folders or any(map(_is_image, entries)):
        raise ValueError(f"expected in {str(folder)!r}: {expected}; found: {_contents(folder)}.")
    return folders


def _entries(folder: Path, expected: str) -> list[Path]:
    """Return what a folder holds, by name, without hidden files."""
    if not folder.is_dir():
        raise ValueError(
            f"there is no folder {str(folder)!r}: expected {expected}; found: {_contents(folder)}."
        )
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _image_suffixes() and path.is_file()


@cache
def _image_suffixes() -> frozenset[str]:
    suffixes = Image.registered_extensions()
    return frozenset(suffix for suffix, kind in suffixes.items() if kind in Image.OPEN)


def _contents(folder: Path, most: int = 8) -> str:
    """Say what the folder holds; if it is not there, what the nearest folder above it holds."""
    while not folder.is_dir():
        if folder.exists():
            return f"{str(folder)!r}, which is a file"
        folder = folder.parent
    entries = _entries(folder, "anything")
    names = [repr(path.name + os.sep * path.is_dir()) for path in entries[:most]]
    if len(entries) > most:
        names.append(f"{len(entries) - most} more")
    return f"{str(folder.absolute())!r} holds {', '.join(names) or 'nothing'}"

"""Data sets whose photos a table or a json file lists: VisA and Real-IAD."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions, validate_params

from .bunches import Photo, Photos, bunch_of_paths
from .files import category_folder, contents, lines_of, read_json, refuse_missing

_VISA = (
    "candle, capsules, cashew, chewinggum, fryum, macaroni1, macaroni2, pcb1, pcb2, pcb3, pcb4, pipe_fryum"
)
_REAL_IAD = (
    "audiojack, bottle_cap, button_battery, end_cap, eraser, fire_hood, mint, mounts, pcb, phone_battery, "
    "plastic_nut, plastic_plug, porcelain_doll, regulator, rolled_strip_base, sim_card_set, switch, tape, "
    "terminalblock, toothbrush, toy, toy_brick, transistor1, u_block, usb, usb_adaptor, vcpill, "
    "wooden_beads, woodstick, zipper"
)
_VISA_COLUMNS = ("object", "split", "label", "image", "mask")


@validate_params({"root": [str, os.PathLike], "category": [str]}, prefer_skip_nested_validation=True)
def load_visa(root: str | os.PathLike[str], category: str) -> Bunch:
    """Load a category of VisA, as split by its authors for learning from good photos alone.

    Nothing is downloaded, and no photo is read: paths come back. The masks hold a number for each
    kind of defect, which `skpadim.metrics` refuses as not binary: pass ``map(read_mask, masks_test)``.

    Parameters
    ----------
    root : str or path-like
        Folder that holds ``split_csv/1cls.csv``, and the files named there:
        ``<category>/Data/Images/<Normal or Anomaly>`` and ``<category>/Data/Masks/Anomaly``.
    category : str
        One of "candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1", "macaroni2",
        "pcb1", "pcb2", "pcb3", "pcb4" and "pipe_fryum".

    Returns
    -------
    Bunch
        As of `make_inspection_images` with a folder; ``defects_test`` is "good" or "anomaly".
        ``DESCR`` names source and licence.

    Raises
    ------
    ValueError
        If there is no such category or split, or a file that the split names is missing.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skpadim.datasets import load_visa, read_mask
    >>> rows = [
    ...     "object,split,label,image,mask",
    ...     "pcb1,train,normal,pcb1/Data/Images/Normal/0000.JPG,",
    ...     "pcb1,test,anomaly,pcb1/Data/Images/Anomaly/000.JPG,pcb1/Data/Masks/Anomaly/000.png",
    ... ]
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for name in ",".join(rows[1:]).split(","):
    ...         if "/" in name:
    ...             Path(root, name).parent.mkdir(parents=True, exist_ok=True)
    ...             Image.fromarray(np.array([[0, 3]], dtype=np.uint8)).save(Path(root, name))
    ...     Path(root, "split_csv").mkdir()
    ...     np.savetxt(Path(root, "split_csv", "1cls.csv"), rows, fmt="%s")
    ...     boards = load_visa(root, "pcb1")
    ...     print([read_mask(mask).tolist() for mask in boards.masks_test])
    [[[False, True]]]
    """
    category_folder(Path(root), category, _VISA, "VisA")
    return bunch_of_paths(
        _read_split(Path(root), category),
        f"VisA, {category}",
        "Masks: a number for each kind of defect, 0 where there is none; see skpadim.datasets.read_mask\n"
        "Source: Zou, Jeong, Pemula, Zhang, Dabeer, SPot-the-difference self-supervised pre-training for\n"
        "anomaly detection and segmentation, ECCV 2022; https://github.com/amazon-science/spot-diff\n"
        "Licence: CC BY 4.0",
    )


def _read_split(root: Path, category: str) -> Photos:
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
    refuse_missing([*train, *(photo.path for photo in test), *masks], split)
    return Photos(sorted(train), sorted(test, key=lambda photo: photo.path))


def _visa_rows(split: Path) -> Iterator[tuple[int, dict[str, str]]]:
    if not split.is_file():
        raise ValueError(
            f"there is no file {str(split)!r}: expected VisA's split into photos to train and to test on; "
            f"found: {contents(split.parent)}."
        )
    rows = csv.DictReader(lines_of(split), restval="")
    if not set(_VISA_COLUMNS) <= set(rows.fieldnames or ()):
        raise ValueError(f"{str(split)!r} has the columns {rows.fieldnames}; expected {list(_VISA_COLUMNS)}.")
    for row in rows:
        yield rows.line_num, {column: row[column] for column in _VISA_COLUMNS}


@validate_params(
    {
        "root": [str, os.PathLike],
        "category": [str],
        "view": [StrOptions({"C1", "C2", "C3", "C4", "C5"}), None],
        "resolution": [StrOptions({"256", "512", "1024", "raw"})],
    },
    prefer_skip_nested_validation=True,
)
def load_real_iad(
    root: str | os.PathLike[str], category: str, *, view: str | None = None, resolution: str = "1024"
) -> Bunch:
    """Load a category of Real-IAD: small products, each seen by five cameras.

    Nothing is downloaded, and no photo is read: paths come back.

    Parameters
    ----------
    root : str or path-like
        Folder that holds ``realiad_<resolution>/<category>``, with ``OK/<sample>/<photo>.jpg``,
        ``NG/<defect>/<sample>/<photo>.jpg`` and masks beside these, and ``realiad_jsons/<category>.json``
        or ``realiad_jsons/realiad_jsons/<category>.json``, which lists the photos to train and test on.
    category : str
        One of "audiojack", "bottle_cap", "button_battery", "end_cap", "eraser", "fire_hood", "mint",
        "mounts", "pcb", "phone_battery", "plastic_nut", "plastic_plug", "porcelain_doll", "regulator",
        "rolled_strip_base", "sim_card_set", "switch", "tape", "terminalblock", "toothbrush", "toy",
        "toy_brick", "transistor1", "u_block", "usb", "usb_adaptor", "vcpill", "wooden_beads", "woodstick"
        and "zipper".
    view : {"C1", "C2", "C3", "C4", "C5"}, default=None
        Photos of this camera alone, the first being the one above. None: of all, though `PaDiMDetector`
        wants one at a time.
    resolution : {"256", "512", "1024", "raw"}, default="1024"
        Which of the folders to read.

    Returns
    -------
    Bunch
        As of `make_inspection_images` with a folder; ``defects_test`` is "good" or what the data set calls
        the defect, such as "AK". A defective part may be good in the photo of a view. ``DESCR`` names
        source and licence.

    Raises
    ------
    ValueError
        If there is no such category, if the list is missing or not as expected, or names photos of
        defects to train on, or files that are not there.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from skpadim.datasets import load_real_iad
    >>> good, bad = "OK/S0001/toy_0001_OK_C1_20231018.jpg", "NG/AK/S0002/toy_0002_NG_C1_20231018.jpg"
    >>> mask = bad.replace(".jpg", ".png")
    >>> lists = {
    ...     "meta": {"normal_class": "OK", "prefix": "toy/"},
    ...     "train": [{"anomaly_class": "OK", "image_path": good, "mask_path": None}],
    ...     "test": [{"anomaly_class": "AK", "image_path": bad, "mask_path": mask}],
    ... }
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for name in (good, bad, mask):
    ...         Path(root, "realiad_1024", "toy", name).parent.mkdir(parents=True, exist_ok=True)
    ...         Image.new("L", (8, 8)).save(Path(root, "realiad_1024", "toy", name))
    ...     Path(root, "realiad_jsons").mkdir()
    ...     _ = Path(root, "realiad_jsons", "toy.json").write_text(json.dumps(lists))
    ...     toys = load_real_iad(root, "toy", view="C1")
    >>> toys.y_test, [str(defect) for defect in toys.defects_test]
    (array([-1]), ['AK'])
    """
    photos = Path(root) / f"realiad_{resolution}"
    category_folder(photos, category, _REAL_IAD, "Real-IAD")
    jsons = Path(root) / "realiad_jsons"
    nested = jsons / "realiad_jsons"
    lists = (nested if nested.is_dir() else jsons) / f"{category}.json"
    return bunch_of_paths(
        _read_lists(lists, photos, category, view),
        f"Real-IAD, {category}" + (f", view {view}" if view else ""),
        "Source: Wang, Zhu, Gao, Gan, Zhang, Gu, Qian, Chen, Ma, Real-IAD: A real-world multi-view dataset\n"
        "for benchmarking versatile industrial anomaly detection, CVPR 2024; https://realiad4ad.github.io/Real-IAD\n"
        "Licence: CC BY-NC-SA 4.0 according to the documentation of anomalib, so not for commercial use",
    )


def _read_lists(path: Path, photos: Path, category: str, view: str | None) -> Photos:
    expected = (
        "the lists 'train' and 'test' of photos, each with 'anomaly_class', 'image_path' and, if defective, "
        "'mask_path'"
    )
    lists = read_json(path, expected)
    meta = lists.get("meta", {}) if isinstance(lists, dict) else {}
    folder, good = photos / meta.get("prefix", category), meta.get("normal_class", "OK")
    train, test = [
        [_listed(row, folder, good, path, expected) for row in _rows(lists, part, view, path, expected)]
        for part in ("train", "test")
    ]
    if defective := [photo for photo in train if photo.defect != "good"]:
        raise ValueError(
            f"{str(path)!r} lists {len(defective)} photo(s) of defects to train on, the first "
            f"{str(defective[0].path)!r}; expected photos of {good!r} alone, as in the data set's own lists."
        )
    masks = [photo.mask for photo in test if isinstance(photo.mask, Path)]
    refuse_missing([*(photo.path for photo in (*train, *test)), *masks], path)
    return Photos(sorted(photo.path for photo in train), sorted(test, key=lambda photo: photo.path))


def _rows(lists: Any, part: str, view: str | None, path: Path, expected: str) -> list[Any]:
    rows = lists.get(part) if isinstance(lists, dict) else None
    if not isinstance(rows, list):
        found = sorted(lists) if isinstance(lists, dict) else type(lists).__name__
        raise ValueError(f"{str(path)!r} has no list {part!r}; expected {expected}; found: {found}.")
    # A photo is named <category>_<sample>_<OK or NG>_<view>_<time>.jpg.
    seen = [
        row
        for row in rows
        if view is None or not isinstance(row, dict) or f"_{view}_" in Path(str(row.get("image_path"))).name
    ]
    if not seen:
        raise ValueError(f"the list {part!r} in {str(path)!r} has no photo of view {view}; expected some.")
    return seen


def _listed(row: Any, folder: Path, good: str, path: Path, expected: str) -> Photo:
    if isinstance(row, dict):
        defect, image, mask = (row.get(key) for key in ("anomaly_class", "image_path", "mask_path"))
        if isinstance(image, str) and defect == good:
            return Photo(folder / image)
        if isinstance(image, str) and isinstance(defect, str) and isinstance(mask, str):
            return Photo(folder / image, defect, folder / mask)
    raise ValueError(f"{str(path)!r} lists {row!r}; expected {expected}.")

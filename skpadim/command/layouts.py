"""``skpadim datasets``: which layout a folder has, and what is in it."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import datasets
from ..datasets.files import contents, is_image
from ..datasets.own import training_folder
from .messages import show


@dataclass(frozen=True)
class Layout:
    """A way in which photos lie in folders, and what reads it.

    Attributes
    ----------
    title : str
    looks : str
        In words.
    loader : callable
        Of `skpadim.datasets`.
    by_category : bool
        Whether the loader takes the name of a folder in the folder.
    """

    title: str
    looks: str
    loader: Callable[..., Any]
    by_category: bool = True


#: Of those that fit, the first goes: data sets that have a name before folders of one's own.
LAYOUTS = (
    Layout("MVTec AD", "CATEGORY/train/good, test, ground_truth", datasets.load_mvtec_ad),
    Layout("MVTec AD 2", "CATEGORY/train/good, validation, test_public", datasets.load_mvtec_ad_2),
    Layout("MVTec LOCO AD", "CATEGORY/train/good, defects_config.json", datasets.load_mvtec_loco),
    Layout("MPDD", "CATEGORY/train/good, test, ground_truth", datasets.load_mpdd),
    Layout("BTAD", "CATEGORY/train/ok, test/ok, test/ko", datasets.load_btad),
    Layout("VisA", "split_csv/1cls.csv, CATEGORY/Data/Images", datasets.load_visa),
    Layout("Real-IAD", "realiad_1024/CATEGORY, realiad_jsons", datasets.load_real_iad),
    Layout("DAGM 2007", "CATEGORY/Train, CATEGORY/Test/Label", datasets.load_dagm),
    Layout("KolektorSDD", "kosNN, photos and masks side by side", datasets.load_kolektor_sdd, False),
    Layout("KolektorSDD2", "train and test, with NAME_GT.png", datasets.load_kolektor_sdd2, False),
    Layout("ShanghaiTech", "training/frames, testing/frames", datasets.load_shanghaitech, False),
    Layout(
        "your own photos",
        "train/good, test/good, test/DEFECT, ground_truth/DEFECT",
        datasets.load_inspection_folder,
        False,
    ),
)


def tell_layouts() -> None:
    """Print the layouts that are known."""
    show("Layouts that skpadim knows, by their folders:")
    for layout in LAYOUTS:
        show(f"  {layout.title:<16}{layout.looks}  (skpadim.datasets.{layout.loader.__name__})")
    show("'skpadim fit' also takes a folder of nothing but photos of good parts; 'fit', 'inspect' and")
    show("'evaluate' take a folder as in the last line: of a data set, the folder of one category.")


def tell_folder(folder: Path) -> None:
    """Print what is in a folder, by the first layout that fits.

    Raises
    ------
    ValueError
        If there is no such folder, or nothing in it that is known.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}; found: {contents(folder)}.")
    for layout in LAYOUTS:
        fitting = list(_fitting(layout, folder))
        for name, photos in fitting:
            show(f"{name}, in the layout of {layout.title}:")
            _tell_photos(photos)
        if fitting:
            return
    below = [sub for sub in sorted(folder.iterdir()) if sub.is_dir() and training_folder(sub) is not None]
    n_photos = sum(map(is_image, folder.iterdir()))
    if not below and not n_photos:
        raise ValueError(
            f"{str(folder)!r} has none of the layouts that 'skpadim datasets' lists, and holds no photo; "
            f"found: {contents(folder)}."
        )
    for sub in below:
        tell_folder(sub)
    if n_photos:
        show(f"{folder}: {n_photos} photos, right in the folder; 'skpadim fit' learns all of them as good.")


def _fitting(layout: Layout, folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield the names and photos of what a loader finds in the folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for category in _categories(folder) if layout.by_category else [None]:
            try:
                photos = layout.loader(folder, *([] if category is None else [category]))
            except ValueError:  # another layout
                continue
            yield str(folder if category is None else folder / category), photos


def _categories(folder: Path) -> list[str]:
    """Return the names of folders that may be categories; those of Real-IAD lie one deeper."""
    below = [sub for sub in folder.iterdir() if sub.is_dir()]
    deeper = [
        sub for top in below if top.name.startswith("realiad_") for sub in top.iterdir() if sub.is_dir()
    ]
    return sorted({sub.name for sub in [*below, *deeper]})


def _tell_photos(photos: Any) -> None:
    kinds = Counter(photos.defects_test.tolist())
    n_masks = sum(mask is not None for mask in photos.masks_test)
    show(f"  {len(photos.X_train):>6} good photos to train on")
    show(f"  {kinds.pop('good', 0):>6} good photos to test on")
    for kind, number in sorted(kinds.items()):
        show(f"  {number:>6} {kind}")
    show(f"  {n_masks:>6} masks of defects")

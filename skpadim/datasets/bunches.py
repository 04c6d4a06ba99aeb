"""What every data set returns: photos to train on, photos to test on, their labels and masks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from .masks import LazyMask

_DESCRIPTION = """\
{title}
{rule}
Photos: {n_train} good to train on; {n_good} good and {n_defective} defective to test on
{remarks}
"""


@dataclass(frozen=True)
class Photo:
    """A photo to test on."""

    path: Path
    defect: str = "good"
    mask: Path | LazyMask | None = None


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
        as_paths(photos.train),
        as_paths(photo.path for photo in photos.test),
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


def as_paths(paths: Iterable[Path]) -> NDArray[np.str_]:
    """Return paths as data sets hold them."""
    return np.array([str(path) for path in paths], dtype=str)

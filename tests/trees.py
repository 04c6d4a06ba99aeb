"""Folders of photos that the tests of data sets write, and what holds of every loader."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from skpadim.datasets import read_mask
from skpadim.metrics import pixel_roc_auc_score

MARKED = np.array([[0, 0, 0], [0, 255, 255]], dtype=np.uint8)


def write_image(path, pixels=MARKED):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)


def write_text(path, text="not a photo"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_json(path, content):
    write_text(path, json.dumps(content))


def write_array(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def names(paths, root):
    return [None if path is None else Path(path).relative_to(root).as_posix() for path in paths]


def assert_contract(photos):
    """What holds of the photos of every loader."""
    n_test = len(photos.X_test)
    assert set(photos) >= {"X_train", "X_test", "y_test", "masks_test", "defects_test", "DESCR"}
    assert photos.X_train.dtype.kind == photos.X_test.dtype.kind == photos.defects_test.dtype.kind == "U"
    assert photos.X_train.ndim == photos.X_test.ndim == 1
    assert photos.y_test.dtype == np.int64
    assert photos.masks_test.dtype == object
    assert photos.y_test.shape == photos.masks_test.shape == photos.defects_test.shape == (n_test,)
    np.testing.assert_array_equal(photos.y_test == 1, photos.defects_test == "good")
    assert all(Path(path).is_file() for path in [*photos.X_train, *photos.X_test])
    assert "Source: " in photos.DESCR
    assert "Licence: " in photos.DESCR
    assert f"{len(photos.X_train)} good to train on" in photos.DESCR


def assert_pixels_can_be_scored(photos):
    """Maps that are the masks themselves have an area under the curve of 1."""
    masks = [read_mask(mask) for mask in photos.masks_test]
    maps = [np.zeros(MARKED.shape) if mask is None else mask.astype(float) for mask in masks]
    assert pixel_roc_auc_score(map(read_mask, photos.masks_test), maps) == 1

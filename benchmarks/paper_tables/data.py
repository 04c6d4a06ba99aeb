"""Photos and masks, as the network sees them: aligned, or turned at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.utils import Bunch
from torchvision.transforms.v2 import InterpolationMode, functional

from skpadim.datasets import (
    load_btad,
    load_inspection_folder,
    load_mvtec_ad,
    load_shanghaitech,
    load_visa,
    read_mask,
)
from skpadim.images.collection import centre_window, check_images
from skpadim.images.masks import check_mask

Mask = NDArray[np.bool_] | None

TITLES = {
    "mvtec_ad": "MVTec AD",
    "visa": "VisA",
    "btad": "BTAD",
    "shanghaitech": "ShanghaiTech Campus",
    "folder": "photos in a folder",
}
_LOADERS: dict[str, Callable[..., Bunch]] = {
    "mvtec_ad": load_mvtec_ad,
    "visa": load_visa,
    "btad": load_btad,
}
# What a category's folder holds.
_SIGNS = {"mvtec_ad": "train/good", "visa": "Data/Images", "btad": "train/ok", "folder": "train/good"}
# Degrees; the paper's section IV-A.
_LARGEST_ANGLE = 10


def find_categories(dataset: str, root: Path) -> list[str]:
    """List what a data set's folder holds; a folder of one product is a category by itself, "."."""
    if dataset == "shanghaitech":
        return sorted(set(_cameras(load_shanghaitech(root).X_train)))
    sign = _SIGNS[dataset]
    if dataset == "folder" and (root / sign).is_dir():
        return ["."]
    found = sorted(path.name for path in root.iterdir() if (path / sign).is_dir()) if root.is_dir() else []
    if not found:
        raise ValueError(f"there is no <category>/{sign} in {str(root)!r}; expected {TITLES[dataset]}.")
    return found


def choose_categories(dataset: str, root: Path, wanted: Sequence[str] | None) -> list[str]:
    """Return the categories asked for, or all, and refuse those that are not there."""
    found = find_categories(dataset, root)
    if wanted is None:
        return found
    if unknown := [category for category in wanted if category not in found]:
        raise ValueError(
            f"categories: there is no {unknown[0]!r} in {str(root)!r}; it holds {', '.join(found)}."
        )
    return list(dict.fromkeys(wanted))


def load_photos(
    dataset: str, root: Path, category: str, max_train: int | None, max_test: int | None
) -> Bunch:
    """Load a category; at most so many photos, evenly spaced."""
    if dataset == "folder":
        photos = load_inspection_folder(root / category)
    elif dataset == "shanghaitech":
        photos = _of_camera(load_shanghaitech(root), category)
    else:
        photos = _LOADERS[dataset](root, category)
    tested = _spaced(len(photos.y_test), max_test)
    n_good, n_defective = (np.sum(photos.y_test[tested] == label) for label in (1, -1))
    if not (n_good and n_defective):
        fewer = len(tested) < len(photos.y_test)
        raise ValueError(
            f"{str(root / category)!r} has {n_good} good and {n_defective} defective photos to test on"
            f"{f' among the {max_test} of --max-test: raise it' if fewer else ''}; expected some of both."
        )
    return Bunch(
        X_train=photos.X_train[_spaced(len(photos.X_train), max_train)],
        X_test=photos.X_test[tested],
        y_test=photos.y_test[tested],
        masks_test=photos.masks_test[tested],
    )


def read_masks(photos: Bunch, labelled: bool) -> list[Mask]:
    """Read the masks at the size of their photos, and refuse those of another size or with other values.

    `labelled` masks may hold any number for a defect.
    """
    return list(_checked_masks(photos, labelled))


def _checked_masks(photos: Bunch, labelled: bool) -> Iterator[Mask]:
    images = check_images(photos.X_test)
    for index, source in enumerate(photos.masks_test):
        if source is None:
            yield None
            continue
        mask = read_mask(source) if labelled else check_mask(source, f"masks_test[{index}]")
        height, width, _ = images.original(index).shape
        if mask.shape != (height, width):
            raise ValueError(
                f"the mask {str(source)!r} has {mask.shape[0]} x {mask.shape[1]} pixels, its photo "
                f"{images.describe(index)} {height} x {width}; expected the same size."
            )
        yield mask


@dataclass(frozen=True)
class Placement:
    """How a photo is turned, and which part of it is cut out."""

    angle: float
    top: int
    left: int


def centre_placements(n_photos: int, image_size: int, crop_size: int) -> list[Placement]:
    """Return the placements of aligned photos: upright, cut out at the centre."""
    rows, columns = centre_window((image_size, image_size), (crop_size, crop_size))
    return [Placement(0.0, rows.start, columns.start)] * n_photos


def draw_placements(n_photos: int, image_size: int, crop_size: int, seed: Sequence[int]) -> list[Placement]:
    """Draw a rotation within 10 degrees and a place of the crop for each photo."""
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-_LARGEST_ANGLE, _LARGEST_ANGLE, n_photos)
    corners = rng.integers(0, image_size - crop_size, (n_photos, 2), endpoint=True)
    return [Placement(float(angle), *map(int, corner)) for angle, corner in zip(angles, corners, strict=True)]


def see(
    paths: Sequence[str], image_size: int, crop_size: int, placements: Sequence[Placement]
) -> NDArray[np.uint8 | np.float32]:
    """Return photos (n, crop_size, crop_size, 3): resized, turned and cut out as placed."""
    batches = check_images(list(paths)).batches(32, (image_size, image_size), None, n_threads=2)
    seen = [
        _place(pixels, placements[index], crop_size, InterpolationMode.BILINEAR).movedim(0, -1).numpy()
        for batch in batches
        for index, pixels in zip(batch.indices, batch.pixels, strict=True)
    ]
    # Photos of 16 bits are floats in [0, 1]; where there are some, all are.
    in_bytes = all(photo.dtype == np.uint8 for photo in seen)
    return np.stack(seen if in_bytes else [_as_floats(photo) for photo in seen])


def _as_floats(photo: NDArray[np.uint8 | np.float32]) -> NDArray[np.float32]:
    return photo / np.float32(255) if photo.dtype == np.uint8 else photo


def see_mask(mask: Mask, image_size: int, crop_size: int, placement: Placement) -> Mask:
    """Return a mask as `see` returns its photo, by nearest neighbour."""
    if mask is None:
        return None
    resized = Image.fromarray(mask.astype(np.uint8)).resize(
        (image_size, image_size), Image.Resampling.NEAREST
    )
    pixels = torch.from_numpy(np.array(resized))[None]
    return _place(pixels, placement, crop_size, InterpolationMode.NEAREST)[0].numpy() != 0


def _place(
    pixels: torch.Tensor, placement: Placement, crop_size: int, interpolation: InterpolationMode
) -> torch.Tensor:
    """Turn (channels, height, width) about its centre, black where nothing was, and cut."""
    turned = functional.rotate(pixels, placement.angle, interpolation, fill=[0.0])
    return functional.crop(turned, placement.top, placement.left, crop_size, crop_size)


def _cameras(paths: Sequence[str]) -> list[str]:
    """Return the camera of every frame, the first two digits of its video's name."""
    return [Path(path).parent.name[:2] for path in paths]


def _of_camera(frames: Bunch, camera: str) -> Bunch:
    trained = np.array(_cameras(frames.X_train)) == camera
    tested = np.array(_cameras(frames.X_test)) == camera
    return Bunch(
        X_train=frames.X_train[trained],
        X_test=frames.X_test[tested],
        y_test=frames.y_test[tested],
        masks_test=frames.masks_test[tested],
    )


def _spaced(n_photos: int, most: int | None) -> NDArray[np.intp]:
    if most is None or n_photos <= most:
        return np.arange(n_photos)
    return np.linspace(0, n_photos - 1, most).round().astype(np.intp)

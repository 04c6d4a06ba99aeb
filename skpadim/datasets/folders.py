"""The layout that MVTec AD made common: train/good, test/<good or defect>, ground_truth/<defect>."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from .bunches import Photo, Photos
from .files import contents, images_in, is_image, subfolders
from .masks import UnionMask


def read_folders(
    root: Path, good: str = "good", test: str = "test", ground_truth: str = "ground_truth"
) -> Photos:
    """Read ``train/<good>``, ``<test>/<good or defect>`` and ``<ground_truth>/<defect>``."""
    train = images_in(root / "train" / good, "good photos to train on")
    tested = list(_tested(root / test, good, root / ground_truth))
    images_in(root / test / good, "good photos to test on")  # must be there
    return Photos(train, tested)


def _tested(test: Path, good: str, ground_truth: Path) -> Iterator[Photo]:
    for folder in subfolders(test, f"a folder {good!r} and one for each defect"):
        if folder.name.lower() == good != folder.name:
            raise ValueError(
                f"{str(folder)!r} would be a defect so named; rename it to {good!r} if its parts are good."
            )
        if folder == ground_truth:  # MVTec AD 2 has it here
            continue
        photos = images_in(folder, "photos to test on")
        if folder.name == good:
            yield from map(Photo, photos)
        else:
            pairs = zip(photos, masks_of(photos, ground_truth / folder.name), strict=True)
            yield from (Photo(path, folder.name, mask) for path, mask in pairs)


def masks_of(photos: list[Path], folder: Path) -> list[Path | UnionMask]:
    """Find the mask of each photo: a file of its name, or that and ``_mask``, or a folder of its name."""
    if _holds_folders_alone(folder):
        return _unions_of(photos, folder)
    masks = images_in(folder, f"the masks of {str(photos[0].parent)!r}")
    for paths in (photos, masks):
        refuse_twins(paths, "A mask belongs to the photo of its name")
    by_name = {path.stem: path for path in masks}
    found = [
        [by_name[name] for name in (f"{photo.stem}_mask", photo.stem) if name in by_name] for photo in photos
    ]
    lacking = [photo for photo, fitting in zip(photos, found, strict=True) if not fitting]
    if lacking:
        raise ValueError(
            f"{len(lacking)} of {len(photos)} photos in {str(lacking[0].parent)!r} have no mask, the first "
            f"{lacking[0].name!r}: expected {f'{lacking[0].stem}_mask.png'!r} (or another image format, "
            f"with or without '_mask'); found: {contents(folder)}."
        )
    owners = Counter(mask for fitting in found for mask in fitting)
    for photo, fitting in zip(photos, found, strict=True):
        if len(fitting) > 1 or owners[fitting[0]] > 1:
            raise ValueError(
                f"{[mask.name for mask in fitting]} in {str(folder)!r} may belong to {photo.name!r}, and to "
                "no or another photo; rename them, so that one mask has the name of one photo."
            )
    return [mask for (mask,) in found]


def _holds_folders_alone(folder: Path) -> bool:
    entries = [path for path in folder.iterdir() if path.name[0] != "."] if folder.is_dir() else []
    return any(path.is_dir() for path in entries) and not any(map(is_image, entries))


def _unions_of(photos: list[Path], folder: Path) -> list[Path | UnionMask]:
    """Find the folder of each photo's masks: it has the photo's name."""
    refuse_twins(photos, "A folder of masks belongs to the photo of its name")
    return [
        UnionMask(tuple(map(str, images_in(folder / photo.stem, f"the masks of {str(photo)!r}"))))
        for photo in photos
    ]


def refuse_twins(paths: Iterable[Path], why: str) -> None:
    """Raise if two files differ in suffix or folder only."""
    seen: dict[str, Path] = {}
    for path in paths:
        other = seen.setdefault(path.stem, path)
        if other is not path:
            names = (
                (path.name, str(path.parent)) if other.parent == path.parent else (str(path), "two folders")
            )
            raise ValueError(
                f"{other.name!r} and {names[0]!r} in {names[1]!r} have one name. {why}: rename or remove one."
            )

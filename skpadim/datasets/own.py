"""One's own photos in folders: the layout of MVTec AD, with the names that people give its folders."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from sklearn.utils import Bunch
from sklearn.utils._param_validation import validate_params

from .bunches import Photo, Photos, bunch_of_paths
from .files import contents, images_in, is_image, listing, subfolders
from .folders import masks_of
from .masks import UnionMask

# The names of folders, as `_plain` has them. Of several that are there, the first goes.
_TRAIN = ("train", "training")
_TEST = ("test", "tests", "testing", "testpublic", "validation", "valid", "val")
_GOOD = ("good", "ok", "normal")
_MASKS = ("groundtruth", "gt", "masks", "mask")


@validate_params({"root": [str, os.PathLike]}, prefer_skip_nested_validation=True)
def load_inspection_folder(root: str | os.PathLike[str]) -> Bunch:
    """Load your own photos from a folder in the layout of MVTec AD.

    No photo is read: paths come back. Hidden files, and files that are not images, are passed over. Of
    every folder with photos that is not used, a warning tells.

    Parameters
    ----------
    root : str or path-like
        Folder that holds ``train/good``, and if need be ``test/good``, ``test/<defect>`` and
        ``ground_truth/<defect>``. A mask has its photo's name, with or without ``_mask`` after it,
        in any image format, or is a folder of that name that holds a file for each region. With
        a ``ground_truth``, every photo of a defect needs a mask.

        The folders may be called otherwise, in capitals or not, with ``_``, ``-``, a space or none:
        "train" or "training"; "test", "tests", "testing", "test_public", or, where none of these is there,
        "validation", "valid" or "val"; "good", "ok" or "normal"; "ground_truth", "gt", "masks" or "mask",
        beside the folder to test on or in it, with a folder for each defect or none. Of several that
        are there, the first goes. Any other name in the folder to test on is a defect's. In the folder
        to train on it is not used: defects there are neither trained on nor tested on.

    Returns
    -------
    Bunch
        As of `make_inspection_images` with a folder. Without a ``test``, nothing to test on; without
        a ``ground_truth``, ``masks_test`` is None throughout and says nothing of where defects are.
        ``DESCR`` names the folders that were used.

    Warns
    -----
    UserWarning
        If photos in other folders are passed over.

    Raises
    ------
    ValueError
        If ``train/good`` is missing, if it or a folder in ``test`` holds no image, if ``test`` holds
        images outside of its folders, or if a photo of a defect has no mask and ``ground_truth`` is
        there.

    Examples
    --------
    >>> import tempfile
    >>> from skpadim.datasets import load_inspection_folder, make_inspection_images
    >>> with tempfile.TemporaryDirectory() as root:
    ...     drawn = make_inspection_images(4, 1, 2, image_size=32, folder=root)
    ...     photos = load_inspection_folder(root)
    >>> photos.X_train.shape, photos.y_test
    ((4,), array([ 1, -1, -1]))
    """
    photos, used = _read_own_folder(Path(root))
    _warn_of_unused(Path(root), used)
    folders = ", ".join(str(path.relative_to(root)) for path in used)
    return bunch_of_paths(
        photos,
        "Photos in a folder",
        f"Folders: {folders}\nSource: {os.fspath(root)}\nLicence: as agreed with those who took the photos",
    )


def _read_own_folder(root: Path) -> tuple[Photos, list[Path]]:
    """Return the photos, and the folders that they and their masks are in."""
    train = _one_of(_TRAIN, root) or root / "train"
    good = training_folder(root) or train / "good"
    photos = images_in(good, "good photos to train on, the folder named 'good', 'ok' or 'normal'")
    if test_folder(root) is None:
        return Photos(photos), [good]
    tested, used = read_tested(root)
    return Photos(photos, tested), [good, *used]


def training_folder(root: Path) -> Path | None:
    """Return the folder of the good photos to train on, or None where the layout is another."""
    train = _one_of(_TRAIN, root)
    return None if train is None else _one_of(_GOOD, train)


def test_folder(root: Path) -> Path | None:
    """Return the folder to test on, or None where there is none."""
    return _one_of(_TEST, root)


def is_mask_folder(folder: Path) -> bool:
    """Say whether a folder is named as those of masks are."""
    return _plain(folder) in _MASKS


def read_tested(root: Path) -> tuple[list[Photo], list[Path]]:
    """Return the photos to test on, and the folders that they and their masks are in."""
    test = test_folder(root) or root / "test"
    kinds = [
        folder
        for folder in subfolders(test, "a folder 'good' and one for each defect")
        if not is_mask_folder(folder)
    ]
    masks = _one_of(_MASKS, root) or _one_of(_MASKS, test)
    if masks is not None and masks.parent == test and all(_plain(folder) in _GOOD for folder in kinds):
        raise ValueError(
            f"expected in {str(test)!r}: a folder 'good' and one for each defect; found: {contents(test)}, "
            f"of which {masks.name!r} would hold masks, but of no defect. Rename it if it is one."
        )
    tested = {folder: images_in(folder, "photos to test on") for folder in kinds}
    return list(_tested(tested, masks)), [*kinds, *([masks] if masks else [])]


def _tested(tested: dict[Path, list[Path]], masks: Path | None) -> Iterator[Photo]:
    # Several defects may share a folder of masks: their photos are paired together, or two of one name
    # would get one mask.
    sharing: dict[Path, list[Path]] = defaultdict(list)
    for folder, photos in tested.items():
        if masks is not None and _plain(folder) not in _GOOD:
            sharing[_masks_for(folder.name, masks)] += photos
    mask_of: dict[Path, Path | UnionMask] = {}
    for masks_folder, photos in sharing.items():
        mask_of.update(zip(photos, masks_of(photos, masks_folder), strict=True))
    for folder, photos in tested.items():
        defect = "good" if _plain(folder) in _GOOD else folder.name
        yield from (Photo(path, defect, mask_of.get(path)) for path in photos)


def _masks_for(defect: str, masks: Path) -> Path:
    """Return the folder of a defect's masks: of its name, in capitals or not, or the one of all defects."""
    folders = [path for path in masks.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if not folders and any(map(is_image, masks.iterdir())):
        return masks
    fitting = [path for path in folders if path.name.lower() == defect.lower()]
    return masks / defect if masks / defect in fitting or not fitting else min(fitting)


def _one_of(names: Sequence[str], folder: Path) -> Path | None:
    """Return the subfolder of the first of the names that is there, be it in capitals or with dashes."""
    if not folder.is_dir():
        return None
    there = sorted(path for path in folder.iterdir() if path.is_dir() and _plain(path) in names)
    return min(there, key=lambda path: names.index(_plain(path)), default=None)


def _plain(folder: Path) -> str:
    return folder.name.lower().translate({ord(sign): None for sign in "_- "})


def _warn_of_unused(root: Path, used: Sequence[Path]) -> None:
    """Warn of the folders whose photos are passed over."""
    unused = []
    for name, below, files in os.walk(root):
        folder = Path(name)
        in_use = folder in used
        # What lies below a folder of masks are masks.
        below[:] = [] if in_use and _plain(folder) in _MASKS else sorted(n for n in below if n[0] != ".")
        if not in_use and any(is_image(folder / file) for file in files if file[0] != "."):
            unused.append(str(folder.relative_to(root)))
    if unused:
        warnings.warn(
            f"{len(unused)} folder(s) with photos in {str(root)!r} are not used: {listing(unused)}. Used are "
            f"{listing([str(path.relative_to(root)) for path in used], most=20)}. Defects in a folder to "
            "train on are never trained on, and not tested on unless moved to 'test'.",
            UserWarning,
            stacklevel=4,  # over this function, the loader and the wrapper that checks its parameters
        )

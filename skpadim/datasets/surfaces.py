"""Surfaces whose masks alone say which photos are defective: KolektorSDD, KolektorSDD2 and DAGM 2007."""

from __future__ import annotations

import os
from collections.abc import Iterator
from numbers import Integral
from pathlib import Path

from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, validate_params

from .bunches import Photo, Photos, bunch_of_paths
from .files import category_folder, contents, images_in, lines_of, subfolders
from .masks import read_mask

_N_FOLDS = 3
_DAGM = ", ".join(f"Class{number}" for number in range(1, 11))


@validate_params(
    {"root": [str, os.PathLike], "fold": [Interval(Integral, 0, _N_FOLDS - 1, closed="both")]},
    prefer_skip_nested_validation=True,
)
def load_kolektor_sdd(root: str | os.PathLike[str], *, fold: int = 0) -> Bunch:
    """Load KolektorSDD: surfaces of electrical commutators, some with a crack.

    Nothing is downloaded. Paths come back, but the masks are read: they alone say which photo is defective.
    The data set has no split. As its makers did, it is tested on a third of the commutators at a time,
    all eight photos of one together; which third is ours to choose.

    Parameters
    ----------
    root : str or path-like
        Folder that holds ``kos01`` to ``kos50``, each with ``Part0.jpg``, ``Part0_label.bmp`` and so on. The
        mask of a good photo is black.
    fold : int, default=0
        0, 1 or 2: test on every third folder, from the first, second or third on, and train on the good
        photos of the others. Their defective photos are left out.

    Returns
    -------
    Bunch
        As of `make_inspection_images` with a folder; ``defects_test`` is "good" or "defect". ``DESCR``
        names source and licence.

    Raises
    ------
    ValueError
        If there are no folders, or one holds no image, or a photo has no mask.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from skpadim.datasets import load_kolektor_sdd
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for name, grey in [("kos01", 255), ("kos02", 0), ("kos03", 0)]:
    ...         Path(root, name).mkdir()
    ...         Image.new("L", (8, 8)).save(Path(root, name, "Part0.jpg"))
    ...         Image.new("L", (8, 8), grey).save(Path(root, name, "Part0_label.bmp"))
    ...     surfaces = load_kolektor_sdd(root)
    >>> len(surfaces.X_train), surfaces.y_test
    (2, array([-1]))
    """
    items = subfolders(Path(root), "a folder of photos for each commutator, 'kos01' and so on")
    parts = [list(_masked_photos(item, "_label")) for item in items]
    train = [photo for i, part in enumerate(parts) if i % _N_FOLDS != fold for photo in part]
    test = [photo for part in parts[fold::_N_FOLDS] for photo in part]
    return bunch_of_paths(
        _good_alone(train, test, Path(root)),
        f"KolektorSDD, fold {fold} of {_N_FOLDS}",
        f"{_left_out(train)}"
        "Source: Tabernik, Sela, Skvarc, Skocaj, Segmentation-based deep-learning approach for\n"
        "surface-defect detection, Journal of Intelligent Manufacturing 31, 2020; https://www.vicos.si/resources/kolektorsdd\n"
        "Licence: CC BY-NC-SA 4.0, so not for commercial use",
    )


@validate_params({"root": [str, os.PathLike]}, prefer_skip_nested_validation=True)
def load_kolektor_sdd2(root: str | os.PathLike[str]) -> Bunch:
    """Load KolektorSDD2: surfaces of a product, some with scratches, spots or other defects.

    Nothing is downloaded. Paths come back, but the masks are read: they alone say which photo is defective.

    Parameters
    ----------
    root : str or path-like
        Folder that holds ``train`` and ``test``, each with ``<number>.png`` and ``<number>_GT.png``. The mask
        of a good photo is black. Files with " (copy)" in their names, of which the archive holds two, are
        passed over.

    Returns
    -------
    Bunch
        As of `make_inspection_images` with a folder; ``defects_test`` is "good" or "defect". The
        defective photos in ``train`` are left out. ``DESCR`` names source and licence.

    Raises
    ------
    ValueError
        If a folder is missing or holds no image, or a photo has no mask.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from skpadim.datasets import load_kolektor_sdd2
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for name, grey in [("train/10000", 0), ("train/10001", 255), ("test/20000", 255)]:
    ...         Path(root, name).parent.mkdir(exist_ok=True)
    ...         Image.new("L", (8, 8)).save(Path(root, f"{name}.png"))
    ...         Image.new("L", (8, 8), grey).save(Path(root, f"{name}_GT.png"))
    ...     surfaces = load_kolektor_sdd2(root)
    >>> len(surfaces.X_train), surfaces.y_test
    (1, array([-1]))
    """
    train, test = (list(_masked_photos(Path(root) / part, "_GT")) for part in ("train", "test"))
    return bunch_of_paths(
        _good_alone(train, test, Path(root)),
        "KolektorSDD2",
        f"{_left_out(train)}"
        "Source: Bozic, Tabernik, Skocaj, Mixed supervision for surface-defect detection: From weakly to\n"
        "fully supervised learning, Computers in Industry 129, 2021; https://www.vicos.si/resources/kolektorsdd2\n"
        "Licence: CC BY-NC-SA 4.0, so not for commercial use",
    )


@validate_params({"root": [str, os.PathLike], "category": [str]}, prefer_skip_nested_validation=True)
def load_dagm(root: str | os.PathLike[str], category: str) -> Bunch:
    """Load a class of DAGM 2007: drawn textures, some with a defect that an ellipse roughly marks.

    Nothing is downloaded, and no photo is read: paths come back.

    Parameters
    ----------
    root : str or path-like
        Folder that holds ``Class1`` to ``Class10``, each with ``Train/<number>.PNG``,
        ``Train/Label/<number>_label.PNG`` for the defective ones, and the same in ``Test``.
        Where there is a ``Label/Labels.txt``, whose lines are a number, 0 or 1 for good or defective, and the
        photo's name, the masks must agree with it.
    category : str
        "Class1" to "Class10".

    Returns
    -------
    Bunch
        As of `make_inspection_images` with a folder; ``defects_test`` is "good" or "defect". The
        defective photos in ``Train`` are left out. ``DESCR`` names source and licence.

    Raises
    ------
    ValueError
        If there is no such category, if a folder is missing or holds no image, if a mask has no photo, or if
        a photo that ``Labels.txt`` calls defective has no mask.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from skpadim.datasets import load_dagm
    >>> names = ["Train/0001", "Train/0002", "Train/Label/0002_label"]
    >>> names += ["Test/0001", "Test/0002", "Test/Label/0001_label"]
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for name in names:
    ...         Path(root, "Class1", name).parent.mkdir(parents=True, exist_ok=True)
    ...         Image.new("L", (8, 8)).save(Path(root, "Class1", f"{name}.PNG"))
    ...     textures = load_dagm(root, "Class1")
    >>> len(textures.X_train), textures.y_test
    (1, array([-1,  1]))
    """
    folder = category_folder(Path(root), category, _DAGM, "DAGM 2007")
    train, test = _labelled_photos(folder / "Train"), _labelled_photos(folder / "Test")
    return bunch_of_paths(
        _good_alone(train, test, folder),
        f"DAGM 2007, {category}",
        f"{_left_out(train)}"
        "Source: Wieler, Hahn, Hamprecht, Weakly supervised learning for industrial optical inspection,\n"
        "DAGM 2007;\n"
        "https://hci.iwr.uni-heidelberg.de/content/weakly-supervised-learning-industrial-optical-inspection\n"
        "Licence: none that we know of; ask the authors to be sure",
    )


def _masked_photos(folder: Path, ending: str) -> Iterator[Photo]:
    """Yield the photos of a folder where each has a mask beside it: its name and the ending."""
    files = images_in(folder, f"photos and masks, '<name>{ending}' to '<name>'")
    files = [path for path in files if " (copy)" not in path.stem]
    masks = {path.stem: path for path in files if path.stem.endswith(ending)}
    photos = [path for path in files if path not in masks.values()]
    _refuse_unpaired(photos, masks, ending, folder)
    for photo in photos:
        mask = masks.get(photo.stem + ending)
        if mask is None:
            raise ValueError(
                f"{photo.name!r} in {str(folder)!r} has no mask: expected {photo.stem + ending!r} beside it; "
                f"found: {contents(folder)}."
            )
        marked = read_mask(mask)
        yield Photo(photo, "defect", mask) if marked is not None and marked.any() else Photo(photo)


def _labelled_photos(folder: Path) -> list[Photo]:
    """Return the photos of a folder where ``Label`` holds the masks of those that are defective."""
    photos = images_in(folder, "photos '<number>.PNG'")
    labels = folder / "Label"
    ending = "_label"
    masks = {
        path.stem: path for path in images_in(labels, "a mask '<number>_label.PNG' for each defective photo")
    }
    _refuse_unpaired(photos, masks, ending, labels)
    listed = _listed_as_defective(labels / "Labels.txt")
    if lacking := [
        photo.name for photo in photos if photo.name in listed and photo.stem + ending not in masks
    ]:
        raise ValueError(
            f"{len(lacking)} photo(s) that {str(labels / 'Labels.txt')!r} calls defective have no mask, the "
            f"first {lacking[0]!r}: expected {Path(lacking[0]).stem + ending!r}; found: {contents(labels)}."
        )
    return [
        Photo(photo, "defect", masks[photo.stem + ending]) if photo.stem + ending in masks else Photo(photo)
        for photo in photos
    ]


def _listed_as_defective(path: Path) -> set[str]:
    rows = [line.split() for line in lines_of(path)] if path.is_file() else []
    return {row[2] for row in rows if len(row) > 2 and row[1] == "1"}


def _refuse_unpaired(photos: list[Path], masks: dict[str, Path], ending: str, folder: Path) -> None:
    names = {photo.stem + ending for photo in photos}
    if alone := sorted(path.name for name, path in masks.items() if name not in names):
        raise ValueError(
            f"{len(alone)} mask(s) in {str(folder)!r} have no photo, the first {alone[0]!r}: expected the "
            f"photo of that name without {ending!r}."
        )


def _good_alone(train: list[Photo], test: list[Photo], root: Path) -> Photos:
    """Return the good photos to train on, and all to test on; there must be some of each."""
    good = [photo.path for photo in train if photo.defect == "good"]
    if not good or not test:
        raise ValueError(
            f"{str(root)!r} has {len(good)} good photo(s) to train on and {len(test)} to test on; expected "
            "some of both."
        )
    return Photos(good, test)


def _left_out(train: list[Photo]) -> str:
    n_defective = sum(photo.defect != "good" for photo in train)
    return f"Left out: {n_defective} defective photo(s) among those to train on\n"

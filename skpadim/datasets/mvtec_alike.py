"""Data sets in the layout of MVTec AD: MPDD, and BTAD by its own names of folders."""

from __future__ import annotations

import os
from pathlib import Path

from sklearn.utils import Bunch
from sklearn.utils._param_validation import validate_params

from .bunches import bunch_of_paths
from .files import category_folder
from .folders import read_folders

_ROOT_AND_CATEGORY = {"root": [str, os.PathLike], "category": [str]}
_MPDD = "bracket_black, bracket_brown, bracket_white, connector, metal_plate, tubes"


@validate_params(_ROOT_AND_CATEGORY, prefer_skip_nested_validation=True)
def load_mpdd(root: str | os.PathLike[str], category: str) -> Bunch:
    """Load a category of MPDD: painted metal parts, at several places and angles.

    Nothing is downloaded, and no photo is read: paths come back. Its parts are not aligned, which PaDiM
    wants them to be.

    Parameters
    ----------
    root : str or path-like
        Folder that holds the categories' folders, each with ``train/good``, ``test/<good or
        defect>`` and ``ground_truth/<defect>/<name>_mask.png``.
    category : str
        One of "bracket_black", "bracket_brown", "bracket_white", "connector", "metal_plate" and "tubes".

    Returns
    -------
    Bunch
        As of `make_inspection_images` with a folder. ``DESCR`` names source and licence.

    Raises
    ------
    ValueError
        As `load_mvtec_ad`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skpadim.datasets import load_mpdd, make_inspection_images
    >>> with tempfile.TemporaryDirectory() as root:
    ...     drawn = make_inspection_images(4, 1, 2, image_size=32, folder=Path(root, "tubes"))
    ...     print(load_mpdd(root, "tubes").y_test)
    [ 1 -1 -1]
    """
    return bunch_of_paths(
        read_folders(category_folder(Path(root), category, _MPDD, "MPDD")),
        f"MPDD, {category}",
        "Source: Jezek, Jonak, Burget, Dvorak, Skotak, Deep learning-based defect detection of metal parts:\n"
        "Evaluating current methods in complex conditions, ICUMT 2021; https://github.com/stepanje/MPDD\n"
        "Licence: CC BY-NC-SA 4.0 according to the documentation of anomalib, so not for commercial use",
    )


@validate_params(_ROOT_AND_CATEGORY, prefer_skip_nested_validation=True)
def load_btad(root: str | os.PathLike[str], category: str) -> Bunch:
    """Load a product of BTAD, the beanTech anomaly detection data set.

    Nothing is downloaded, and no photo is read: paths come back.

    Parameters
    ----------
    root : str or path-like
        Folder that holds the products' folders, each with ``train/ok``, ``test/ok``, ``test/ko`` and
        ``ground_truth/ko``, PNG or BMP; a mask has its photo's name but for the suffix.
    category : str
        "01", "02" or "03".

    Returns
    -------
    Bunch
        As of `make_inspection_images` with a folder; ``defects_test`` is "good" or "ko".
        ``DESCR`` names source and licence.

    Raises
    ------
    ValueError
        If there is no such category, if a folder is missing or holds no image, or if a photo in
        ``test/ko`` has no mask.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from skpadim.datasets import load_btad
    >>> names = ["train/ok/0000.bmp", "test/ko/0001.bmp", "test/ok/0002.bmp", "ground_truth/ko/0001.png"]
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for name in names:
    ...         Path(root, "01", name).parent.mkdir(parents=True)
    ...         Image.new("L", (8, 8)).save(Path(root, "01", name))
    ...     product = load_btad(root, "01")
    >>> product.y_test
    array([-1,  1])
    """
    folder = category_folder(Path(root), category, "01, 02, 03", "BTAD")
    return bunch_of_paths(
        read_folders(folder, good="ok"),
        f"BTAD, product {category}",
        "Source: Mishra, Verk, Fornasier, Piciarelli, Foresti, VT-ADL: A vision transformer network for\n"
        "image anomaly detection and localization, ISIE 2021; https://avires.dimi.uniud.it/papers/btad\n"
        "Licence: CC BY-SA, according to the readme of the data set",
    )

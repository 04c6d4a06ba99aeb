"""MVTec AD, MVTec AD 2 and MVTec LOCO AD."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sklearn.utils import Bunch
from sklearn.utils._param_validation import validate_params

from .bunches import as_paths, bunch_of_paths
from .files import category_folder, images_in, read_json
from .folders import read_folders

_ROOT_AND_CATEGORY = {"root": [str, os.PathLike], "category": [str]}

_MVTEC_AD = (
    "bottle, cable, capsule, carpet, grid, hazelnut, leather, metal_nut, pill, screw, tile, toothbrush, "
    "transistor, wood, zipper"
)
_MVTEC_AD_2 = "can, fabric, fruit_jelly, rice, sheet_metal, vial, wallplugs, walnuts"
_MVTEC_LOCO = "breakfast_box, juice_bottle, pushpins, screw_bag, splicing_connectors"

# A kind of defect in MVTec LOCO AD's defects_config.json.
_KIND: dict[str, Any] = {
    "defect_name": str,
    "pixel_value": int,
    "saturation_threshold": (int, float),
    "relative_saturation": bool,
}


@validate_params(_ROOT_AND_CATEGORY, prefer_skip_nested_validation=True)
def load_mvtec_ad(root: str | os.PathLike[str], category: str) -> Bunch:
    """Load a category of MVTec AD: photos of an industrial product or surface.

    Nothing is downloaded, and no photo is read: paths come back.

    Parameters
    ----------
    root : str or path-like
        Folder that holds the categories' folders, each with ``train/good``, ``test/<good or
        defect>`` and ``ground_truth/<defect>/<name>_mask.png``.
    category : str
        One of "bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut",
        "pill", "screw", "tile", "toothbrush", "transistor", "wood" and "zipper".

    Returns
    -------
    Bunch
        As of `make_inspection_images` with a folder. ``DESCR`` names source and licence.

    Raises
    ------
    ValueError
        If there is no such category, if a folder is missing or holds no image, or if a photo of a
        defect has no mask.

    Examples
    --------
    A folder in MVTec AD's layout, with drawn photos:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from skpadim.datasets import load_mvtec_ad, make_inspection_images
    >>> with tempfile.TemporaryDirectory() as root:
    ...     drawn = make_inspection_images(4, 1, 2, image_size=32, folder=Path(root, "bottle"))
    ...     bottles = load_mvtec_ad(root, "bottle")
    >>> [str(defect) for defect in bottles.defects_test]
    ['good', 'missing_hole', 'scratch']
    >>> [mask and Path(mask).name for mask in bottles.masks_test]
    [None, '000_mask.png', '000_mask.png']
    """
    return bunch_of_paths(
        read_folders(category_folder(Path(root), category, _MVTEC_AD, "MVTec AD")),
        f"MVTec AD, {category}",
        "Source: Bergmann, Fauser, Sattlegger, Steger, MVTec AD - A comprehensive real-world dataset for\n"
        "unsupervised anomaly detection, CVPR 2019; https://www.mvtec.com/company/research/datasets/mvtec-ad\n"
        "Licence: CC BY-NC-SA 4.0, so not for commercial use",
    )


@validate_params(_ROOT_AND_CATEGORY, prefer_skip_nested_validation=True)
def load_mvtec_ad_2(root: str | os.PathLike[str], category: str) -> Bunch:
    """Load a category of MVTec AD 2: harder scenes, under several lights.

    Nothing is downloaded, and no photo is read: paths come back.

    Parameters
    ----------
    root : str or path-like
        Folder that holds the categories' folders, each with ``train/good``, ``validation/good``,
        ``test_public/good``, ``test_public/bad`` and ``test_public/ground_truth/bad/<name>_mask.png``, and
        if need be ``test_private`` and ``test_private_mixed``.
    category : str
        One of "can", "fabric", "fruit_jelly", "rice", "sheet_metal", "vial", "wallplugs" and "walnuts".

    Returns
    -------
    Bunch
        As of `make_inspection_images` with a folder, to test on the public part; ``defects_test`` is "good"
        or "bad". ``DESCR`` names source and licence. Besides

        X_validation : ndarray of shape (n_validation,), str
            Good photos, neither to train nor to test on.
        X_private, X_private_mixed : ndarray of shape (n_private,), str
            Photos without labels, under the lights of the good photos and under any, which the data set's
            makers score. Empty if they are not there.

    Raises
    ------
    ValueError
        If there is no such category, if a folder is missing or holds no image, or if a photo in
        ``test_public/bad`` has no mask.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from skpadim.datasets import load_mvtec_ad_2
    >>> names = ["train/good/000_regular.png", "validation/good/000_regular.png"]
    >>> names += ["test_public/good/000_regular.png", "test_public/bad/000_regular.png"]
    >>> names += ["test_public/ground_truth/bad/000_regular_mask.png", "test_private/000_regular.png"]
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for name in names:
    ...         Path(root, "rice", name).parent.mkdir(parents=True)
    ...         Image.new("L", (8, 8)).save(Path(root, "rice", name))
    ...     rice = load_mvtec_ad_2(root, "rice")
    >>> rice.y_test, len(rice.X_validation), len(rice.X_private)
    (array([-1,  1]), 1, 1)
    """
    folder = category_folder(Path(root), category, _MVTEC_AD_2, "MVTec AD 2")
    bunch = bunch_of_paths(
        read_folders(folder, test="test_public", ground_truth="test_public/ground_truth"),
        f"MVTec AD 2, {category}",
        "Source: Heckler-Kram, Neudeck, Scheler, Koenig, Steger, The MVTec AD 2 dataset: Advanced scenarios\n"
        "for unsupervised anomaly detection, 2025; https://www.mvtec.com/company/research/datasets/mvtec-ad-2\n"
        "Licence: CC BY-NC-SA 4.0, so not for commercial use",
    )
    bunch.X_validation = as_paths(images_in(folder / "validation" / "good", "good photos held back"))
    for part in ("private", "private_mixed"):
        photos = folder / f"test_{part}"
        there = images_in(photos, "photos without labels") if photos.exists() else []
        bunch[f"X_{part}"] = as_paths(there)
    return bunch


@validate_params(_ROOT_AND_CATEGORY, prefer_skip_nested_validation=True)
def load_mvtec_loco(root: str | os.PathLike[str], category: str) -> Bunch:
    """Load a category of MVTec LOCO AD: damage, and parts that are missing, too many or misplaced.

    Nothing is downloaded, and no photo is read: paths come back.

    Parameters
    ----------
    root : str or path-like
        Folder that holds the categories' folders, each with ``defects_config.json``, ``train/good``,
        ``validation/good``, ``test/<good, logical_anomalies or structural_anomalies>`` and, for each photo
        of an anomaly, a folder of masks, ``ground_truth/<anomalies>/<name>/000.png`` and so on.
    category : str
        One of "breakfast_box", "juice_bottle", "pushpins", "screw_bag" and "splicing_connectors".

    Returns
    -------
    Bunch
        As of `make_inspection_images` with a folder, but that the masks in ``masks_test`` are `UnionMask`:
        their ``paths`` are one file for each region. ``defects_test`` is "good", "logical_anomalies" or
        "structural_anomalies". ``DESCR`` names source and licence. Besides

        X_validation : ndarray of shape (n_validation,), str
            Good photos, neither to train nor to test on.
        defect_kinds : dict of int to dict
            What a value in the file of a region stands for: "defect_name", "saturation_threshold" and
            "relative_saturation", as in ``defects_config.json``. The region counts as found when as many
            pixels of it are, or, if relative, that share of them.

    Raises
    ------
    ValueError
        If there is no such category, if a file or folder is missing or holds no image, or if a photo of
        an anomaly has no folder of masks.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skpadim.datasets import load_mvtec_loco
    >>> names = ["train/good/000.png", "validation/good/000.png", "test/good/000.png"]
    >>> names += ["test/logical_anomalies/000.png", "ground_truth/logical_anomalies/000/000.png"]
    >>> kind = {"defect_name": "missing_pushpin", "pixel_value": 255}
    >>> kind |= {"saturation_threshold": 3500, "relative_saturation": False}
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for name in names:
    ...         Path(root, "pushpins", name).parent.mkdir(parents=True)
    ...         Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).save(Path(root, "pushpins", name))
    ...     _ = Path(root, "pushpins", "defects_config.json").write_text(json.dumps([kind]))
    ...     pushpins = load_mvtec_loco(root, "pushpins")
    ...     print(np.asarray(pushpins.masks_test[1]))
    [[False  True]]
    >>> pushpins.defect_kinds[255]["defect_name"]
    'missing_pushpin'
    """
    folder = category_folder(Path(root), category, _MVTEC_LOCO, "MVTec LOCO AD")
    bunch = bunch_of_paths(
        read_folders(folder),
        f"MVTec LOCO AD, {category}",
        "Source: Bergmann, Batzner, Fauser, Sattlegger, Steger, Beyond dents and scratches: Logical\n"
        "constraints in unsupervised anomaly detection and localization, IJCV 130, 2022;\n"
        "https://www.mvtec.com/company/research/datasets/mvtec-loco\n"
        "Licence: CC BY-NC-SA 4.0, so not for commercial use",
    )
    bunch.X_validation = as_paths(images_in(folder / "validation" / "good", "good photos held back"))
    bunch.defect_kinds = _read_kinds(folder / "defects_config.json")
    return bunch


def _read_kinds(path: Path) -> dict[int, dict[str, Any]]:
    expected = f"a list of kinds of defect, each with {', '.join(_KIND)}"
    kinds = read_json(path, expected)
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if not isinstance(kind, dict) or not all(isinstance(kind.get(key), of) for key, of in _KIND.items()):
            raise ValueError(f"{str(path)!r} holds {kind!r}; expected {expected}.")
    return {kind["pixel_value"]: {key: kind[key] for key in _KIND if key != "pixel_value"} for kind in kinds}

"""Data sets for examples, tests and benchmarks: drawn photos of a machined part, and real ones in folders."""

from __future__ import annotations

import os
from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, validate_params

from ..base.randomness import draw_seed
from . import layouts
from .flange import DESCRIPTION, KINDS, Shot, in_memory, on_disk, refuse_conflicts


@validate_params(
    {
        "n_train": [Interval(Integral, 0, None, closed="left")],
        "n_good": [Interval(Integral, 0, None, closed="left")],
        "n_defective": [Interval(Integral, 0, None, closed="left")],
        "image_size": [Interval(Integral, 32, None, closed="left")],
        "folder": [str, os.PathLike, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_inspection_images(
    n_train: int = 60,
    n_good: int = 30,
    n_defective: int = 60,
    *,
    image_size: int = 256,
    folder: str | os.PathLike[str] | None = None,
    random_state: int | np.random.RandomState | None = 0,
) -> Bunch:
    """Draw aligned photos of a machined part, good and defective, with masks of the defects.

    The part is a flange of turned metal. Position, light, surface texture and sensor noise vary
    between photos; the defects vary in place, size and contrast.

    Parameters
    ----------
    n_train : int, default=60
        Photos of good parts to train on.
    n_good : int, default=30
        Photos of good parts to test on.
    n_defective : int, default=60
        Photos of defective parts to test on: a missing hole, a scratch, a stain and a burr in
        turn.
    image_size : int, default=256
        Height and width of a photo in pixels, at least 32.
    folder : str or path-like, default=None
        Write PNGs there, one at a time, in the layout of MVTec AD: ``train/good/000.png``,
        ``test/<good or defect>/000.png`` and ``ground_truth/<defect>/000_mask.png``, white on the
        defect. The folder is made if need be. Photos that an earlier call drew there are
        overwritten, if this call draws as many.
    random_state : int, RandomState instance or None, default=0
        Decides everything drawn. A photo depends on it, on its place among the photos of its set
        and on ``image_size``, not on how many others are drawn. None draws anew at every call.

    Returns
    -------
    Bunch
        Dictionary-like, with the attributes

        X_train : ndarray of shape (n_train, image_size, image_size, 3), uint8
            Good photos, RGB. With ``folder``, paths: ndarray of shape (n_train,), str.
        X_test : ndarray of shape (n_good + n_defective, image_size, image_size, 3), uint8
            The good photos, then the defective ones. With ``folder``, paths, as for X_train.
        y_test : ndarray of shape (n_good + n_defective,), int64
            +1 for a good part, -1 for a defective one.
        masks_test : ndarray of shape (n_good + n_defective, image_size, image_size), bool
            True on the defect. With ``folder``, object of shape (n_good + n_defective,): a path
            (str), or None for a good part.
        defects_test : ndarray of shape (n_good + n_defective,), str
            "good", "missing_hole", "scratch", "stain" or "burr".
        DESCR : str
            A description of the data set.

    Raises
    ------
    ValueError
        If a parameter is out of range or of a wrong type, if ``folder`` is a file, or if its
        ``train``, ``test`` or ``ground_truth`` holds a file that this function did not draw, or
        one left by a call that drew more. Nothing is written then.

    Examples
    --------
    >>> from skpadim.datasets import make_inspection_images
    >>> photos = make_inspection_images(n_train=3, n_good=1, n_defective=4, image_size=64)
    >>> photos.X_train.shape
    (3, 64, 64, 3)
    >>> photos.y_test
    array([ 1, -1, -1, -1, -1])
    >>> [str(defect) for defect in photos.defects_test]
    ['good', 'missing_hole', 'scratch', 'stain', 'burr']
    """
    seed = draw_seed(random_state)
    defects = list(KINDS)[1:]
    train = [Shot("train", "good", i) for i in range(n_train)]
    test = [Shot("test", "good", i) for i in range(n_good)]
    test += [Shot("test", defects[i % len(defects)], i // len(defects)) for i in range(n_defective)]

    if folder is None:
        X_train, _ = in_memory(train, seed, image_size)
        X_test, masks_test = in_memory(test, seed, image_size)
    else:
        root = Path(folder)
        refuse_conflicts(root, train + test)
        X_train, _ = on_disk(train, seed, image_size, root)
        X_test, masks_test = on_disk(test, seed, image_size, root)
    return layouts.make_bunch(
        X_train,
        X_test,
        masks_test,
        defects_test=[shot.kind for shot in test],
        description=DESCRIPTION.format(
            n_train=n_train, n_good=n_good, n_defective=n_defective, image_size=image_size
        ),
    )


_MVTEC_AD = (
    "bottle, cable, capsule, carpet, grid, hazelnut, leather, metal_nut, pill, screw, tile, toothbrush, "
    "transistor, wood, zipper"
)
_VISA = (
    "candle, capsules, cashew, chewinggum, fryum, macaroni1, macaroni2, pcb1, pcb2, pcb3, pcb4, pipe_fryum"
)

_ROOT = {"root": [str, os.PathLike]}
_ROOT_AND_CATEGORY = {**_ROOT, "category": [str]}


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
    return layouts.bunch_of_paths(
        layouts.read_folders(layouts.category_folder(Path(root), category, _MVTEC_AD, "MVTec AD")),
        f"MVTec AD, {category}",
        "Source: Bergmann, Fauser, Sattlegger, Steger, MVTec AD - A comprehensive real-world dataset for\n"
        "unsupervised anomaly detection, CVPR 2019; https://www.mvtec.com/company/research/datasets/mvtec-ad\n"
        "Licence: CC BY-NC-SA 4.0, so not for commercial use",
    )


@validate_params(_ROOT_AND_CATEGORY, prefer_skip_nested_validation=True)
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
    layouts.category_folder(Path(root), category, _VISA, "VisA")
    return layouts.bunch_of_paths(
        layouts.read_visa(Path(root), category),
        f"VisA, {category}",
        "Masks: a number for each kind of defect, 0 where there is none; see skpadim.datasets.read_mask\n"
        "Source: Zou, Jeong, Pemula, Zhang, Dabeer, SPot-the-difference self-supervised pre-training for\n"
        "anomaly detection and segmentation, ECCV 2022; https://github.com/amazon-science/spot-diff\n"
        "Licence: CC BY 4.0",
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
    folder = layouts.category_folder(Path(root), category, "01, 02, 03", "BTAD")
    return layouts.bunch_of_paths(
        layouts.read_folders(folder, good="ok"),
        f"BTAD, product {category}",
        "Source: Mishra, Verk, Fornasier, Piciarelli, Foresti, VT-ADL: A vision transformer network for\n"
        "image anomaly detection and localization, ISIE 2021; https://avires.dimi.uniud.it/papers/btad\n"
        "Licence: CC BY-SA, according to the readme of the data set",
    )


@validate_params(_ROOT, prefer_skip_nested_validation=True)
def load_shanghaitech(root: str | os.PathLike[str]) -> Bunch:
    """Load the frames of ShanghaiTech Campus: surveillance videos, some with an unusual event.

    Nothing is downloaded or decoded: paths come back. The data set's training videos come as AVI files:
    extract their frames first, say by ffmpeg. The first two digits of a video's name number the
    camera, of which `PaDiMDetector` wants one at a time.

    Parameters
    ----------
    root : str or path-like
        Folder that holds ``training/frames/<video>/<number>.jpg``,
        ``testing/frames/<video>/<number>.jpg``, ``testing/test_frame_mask/<video>.npy``, 1 for a frame
        with an anomaly and else 0, and ``testing/test_pixel_mask/<video>.npy`` of shape
        (n_frames, height, width).

    Returns
    -------
    Bunch
        As of `make_inspection_images` with a folder, but that the masks in ``masks_test`` are
        `FrameMask`, or None for a frame without an anomaly; `skpadim.metrics` takes both.
        The labels of the frames decide: pixel masks of frames labelled as normal are left aside.
        Sorted by video, then by frame number. ``defects_test`` is "good" or "anomaly".
        ``DESCR`` names source and licence.

    Raises
    ------
    ValueError
        If a folder or file is missing, if a frame's name is not a number, or if the labels or masks of
        a video are not as many as its frames.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skpadim.datasets import load_shanghaitech
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for name in ["training/frames/01_001/000.jpg", "testing/frames/01_0014/000.jpg"]:
    ...         Path(root, name).parent.mkdir(parents=True)
    ...         Image.new("L", (3, 1)).save(Path(root, name))
    ...     for name, array in [("test_frame_mask", [1]), ("test_pixel_mask", [[[0, 1, 1]]])]:
    ...         Path(root, "testing", name).mkdir()
    ...         np.save(Path(root, "testing", name, "01_0014.npy"), np.array(array))
    ...     frames = load_shanghaitech(root)
    ...     print(np.asarray(frames.masks_test[0]))
    [[False  True  True]]
    """
    return layouts.bunch_of_paths(
        layouts.read_shanghaitech(Path(root)),
        "ShanghaiTech Campus",
        "Source: Luo, Liu, Gao, A revisit of sparse coding based anomaly detection in stacked RNN\n"
        "framework, ICCV 2017; https://svip-lab.github.io/dataset/campus_dataset.html\n"
        "Licence: BSD 2-Clause according to the documentation of anomalib; ask the authors to be sure",
    )


@validate_params(_ROOT, prefer_skip_nested_validation=True)
def load_inspection_folder(root: str | os.PathLike[str]) -> Bunch:
    """Load your own photos from a folder in the layout of MVTec AD.

    No photo is read: paths come back. Hidden files, and files that are not images, are passed over.

    Parameters
    ----------
    root : str or path-like
        Folder that holds ``train/good``, and if need be ``test/good``, ``test/<defect>`` and
        ``ground_truth/<defect>``. A mask has its photo's name, with or without ``_mask`` after it,
        in any image format. With a ``ground_truth``, every photo of a defect needs a mask.

    Returns
    -------
    Bunch
        As of `make_inspection_images` with a folder. Without a ``test``, nothing to test on; without
        a ``ground_truth``, ``masks_test`` is None throughout and says nothing of where defects are.

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
    return layouts.bunch_of_paths(
        layouts.read_own_folder(Path(root)),
        "Photos in a folder",
        f"Source: {os.fspath(root)}\nLicence: as agreed with those who took the photos",
    )

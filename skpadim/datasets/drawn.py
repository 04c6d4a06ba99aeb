"""The drawn photos of a machined part as a data set: in memory, or as files in MVTec AD's layout."""

from __future__ import annotations

import os
from numbers import Integral, Real
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, validate_params

from ..base.randomness import draw_seed
from .bunches import make_bunch
from .flange import DESCRIPTION, KINDS, Looseness, Shot, in_memory, on_disk, refuse_conflicts


@validate_params(
    {
        "n_train": [Interval(Integral, 0, None, closed="left")],
        "n_good": [Interval(Integral, 0, None, closed="left")],
        "n_defective": [Interval(Integral, 0, None, closed="left")],
        "image_size": [Interval(Integral, 32, None, closed="left")],
        "max_angle": [Interval(Real, 0, 180, closed="both")],
        "max_shift": [Interval(Real, 0, None, closed="left")],
        "max_scale": [Interval(Real, 0, 0.2, closed="both")],
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
    max_angle: float = 0.0,
    max_shift: float = 0.0,
    max_scale: float = 0.0,
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
    max_angle, max_shift, max_scale : float, default=0.0
        How far parts lie from where the fixture holds them, drawn uniformly up to there: degrees to either
        side, at most 180; pixels in each direction; and the share by which parts come out larger or smaller,
        at most 0.2. The light turns with the part, as where the camera turns.
    folder : str or path-like, default=None
        Write PNGs there, one at a time, in the layout of MVTec AD: ``train/good/000.png``,
        ``test/<good or defect>/000.png`` and ``ground_truth/<defect>/000_mask.png``, white on the
        defect. The folder is made if need be. Photos that an earlier call drew there are
        overwritten, if this call draws as many.
    random_state : int, RandomState instance or None, default=0
        Decides everything drawn. A photo depends on it, on its place among the photos of its set and on
        ``image_size`` and how it is moved, not on how many others are drawn. None draws anew at every call.

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
    loose = Looseness(float(max_angle), float(max_shift), float(max_scale))
    defects = list(KINDS)[1:]
    train = [Shot("train", "good", i) for i in range(n_train)]
    test = [Shot("test", "good", i) for i in range(n_good)]
    test += [Shot("test", defects[i % len(defects)], i // len(defects)) for i in range(n_defective)]

    if folder is None:
        X_train, _ = in_memory(train, seed, image_size, loose)
        X_test, masks_test = in_memory(test, seed, image_size, loose)
    else:
        root = Path(folder)
        refuse_conflicts(root, train + test)
        X_train, _ = on_disk(train, seed, image_size, loose, root)
        X_test, masks_test = on_disk(test, seed, image_size, loose, root)
    return make_bunch(
        X_train,
        X_test,
        masks_test,
        defects_test=[shot.kind for shot in test],
        description=DESCRIPTION.format(
            n_train=n_train, n_good=n_good, n_defective=n_defective, image_size=image_size
        ),
    )

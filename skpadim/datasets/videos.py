"""ShanghaiTech Campus: frames of videos, labelled and masked by arrays of their numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import validate_params

from .bunches import Photo, Photos, bunch_of_paths
from .files import images_in, open_array, subfolders
from .masks import FrameMask


@validate_params({"root": [str, os.PathLike]}, prefer_skip_nested_validation=True)
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
    return bunch_of_paths(
        _read_frames(Path(root)),
        "ShanghaiTech Campus",
        "Source: Luo, Liu, Gao, A revisit of sparse coding based anomaly detection in stacked RNN\n"
        "framework, ICCV 2017; https://svip-lab.github.io/dataset/campus_dataset.html\n"
        "Licence: BSD 2-Clause according to the documentation of anomalib; ask the authors to be sure",
    )


def _read_frames(root: Path) -> Photos:
    """Read the frames of all videos, with the labels and masks of those to test on."""
    training, testing = root / "training" / "frames", root / "testing" / "frames"
    if not training.is_dir() and (root / "training" / "videos").is_dir():
        raise ValueError(
            f"the videos in {str(root / 'training' / 'videos')!r} are not decoded here: extract their "
            f"frames to {str(training / '<video>' / '000.jpg')!r} and so on, for instance by `ffmpeg -i "
            "videos/01_001.avi -q:v 2 -start_number 0 frames/01_001/%03d.jpg`."
        )
    one_each = "one folder of frames for each video"
    train = [frame for video in subfolders(training, one_each) for frame in _frames(video)]
    test = [photo for video in subfolders(testing, one_each) for photo in _tested_frames(video)]
    return Photos(train, test)


def _tested_frames(video: Path) -> Iterator[Photo]:
    frames, testing = _frames(video), video.parents[1]
    label_path = testing / "test_frame_mask" / f"{video.name}.npy"
    mask_path = testing / "test_pixel_mask" / f"{video.name}.npy"
    labels, masks = open_array(label_path), open_array(mask_path)
    if labels.shape != (len(frames),):
        raise ValueError(
            f"{str(label_path)!r} has shape {labels.shape}; expected a label, 0 or 1, for each of the "
            f"{len(frames)} frames in {str(video)!r}."
        )
    if not np.isin(labels, (0, 1)).all():
        wrong = labels[~np.isin(labels, (0, 1))][0]
        raise ValueError(f"{str(label_path)!r} holds {wrong}; expected a label, 0 or 1, for each frame.")
    if masks.ndim != 3 or len(masks) != len(frames):
        raise ValueError(
            f"{str(mask_path)!r} has shape {masks.shape}; expected ({len(frames)}, height, width), a mask "
            f"for each frame in {str(video)!r}."
        )
    for index, (path, label) in enumerate(zip(frames, labels.tolist(), strict=True)):
        yield Photo(path, "anomaly", FrameMask(str(mask_path), index)) if label else Photo(path)


def _frames(video: Path) -> list[Path]:
    frames = images_in(video, "the frames of a video")
    unnumbered = [frame.name for frame in frames if not frame.stem.isdecimal()]
    if unnumbered:
        raise ValueError(
            f"{unnumbered[0]!r} in {str(video)!r} is not a frame's number; expected names such as '000.jpg'."
        )
    # By number: of names with three digits, 1000.jpg would come before 101.jpg.
    return sorted(frames, key=lambda frame: int(frame.stem))

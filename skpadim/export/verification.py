"""A file is compared with its detector before anybody uses it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..detector import PaDiMDetector
from ..images.arrays import Size

#: What scores may differ by, relatively, of photos of the network's own size or of one that is baked in.
TOLERANCE = 1e-4

Score: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def onnxruntime_scores(path: Path) -> Score:
    """Return what computes scores of photos from a file, in onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda photos: np.asarray(session.run(["score"], {"photos": photos})[0])


def openvino_scores(path: Path) -> Score:
    """Return what computes scores of photos from a file, in OpenVINO and float32."""
    import openvino

    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda photos: np.array(compiled({"photos": photos})["score"])


def check_scores(score: Score, detector: PaDiMDetector, photo_size: Size | None) -> None:
    """Compare scores of a file with those of the detector that it was made of.

    Raises
    ------
    ValueError
        If they differ.
    """
    own_size = detector.pipeline_[0].resized_size_
    photos = photos_like(photo_size or own_size)
    found, expected = score(photos), -detector.score_samples(photos)
    error = float(np.max(np.abs(found - expected) / expected))
    if not error <= TOLERANCE:
        raise ValueError(
            f"The file computes something else than the detector: scores differ by {error:.2g}, and at most "
            f"{TOLERANCE:g} was expected. Nothing was written."
        )


def photos_like(size: Size) -> NDArray[np.uint8]:
    """Return a few photos of smooth noise, (4, height, width, 3), the same every time."""
    random = np.random.default_rng(0)
    height, width = size
    rows, columns = np.linspace(0, 12, height)[:, None, None], np.linspace(0, 12, width)[None, :, None]
    photos = []
    for contrast in (10, 30, 60, 100):
        phase = random.uniform(0, 6, size=(2, 3))
        waves = np.sin(rows + phase[0]) * np.cos(columns + phase[1])
        noise = random.normal(0, contrast / 4, size=(height, width, 3))
        photos.append(np.clip(128 + contrast * waves + noise, 0, 255))
    return np.stack(photos).astype(np.uint8)

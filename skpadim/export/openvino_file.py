"""A fitted detector in OpenVINO's own format."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..base.checks import check_size
from ..base.whole_files import all_beside, refuse_absent_folder
from ..detector import PaDiMDetector
from .onnx_file import build_model, save_model
from .verification import check_scores, openvino_scores


def to_openvino(
    detector: PaDiMDetector,
    path: str | os.PathLike[str],
    *,
    photo_size: int | tuple[int, int] | None = None,
    precision: str = "float32",
    photos: Any = None,
) -> Path:
    """Write a fitted detector in OpenVINO's own format: the graph as XML, and its weights beside it.

    Parameters
    ----------
    detector : PaDiMDetector
        Fitted.
    path : str or path-like
        The file to write, which ends in ".xml". Its weights go into a file of the same name with ".bin".
    photo_size, precision, photos
        See :func:`to_onnx`, of which inputs and outputs are the same.

    Returns
    -------
    Path

    Raises
    ------
    ImportError
        If the extra "export" is not installed.
    ValueError
        If the detector cannot be exported, the files compute something else or have no place, or the name has
        another ending.

    Notes
    -----
    On processors that multiply bfloat16, OpenVINO uses it unless told otherwise, which moves scores by some
    parts in a thousand: compile with ``{"INFERENCE_PRECISION_HINT": "f32"}``. The metadata stand in the
    runtime information of the model, under "skpadim".
    """
    try:
        import openvino
    except ImportError as error:
        raise ImportError(
            f"to_openvino needs {error.name}: install the extra, pip install 'skpadim[export]'."
        ) from error
    path = Path(path)
    if path.suffix != ".xml":
        raise ValueError(f"path={str(path)!r} must end in '.xml', as files of OpenVINO do.")
    refuse_absent_folder(path)
    size = None if photo_size is None else check_size("photo_size", photo_size)
    model, as_written = build_model(
        detector, photo_size=size, precision=precision, photos=photos, engine="openvino"
    )
    with (
        all_beside(path) as written,
        TemporaryDirectory(dir=path.absolute().parent, prefix=f".{path.stem}.") as folder,
    ):
        # Not from memory, which cannot hold more than 2 GB of it either.
        as_onnx = Path(folder, "model.onnx")
        save_model(model, as_onnx)
        converted = openvino.Core().read_model(as_onnx)
        for entry in model.metadata_props:
            converted.set_rt_info(entry.value, entry.key.split("."))
        openvino.save_model(converted, written, compress_to_fp16=False)
        check_scores(openvino_scores(written), as_written, size)
    return path

"""A fitted detector in OpenVINO's own format."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..base.checks import check_size
from ..base.whole_files import refuse_absent_folder
from ..detector import PaDiMDetector
from .onnx_file import build_model
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
        If the detector cannot be exported, the files compute something else, or the name has another ending.

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
    model, as_written = build_model(detector, photo_size=size, precision=precision, photos=photos)
    converted = openvino.Core().read_model(model.SerializeToString())
    for entry in model.metadata_props:
        converted.set_rt_info(entry.value, entry.key.split("."))
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
        written = Path(folder, path.name)
        openvino.save_model(converted, written, compress_to_fp16=False)
        check_scores(openvino_scores(written), as_written, size)
        # The weights first: a graph without them would be no use.
        written.with_suffix(".bin").replace(path.with_suffix(".bin"))
        written.replace(path)
    return path

"""A model as a file that other engines run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .messages import say


def export_model(
    model: Any, output: Path, photo_size: str | None, precision: str, photos: Path | None
) -> None:
    """Write a model as ONNX or in OpenVINO's format, by the ending of the file, and say so."""
    if output.suffix not in (".onnx", ".xml"):
        raise ValueError(f"--output={str(output)!r} must end in .onnx, or in .xml for OpenVINO's format.")
    given = None if photo_size is None else _size(photo_size)
    from ..export import to_onnx, to_openvino
    from .photos import find_training_photos

    write = to_onnx if output.suffix == ".onnx" else to_openvino
    good = None if photos is None else find_training_photos(photos)
    path = write(model.detector, output, photo_size=given, precision=precision, photos=good)
    # Weights lie beside an .xml, and beside an .onnx that would be larger than 2 GB.
    weights = path.with_name(f"{path.name}.data") if path.suffix == ".onnx" else path.with_suffix(".bin")
    size = sum(file.stat().st_size for file in (path, weights) if file.exists())
    say(f"{path}: {size / 1e6:.1f} MB, compared with the model on four drawn photos.")


def _size(text: str) -> tuple[int, int]:
    """Return (height, width) of a text as people write sizes."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None:
        raise ValueError(f"--photo-size={text!r} must be WIDTHxHEIGHT in pixels, such as 1280x960.")
    return int(found[2]), int(found[1])

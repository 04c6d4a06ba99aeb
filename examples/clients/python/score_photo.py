"""Score photos with an exported detector: onnxruntime, NumPy and Pillow; neither torch nor skpadim.

python score_photo.py line3.onnx photo.png [photo.png ...]
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def open_model(path, for_one_photo=False):
    """Return a session.

    At its start an engine computes what no photo changes: it unpacks the Gaussians. For one photo alone that
    is worth neither the time nor the memory.
    """
    return onnxruntime.InferenceSession(
        path,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["ConstantFolding"] if for_one_photo else [],
    )


def read_photo(path):
    """Return a photo as the detector reads it: upright, over white, (height, width, 3) uint8."""
    with Image.open(path) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"{path} has pixels of mode {image.mode!r}, and an exported file takes 8 bits.")
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            upright = upright.convert("RGBA")
            white = Image.new("RGBA", upright.size, "white")
            upright = Image.alpha_composite(white, upright)
        return np.asarray(upright.convert("RGB"))


def inspect(session, photo):
    """Return the outputs for one photo, (height, width, 3) uint8, by their names."""
    if photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
        raise ValueError(f"A photo must have shape (height, width, 3), and pixels; got {photo.shape}.")
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {"photos": photo[None]})
    return {name: value[0] for name, value in zip(names, values, strict=True)}


def main():
    parser = argparse.ArgumentParser(description="Score photos with an exported detector.")
    parser.add_argument("model", help="file of skpadim.export")
    parser.add_argument("photos", nargs="+")
    arguments = parser.parse_args()
    session = open_model(arguments.model, for_one_photo=len(arguments.photos) == 1)
    about = session.get_modelmeta().custom_metadata_map
    for path in arguments.photos:
        found = inspect(session, read_photo(path))
        verdict = {
            "photo": path,
            "score": float(found["score"]),
            "is_anomaly": bool(found["is_anomaly"]),
            # A detector learned elsewhere has no good photos' scores to compare with, and JSON no NaN.
            "p_value": None if np.isnan(found["p_value"]) else float(found["p_value"]),
            "threshold": json.loads(about["skpadim.threshold"]),
            "marked": float(found["mask"].mean()),
        }
        print(json.dumps(verdict, allow_nan=False))


if __name__ == "__main__":
    main()

"""DICOM files, by pydicom: the first frame, in the units that it is rescaled to, not windowed."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

from .extras import formats_installed, needs_formats
from .pillow import refuse_many_pixels
from .scales import Range, Raster

MAGIC = b"DICM"
MAGIC_AT = 128


def read(file: BinaryIO) -> Raster:
    """Return the first frame of a DICOM file.

    The window for a screen, which differs from photo to photo, is not applied. Full scale is what the stored
    bits can hold, rescaled as the values are.

    Raises
    ------
    ValueError
        If the extra `formats` is not there, or the values need a lookup table.
    """
    if not formats_installed():
        raise needs_formats("it is a DICOM file")
    import pydicom
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    file.seek(0)
    dataset = pydicom.dcmread(file)
    refuse_many_pixels(dataset.Columns, dataset.Rows)
    values, kind = pixel_array(dataset, index=0), dataset.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        return Raster(apply_color_lut(values, dataset))
    if not kind.startswith("MONOCHROME"):
        return Raster(values, _stored_range(dataset))
    if "ModalityLUTSequence" in dataset:
        raise ValueError(
            "its values need a lookup table: apply pydicom.pixels.apply_modality_lut, and pass arrays."
        )
    slope, intercept = (float(dataset.get(f"Rescale{word}", default)) for word, default in _IDENTITY)
    ends = _stored_range(dataset)
    if (slope, intercept) != (1, 0):
        values = values * np.float64(slope) + intercept
        low, high = sorted(end * slope + intercept for end in ends)
        ends = (low, high)
    return Raster(values, ends, inverted=kind == "MONOCHROME1")


_IDENTITY = (("Slope", 1), ("Intercept", 0))


def _stored_range(dataset: Any) -> Range:
    """Return the smallest and largest number of the bits that are used."""
    largest = 2 ** int(dataset.BitsStored)
    return (-largest // 2, largest // 2 - 1) if dataset.PixelRepresentation else (0, largest - 1)

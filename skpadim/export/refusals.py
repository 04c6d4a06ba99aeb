"""What no exported file can do is refused with the reason, before anything is written."""

from __future__ import annotations

from typing import Any

from sklearn.utils.validation import check_is_fitted

from ..detector import PaDiMDetector


def refuse_what_files_cannot(detector: Any) -> None:
    """Raise for what cannot be exported.

    Raises
    ------
    TypeError
        If it is no detector.
    NotFittedError
    ValueError
        If it reads or computes in a way that a file does not.
    """
    if not isinstance(detector, PaDiMDetector):
        raise TypeError(f"detector must be a PaDiMDetector; got {type(detector).__name__}.")
    check_is_fitted(detector)
    if not _takes_bytes_as_they_are(detector.value_range):
        raise ValueError(
            f"value_range={detector.value_range!r} cannot be exported: a file takes 8 bits a colour, 0 to "
            "255, as they are. Bring photos to these beforehand, and fit with value_range='auto'."
        )
    if detector.pipeline_.named_steps["features"].aligner_ is not None:
        raise ValueError(
            f"align={detector.align!r} cannot be exported: a file takes photos as they lie. Bring parts to "
            "their place beforehand, by PartAligner.transform, and fit with align=None."
        )
    if detector.pipeline_.named_steps["features"].resize_ != "stretch":
        raise ValueError(
            f"resize={detector.resize!r} cannot be exported: a file stretches photos to image_size. Pass an "
            "image_size of the aspect of the photos, or pad or crop these beforehand, and fit with "
            "resize='stretch'."
        )
    if detector.pipeline_.named_steps["features"].decoding_ != "exact":
        raise ValueError(
            f"decoding={detector.decoding!r} cannot be exported: a file takes whole photos, and the "
            "threshold belongs to drafts. Fit with decoding='exact'."
        )
    if detector.precision == "bfloat16":
        raise ValueError(
            "precision='bfloat16' cannot be exported: a file computes in float32, and the threshold belongs "
            "to the precision that it was calibrated in. Fit with precision=None."
        )


def _takes_bytes_as_they_are(value_range: Any) -> bool:
    if isinstance(value_range, str):
        return True  # "auto", or what the type can hold
    return bool(value_range == 8) if isinstance(value_range, int) else tuple(value_range) == (0, 255)

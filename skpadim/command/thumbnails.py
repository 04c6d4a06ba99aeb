"""Photos as a person sees them, whole or small."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..detector import PaDiMDetector

_THUMBNAIL_SIDE = 256


def thumbnail(path: str, detector: PaDiMDetector) -> bytes:
    """Return a photo as a small JPEG."""
    import numpy as np
    from PIL import Image

    photo = original(path, detector)
    if photo.dtype != np.uint8:
        photo = np.rint(photo * 255).astype(np.uint8)
    picture = Image.fromarray(photo)
    picture.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=85)
    return content.getvalue()


def original(path: str, detector: PaDiMDetector) -> Any:
    """Return a photo (height, width, 3) as a person sees it, at the detector's range of values."""
    from ..images.collection import check_images

    with warnings.catch_warnings():
        # The detector has read it, and said all that there is to say.
        warnings.simplefilter("ignore")
        return check_images([path], value_range=detector.value_range).original(0)

"""Photos as one camera takes them."""

from __future__ import annotations

import numpy as np
from PIL import Image


def resized(photos, size):
    """Return photos at another height and width, as a stack."""
    return np.stack([np.asarray(Image.fromarray(photo).resize(size[::-1])) for photo in photos])

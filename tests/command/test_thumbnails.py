"""Photos as a person sees them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from skpadim.command.thumbnails import original, thumbnail
from small import small


def test_large_photos_come_small_and_small_ones_as_they_are(tmp_path):
    for name, size in (("large.png", (700, 400)), ("small.png", (50, 40))):
        Image.new("RGB", size, (10, 200, 30)).save(tmp_path / name)
    detector = small()
    for name, expected in (("large.png", (256, 146)), ("small.png", (50, 40))):
        with Image.open(io.BytesIO(thumbnail(str(tmp_path / name), detector))) as picture:
            assert (picture.format, picture.size) == ("JPEG", expected)
            assert np.abs(np.asarray(picture, int) - (10, 200, 30)).max() < 4


def test_deep_photos_come_at_the_range_of_the_detector(tmp_path):
    values = np.full((20, 30), 1024, np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    detector = small(value_range=12)
    photo = original(str(tmp_path / "deep.png"), detector)
    assert photo.shape == (20, 30, 3)
    np.testing.assert_allclose(photo, 1024 / 4095, rtol=1e-6)
    with Image.open(io.BytesIO(thumbnail(str(tmp_path / "deep.png"), detector))) as picture:
        assert np.abs(np.asarray(picture, int) - 64).max() < 3

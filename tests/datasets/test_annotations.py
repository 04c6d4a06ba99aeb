"""What readers of annotations share."""

import numpy as np
import pytest
from PIL import Image

from skpadim.datasets.annotations import upright_size
from skpadim.images.decoding import decode


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_size_of_a_turned_photo_is_that_of_its_pixels(suffix, orientation, tmp_path):
    path = tmp_path / f"photo.{suffix}"
    image = Image.fromarray(np.zeros((20, 40, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    assert upright_size(path) == decode(path, "photo").values.shape[:2]
    assert upright_size(path) == ((40, 20) if orientation >= 5 else (20, 40))

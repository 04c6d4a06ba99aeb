"""What photos look like in numbers, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image
from scipy import ndimage

from skpadim.images.collection import check_images
from skpadim.images.statistics import STATISTICS, photo_statistics


def plain(image, size) -> list[float]:
    """Of (height, width, 3) in [0, 1]."""
    grey = image @ [0.299, 0.587, 0.114]
    laplacian = ndimage.laplace(grey)[1:-1, 1:-1]
    return [
        *size,
        size[1] / size[0],
        grey.mean(),
        grey.std(),
        laplacian.var(),
        np.ptp(image, axis=-1).mean(),
        (image == 0).all(-1).mean(),
        (image == 1).all(-1).mean(),
    ]


def photos(dtype) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3))
    values[1] = ndimage.gaussian_filter(values[1], (2, 2, 0))
    values[2, :7], values[3, :, 20:] = 0, 255
    values[4] = 77
    return values.astype(np.uint8) if dtype == "u1" else (values / 255).astype(dtype)


@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_against_plain_numpy(dtype):
    values = photos(dtype)
    sizes = [(100 + i, 300 - i) for i in range(5)]
    (batch,) = check_images(values).batches(8, (20, 30), None, n_threads=1)
    result = photo_statistics(batch.pixels, sizes)
    shares = values / 255 if dtype == "u1" else values.astype("f8")
    assert result.dtype == np.float64
    assert result.shape == (5, len(STATISTICS))
    assert_allclose(
        result, [plain(image, size) for image, size in zip(shares, sizes, strict=True)], atol=1e-6
    )


def test_a_row_does_not_depend_on_the_batch():
    pixels = torch.from_numpy(photos("u1")).movedim(-1, 1)
    together = photo_statistics(pixels, [(20, 30)] * 5)
    for index in range(5):
        alone = photo_statistics(pixels[index : index + 1], [(20, 30)])
        np.testing.assert_array_equal(alone[0], together[index])


def test_failures_of_a_camera_show():
    """Out of focus, too long or too short exposed, blank, cut to a strip: each in its own number."""
    good = photos("u1")[0]
    image = Image.fromarray(good)
    dark = Image.fromarray((good * 0.2).astype(np.uint8))
    bright = Image.fromarray(np.clip(good * 4.0, 0, 255).astype(np.uint8))
    blurred = Image.fromarray(ndimage.gaussian_filter(good, (2, 2, 0)))
    X = [
        image,
        dark,
        bright,
        blurred,
        Image.new("RGB", (30, 20), "grey"),
        image.resize((300, 3)),
        image.convert("L"),
    ]
    (batch,) = check_images(X).batches(8, (20, 30), None, n_threads=1)
    rows = photo_statistics(batch.pixels, batch.original_sizes)
    of = {name: rows[:, index] for index, name in enumerate(STATISTICS)}
    assert of["brightness"][1] < 0.3 * of["brightness"][0]
    assert of["white"][2] > of["white"][0] + 0.2
    assert of["sharpness"][3] < 0.05 * of["sharpness"][0]
    assert of["contrast"][4] == of["sharpness"][4] == 0
    assert of["aspect"][5] == 100
    assert of["saturation"][6] == 0 < of["saturation"][0]


def test_no_photos_and_tiny_ones():
    assert photo_statistics(torch.zeros(0, 3, 8, 8), []).shape == (0, len(STATISTICS))
    (row,) = photo_statistics(torch.ones(1, 3, 2, 2), [(2, 2)])
    assert row[STATISTICS.index("sharpness")] == 0

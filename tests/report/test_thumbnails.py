"""Small pictures."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from skpadim.report.thumbnails import encode_map, encode_photo


def opened(content):
    return Image.open(BytesIO(content))


@pytest.mark.parametrize(
    ("size", "expected"), [((40, 60), (40, 60)), ((1000, 2000), (128, 256)), ((2000, 1000), (320, 160))]
)
def test_photos_fit_into_the_box_and_are_not_enlarged(size, expected):
    found = opened(encode_photo(np.zeros((*size, 3), dtype=np.uint8), 20_000))
    assert (found.height, found.width) == expected
    assert found.format == "JPEG"


def test_photos_are_what_they_were():
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    photo = np.stack([np.tile(ramp, (48, 1)), np.tile(ramp[::-1], (48, 1)), np.full((48, 64), 90)], axis=2)
    photo = photo.astype(np.uint8)
    found = np.asarray(opened(encode_photo(photo, 20_000)).convert("RGB")).astype(int)
    assert np.abs(found - photo).mean() < 3
    of_floats = encode_photo((photo / 255).astype(np.float32), 20_000)
    assert of_floats == encode_photo(photo, 20_000)
    grey = np.repeat(photo[..., :1], 3, axis=2)
    assert opened(encode_photo(grey, 20_000)).mode == "L"


@pytest.mark.parametrize("n_bytes", [30_000, 12_000, 5_000])
def test_photos_of_noise_take_no_more_bytes_than_there_are(n_bytes):
    noise = np.random.default_rng(0).integers(0, 256, (640, 512, 3), dtype=np.uint8)
    found = encode_photo(noise, n_bytes)
    assert n_bytes / 3 < len(found) <= n_bytes


def opacity(content):
    return np.asarray(opened(content).convert("RGBA"))[..., 3]


def test_maps_cover_what_is_above_the_threshold_and_leave_the_rest():
    shown = np.array([[0.0, 1.0, 4.0], [8.0, np.inf, np.nan]], dtype=np.float32)
    found = np.asarray(opened(encode_map(shown, 4.0)).convert("RGBA")).astype(int)
    transparency = found[..., 3]
    assert transparency[0, 0] == transparency[0, 1] == transparency[1, 2] == 0
    assert 0 < transparency[0, 2] < transparency[1, 0] == transparency[1, 1] < 255
    # In grey, what is higher is darker.
    grey = found[..., :3] @ [0.299, 0.587, 0.114]
    assert grey[0, 2] > grey[1, 0]


def test_maps_are_small_whatever_they_show():
    noise = np.random.default_rng(0).random((900, 900), dtype=np.float32)
    found = encode_map(noise * 10, 5.0)
    assert len(found) <= 3000
    smooth = np.linspace(0, 10, 900, dtype=np.float32)[:, None] * np.ones((1, 450), dtype=np.float32)
    found = opened(encode_map(smooth, 5.0))
    assert found.format == "PNG"
    assert found.size == (48, 96)
    assert np.all(np.diff(opacity(encode_map(smooth, 5.0))[:, 20].astype(int)) >= 0)


def test_a_threshold_of_nought_has_a_scale_too():
    assert opacity(encode_map(np.array([[-1.0, 1.0]], dtype=np.float32), 0.0)).tolist()[0][0] == 0

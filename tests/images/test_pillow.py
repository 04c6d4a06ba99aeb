"""Files as Pillow opens them: upright, and none that costs more than an image."""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from reading import (
    SIZE,
    draw,
    read,
    save,
)
from skpadim.images.pillow import high_bytes, refuse_many_pixels


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("as_object", [False, True])
def test_exif_orientation(tmp_path, orientation, as_object):
    stored = draw(*SIZE, 3)
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: np.rot90(stored, 2),
        4: stored[::-1],
        5: stored.swapaxes(0, 1),
        6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).swapaxes(0, 1),
        8: np.rot90(stored, 1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(Image.fromarray(stored), tmp_path / "turned.png", exif=exif)
    with contextlib.ExitStack() as stack:
        item = stack.enter_context(Image.open(path)) if as_object else path
        (batch,) = read([item], upright.shape[:2])
        if as_object:
            assert item.size == SIZE[::-1]
            assert item.getexif()[0x0112] == orientation
    assert batch.original_sizes == [upright.shape[:2]]
    np.testing.assert_array_equal(batch.pixels[0].movedim(0, -1).numpy(), upright)


def test_postscript_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_args: pytest.fail("Ghostscript was run"))
    path = tmp_path / "program.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n%%EOF\n")
    with pytest.raises(ValueError, match=r"X\[0\] .*it is PostScript.*convert it first"):
        read([path])
    with Image.open(path) as image, pytest.raises(ValueError, match=r"X\[0\] .*it is PostScript"):
        read([image])


@pytest.mark.parametrize("action", ["error", "ignore"])
@pytest.mark.parametrize("side", [11, 20])
@pytest.mark.parametrize("as_object", [False, True])
def test_decompression_bomb(tmp_path, monkeypatch, action, side, as_object):
    path = save(Image.fromarray(draw(side, side)), tmp_path / "bomb.png")
    with contextlib.ExitStack() as stack:
        item = stack.enter_context(Image.open(path)) if as_object else path
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        stack.enter_context(warnings.catch_warnings(action=action))
        with pytest.raises(ValueError, match=r"X\[0\].*raise PIL.Image.MAX_IMAGE_PIXELS"):
            read([item])
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        assert len(read([item])) == 1


def test_as_many_pixels_as_the_limit_are_allowed(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12)
    refuse_many_pixels(3, 4)
    with pytest.raises(Image.DecompressionBombError, match="13 x 1 pixels exceed 12"):
        refuse_many_pixels(13, 1)


@pytest.mark.parametrize("channels", [3, 4])
def test_bytes_of_a_file_and_its_opacity(channels):
    stored, file = draw(*SIZE, channels), io.BytesIO()
    Image.fromarray(stored).save(file, "png")
    raster = high_bytes(file, "the low bits")
    np.testing.assert_array_equal(raster.values, stored[..., :3])
    assert raster.lost == "the low bits"
    if channels == 3:
        assert raster.alpha is None
    else:
        np.testing.assert_array_equal(raster.alpha, stored[..., 3] / 255)

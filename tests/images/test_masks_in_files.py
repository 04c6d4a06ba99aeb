"""Masks in files: what is marked, and what is refused because it may mean two things."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from skpadim.images.decoding import decode_mask

MARKED = np.zeros((12, 17), bool)
MARKED[4:7, 5:12] = True


def read(path) -> np.ndarray:
    return decode_mask(path, "mask") != 0


def layers(colour, alpha) -> Image.Image:
    values = np.zeros((*MARKED.shape, 4), np.uint8)
    values[..., :3], values[..., 3] = np.asarray(colour)[..., None], alpha
    return Image.fromarray(values)


class TestLossyFiles:
    @pytest.mark.parametrize("name", ["a.jpg", "a.avif", "a.webp", "a.tif", "a.jp2", "named.png"])
    def test_refused(self, tmp_path, name):
        path = tmp_path / name
        options = {
            "a.tif": {"compression": "jpeg"},
            "a.jp2": {"irreversible": True},
            "a.webp": {"quality": 80},
            "named.png": {"format": "JPEG"},
        }
        Image.fromarray(MARKED).convert("L").save(path, **options.get(name, {}))
        with pytest.raises(ValueError, match=rf"mask cannot.* {_WORDS[name]} changes the values"):
            read(path)

    def test_a_lossy_webp_with_opacity(self, tmp_path):
        layers(255 * MARKED, 255 * MARKED).save(tmp_path / "a.webp")
        with pytest.raises(ValueError, match="a lossy WebP"):
            read(tmp_path / "a.webp")

    @pytest.mark.parametrize("name", ["a.webp", "a.tif", "a.jp2", "a.png", "a.gif", "a.bmp"])
    def test_what_keeps_values_is_read(self, tmp_path, name):
        lossless = {"lossless": True} if name == "a.webp" else {}
        Image.fromarray(MARKED).convert("L").save(tmp_path / name, **lossless)
        assert_array_equal(read(tmp_path / name), MARKED)

    def test_a_lossless_webp_with_opacity(self, tmp_path):
        layers(255 * MARKED, 255 * MARKED).save(tmp_path / "a.webp", lossless=True)
        assert_array_equal(read(tmp_path / "a.webp"), MARKED)


_WORDS = {
    "a.jpg": "a JPEG",
    "named.png": "a JPEG",
    "a.avif": "an AVIF or HEIF",
    "a.webp": "a lossy WebP",
    "a.tif": "a JPEG within a TIFF",
    "a.jp2": "a lossy JPEG 2000",
}


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.png", "deep.tif"])
def test_a_second_page_is_refused(tmp_path, name):
    dtype = np.uint16 if name == "deep.tif" else np.uint8
    first, second = (Image.fromarray(value * MARKED.astype(dtype)) for value in (1, 255))
    first.save(tmp_path / name, save_all=True, append_images=[second])
    with pytest.raises(ValueError, match="several pages"):
        read(tmp_path / name)


class TestAbsentPixels:
    def test_nan_is_not_marked(self, tmp_path):
        Image.fromarray(np.where(MARKED, 1, np.nan).astype(np.float32)).save(tmp_path / "a.tif")
        assert_array_equal(read(tmp_path / "a.tif"), MARKED)

    @pytest.mark.parametrize("values", [np.where(MARKED, 0, np.nan), np.full(MARKED.shape, np.nan)])
    def test_nan_where_either_may_be_meant(self, tmp_path, values):
        Image.fromarray(values.astype(np.float32)).save(tmp_path / "a.tif")
        with pytest.raises(ValueError, match="mark anomalies in white"):
            read(tmp_path / "a.tif")

    def test_drawn_on_a_transparent_sheet(self, tmp_path):
        layers(255 * MARKED, 255 * MARKED).save(tmp_path / "a.png")
        assert_array_equal(read(tmp_path / "a.png"), MARKED)

    @pytest.mark.parametrize("colour", [255, 90])
    def test_holes_are_refused(self, tmp_path, colour):
        layers(np.full(MARKED.shape, colour), 255 * ~MARKED).save(tmp_path / "a.png")
        with pytest.raises(ValueError, match="transparent holes, which may be the anomalies"):
            read(tmp_path / "a.png")

    def test_opacity_that_nobody_set(self, tmp_path):
        layers(255 * MARKED, 0).save(tmp_path / "a.png")
        assert_array_equal(read(tmp_path / "a.png"), MARKED)

    def test_an_empty_sheet_marks_nothing(self, tmp_path):
        layers(0 * MARKED, 0).save(tmp_path / "a.png")
        assert not read(tmp_path / "a.png").any()

    def test_an_empty_sheet_of_white_may_mean_either(self, tmp_path):
        layers(np.full(MARKED.shape, 255), 0).save(tmp_path / "a.png")
        with pytest.raises(ValueError, match="nothing of it is opaque"):
            read(tmp_path / "a.png")


class TestDeepMasks:
    def test_low_bits_of_sixteen_are_marks(self, tmp_path):
        tifffile = pytest.importorskip("tifffile")
        pytest.importorskip("imagecodecs")
        pytest.importorskip("pydicom")
        values = np.zeros((*MARKED.shape, 3), np.uint16)
        values[MARKED, 2] = 3  # of its high byte nothing would be left
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
        assert_array_equal(read(tmp_path / "a.tif"), MARKED)

    def test_min_is_white(self, tmp_path):
        tifffile = pytest.importorskip("tifffile")
        for dtype in (np.uint8, np.uint16):
            values = (~MARKED).astype(dtype) * np.iinfo(dtype).max
            tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
            assert_array_equal(read(tmp_path / "a.tif"), MARKED)

    def test_arrays(self, tmp_path):
        np.save(tmp_path / "a.npy", MARKED.astype(np.int64) * 7)
        assert_array_equal(read(tmp_path / "a.npy"), MARKED)

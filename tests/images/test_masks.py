"""Masks and maps in pairs: what a mask marks, and what is refused because it may mean two things."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from skpadim.images.decoding import decode_mask
from skpadim.images.masks import check_pairs
from skpadim.metrics import pimo_score, pixel_roc_auc_score, pro_curve, pro_score

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


SCENE_MASK = np.zeros((6, 8), dtype=bool)
SCENE_MASK[1:4, 2:7] = True
WHITE, BLACK, RED = [255, 255, 255], [0, 0, 0], [255, 0, 0]


def read_as(path, image, **options):
    """Write a mask, and return what the metrics read: its ROC AUC is 1 with the map that it is itself."""
    image.save(path, **options)
    ((read, _),) = check_pairs([path], [SCENE_MASK.astype(float)])
    return read


def labels(*palette, values=(0, 1)):
    image = Image.fromarray(np.where(SCENE_MASK, values[1], values[0]).astype(np.uint8), mode="L")
    image.putpalette(np.ravel(palette).tolist())
    return image


def test_mask_with_a_palette_is_read_as_it_looks_but_for_labels(tmp_path):
    path = tmp_path / "mask.png"
    drawn = Image.fromarray(SCENE_MASK.astype(np.uint8) * 255).convert("RGB")
    quantised = [drawn.quantize(2, method=method) for method in (0, 1, 2)]
    assert {tuple(image.getpalette()[:3]) for image in quantised} >= {tuple(WHITE)}  # else it tests nothing
    for image in (*quantised, labels(BLACK, WHITE), labels(WHITE, BLACK, values=(1, 0)), labels(BLACK, RED)):
        assert image.mode == "P"
        assert_array_equal(read_as(path, image), SCENE_MASK)
    for image, message in (
        (labels(WHITE, RED), "2 values, 76 to 255"),
        (labels(BLACK, RED, WHITE, values=(0, 2)), "2 values, 0 to 2"),
    ):
        with pytest.raises(ValueError, match=rf"masks\[0\] \('.*mask.png'\) is not binary: {message}"):
            read_as(path, image)


def test_transparent_pixels_of_a_mask_are_normal(tmp_path):
    path, alpha = tmp_path / "mask.png", Image.fromarray(SCENE_MASK.astype(np.uint8) * 255)
    for mode, white in (("LA", 255), ("RGBA", (255, 255, 255, 0))):
        image = Image.new(mode, alpha.size, white)
        image.putalpha(alpha)
        assert_array_equal(read_as(path, image), SCENE_MASK)
        assert not read_as(path, Image.new(mode, alpha.size)).any()
    assert_array_equal(read_as(path, labels(WHITE, WHITE), transparency=0), SCENE_MASK)
    assert_array_equal(read_as(path, labels(BLACK, RED, WHITE, values=(2, 1)), transparency=2), SCENE_MASK)


def test_mask_drawn_in_black_on_nothing_is_refused(tmp_path):
    image = Image.new("RGBA", SCENE_MASK.shape[::-1])
    image.putalpha(Image.fromarray(SCENE_MASK.astype(np.uint8) * 255))
    with pytest.raises(ValueError, match=r"mask.png'\) cannot be read .* not transparent is black"):
        read_as(tmp_path / "mask.png", image)


MASK = np.eye(3, dtype=np.uint8)
MAP = np.arange(9.0).reshape(3, 3)


@pytest.mark.parametrize("score", [pixel_roc_auc_score, pro_score, pro_curve, pimo_score])
@pytest.mark.parametrize(
    ("masks", "maps", "error", "message"),
    [
        ([None, MASK], [MAP], ValueError, "masks goes on after the 1 of maps"),
        ([None], [MAP, MAP], ValueError, "maps goes on after the 1 of masks; expected one mask per"),
        ([None, MASK[:2]], [MAP, MAP], ValueError, "masks[1] has shape (2, 3), its map (3, 3)"),
        ([None, MASK[None]], [MAP, MAP], ValueError, "masks[1] has shape (1, 3, 3), expected (height"),
        ([None, MASK[:0]], [MAP, MAP], ValueError, "masks[1] has shape (0, 3), expected (height, width)"),
        ([1, -1], [MAP, MAP], ValueError, "masks[0] is 1, a number; expected a mask of shape (height"),
        ([MASK, np.nan], [MAP, MAP], ValueError, "masks[1] is nan, a number; expected a mask"),
        ([None, MASK * 2], [MAP, MAP], ValueError, "masks[1] is not binary: 2 values, 0 to 2"),
        ([None, MASK * 254 + MASK.T[::-1]], [MAP, MAP], ValueError, "not binary: 4 values, 0 to 255"),
        ([None, MASK - 1.0], [MAP, MAP], ValueError, "not binary: 2 values, -1.0 to 0.0"),
        ([None, MASK + np.nan], [MAP, MAP], ValueError, "masks[1] is not binary"),
        ([None, [["a"]]], [MAP, MAP], TypeError, "masks[1] has dtype <U1"),
        ([None, [[0, 1], [0]]], [MAP, MAP], ValueError, "masks[1] is not an array: setting an array"),
        (
            [None, MASK],
            [MAP, np.where(MAP < 3, [np.nan, 0, np.inf], MAP)],
            ValueError,
            "maps[1] is NaN or infinite at 2 of 9 pixels",
        ),
        ([None, MASK], [MAP, MAP * 1j], TypeError, "maps[1] has dtype complex128"),
        ([None, MASK], [MAP, [MAP]], ValueError, "maps[1] has shape (1, 3, 3), expected (height"),
        (MASK, MAP, ValueError, "maps[0] has shape (3,), expected (height, width); pass one map as"),
        ([[[]]], [[[]]], ValueError, "maps[0] has shape (1, 0)"),
        (None, [MAP], TypeError, "masks is None; expected a stack, list or generator"),
        ("mask.png", [MAP], TypeError, "masks is 'mask.png'; expected a stack"),
        ([None, "gone.png"], [MAP, MAP], ValueError, "masks[1] ('gone.png') cannot be read as an"),
        ([None, __file__], [MAP, MAP], ValueError, "test_masks.py') cannot be read as an image"),
    ],
)
def test_bad_input(score, masks, maps, error, message):
    with pytest.raises(error, match=re.escape(message)):
        score(masks, maps)


@pytest.mark.parametrize(
    "content", [b"", b"II*\0" + b"\xff" * 40, b"BM" + b"\xff" * 60], ids=["empty", "TIFF", "BMP"]
)
def test_broken_mask_is_named(content, tmp_path):
    path = tmp_path / "mask.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"masks\[1\] \('.*mask.png'\) cannot be read as an image"):
        pixel_roc_auc_score([MASK, path], [MAP, MAP])


@pytest.mark.parametrize("colour", [(1, 0, 0), (0, 0, 1), (0, 0, 2), (0, 2, 0)])
def test_colour_that_is_nearly_black_is_marked(colour, tmp_path):
    Image.fromarray((MASK[..., None] * colour).astype(np.uint8)).save(tmp_path / "mask.png")
    assert pixel_roc_auc_score([tmp_path / "mask.png"], [MAP]) == pixel_roc_auc_score([MASK], [MAP])


def test_mask_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
    Image.fromarray(MASK.astype(np.uint8)).save(tmp_path / "mask.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with pytest.raises(ValueError, match=r"masks\[0\] \('.*mask.png'\).*exceeds limit.*MAX_IMAGE_PIXELS"):
        pixel_roc_auc_score([tmp_path / "mask.png"], [MAP])

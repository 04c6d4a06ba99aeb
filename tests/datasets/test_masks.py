"""Masks of files, of several files, of frames and of drawings, as the metrics take them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from skpadim.datasets import DrawnMask, UnionMask, read_mask
from skpadim.metrics import pixel_roc_auc_score
from trees import MARKED, write_image, write_text

# One mask


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_mask_in_any_mode_is_true_where_it_is_not_zero(tmp_path, mode):
    Image.fromarray(MARKED).convert("L" if mode == "I;16" else mode).convert(mode).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, MARKED > 0)


def test_darkest_blue_is_not_black(tmp_path):
    write_image(tmp_path / "mask.png", [[[0, 0, 0], [0, 0, 1]]])
    assert read_mask(str(tmp_path / "mask.png")).tolist() == [[False, True]]


def test_palette_that_starts_with_white(tmp_path):
    mask = np.array([[0, 255], [255, 255]], dtype=np.uint8)
    palette = Image.fromarray(np.array([[1, 0], [0, 0]], dtype=np.uint8), mode="L").convert("P")
    palette.putpalette([255, 255, 255, 0, 0, 0])
    palette.save(tmp_path / "mask.png")
    assert_array_equal(read_mask(tmp_path / "mask.png"), mask > 0)


def test_mask_in_a_jpeg_says_how_to_mend_it(tmp_path):
    path, mended = tmp_path / "mask.jpg", tmp_path / "mask.png"
    marked = np.zeros((16, 16), dtype=np.uint8)
    marked[5:9, 3:12] = 255
    Image.fromarray(marked).save(path)
    with pytest.raises(ValueError, match="a JPEG changes the values") as raised:
        read_mask(path)
    recipe = re.search(r"by (Image.open\(path\).*)\.save", str(raised.value)).group(1)
    eval(recipe, {"Image": Image, "path": path}).save(mended)
    assert_array_equal(read_mask(mended), marked > 0)


def test_no_mask_is_none():
    assert read_mask(None) is None


def test_mask_that_cannot_be_read(tmp_path):
    write_text(tmp_path / "mask.png")
    for name in ("mask.png", "missing.png"):
        with pytest.raises(ValueError, match=f"mask='.*{name}' cannot be read as an image"):
            read_mask(tmp_path / name)


# Several files, and drawings


def write_masks(folder, *masks):
    for number, mask in enumerate(masks):
        write_image(folder / f"{number}.png", mask)
    return tuple(str(folder / f"{number}.png") for number in range(len(masks)))


def test_union_of_several_files(tmp_path):
    mask = UnionMask(write_masks(tmp_path, [[0, 7, 0]], [[0, 0, 0]], [[255, 7, 0]]))
    assert read_mask(mask).tolist() == np.asarray(mask).tolist() == [[True, True, False]]
    assert np.asarray(mask, dtype=float).tolist() == [[1, 1, 0]]
    with pytest.raises(ValueError, match="without a copy"):
        np.array(mask, copy=False)


def test_union_of_files_of_two_sizes(tmp_path):
    mask = UnionMask(write_masks(tmp_path, [[0, 7, 0]], [[0], [1]]))
    with pytest.raises(
        ValueError, match=r"'.*1.png' has shape \(2, 1\), '.*0.png' \(1, 3\); expected .* one size"
    ):
        read_mask(mask)


def test_drawing_is_the_union_of_what_it_is_made_of():
    square = ((1, 0), (3, 0), (3, 2), (1, 2))
    mask = DrawnMask((3, 4), outlines=(square, ((0, 2), (1, 2), (1, 3), (0, 3))), runs=((9, 3),))
    assert_array_equal(read_mask(mask).astype(int), [[0, 1, 1, 1], [0, 1, 1, 1], [1, 0, 0, 1]])
    assert not read_mask(DrawnMask((2, 2))).any()


def test_metrics_take_drawings():
    mask = DrawnMask((2, 3), runs=((4, 2),))
    assert pixel_roc_auc_score([mask, None], [[[0, 0, 1], [0, 0, 1]], np.zeros((2, 3))]) == 1


@pytest.mark.parametrize(
    ("drawn", "message"),
    [
        ({"outlines": (((0, 0), (1, 1)),)}, "an outline is .*; expected three points or more, all finite"),
        ({"outlines": (((0, 0), (1, 1), (np.nan, 1)),)}, "an outline is .*; expected three points"),
        ({"runs": ((4, 1),)}, "runs hold 5 pixels, the shortest 1; expected 2 x 3 in all"),
        ({"runs": ((8, -2),)}, "runs hold 6 pixels, the shortest -2; .* none negative"),
        ({"runs": ((),)}, "runs hold 0 pixels"),
    ],
)
def test_drawings_that_cannot_be_drawn(drawn, message):
    with pytest.raises(ValueError, match=message):
        DrawnMask((2, 3), **drawn)

"""YOLO's text files: polygons and boxes in fractions of a photo."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from skpadim.datasets import load_yolo_masks, read_mask
from trees import write_image, write_text

SIZE = (10, 20)
LINE = "0 0.1 0.2 0.4 0.2 0.4 0.6 0.1 0.6"


@pytest.fixture
def photos(tmp_path):
    paths = [tmp_path / "images" / f"{number}.png" for number in range(2)]
    for path in paths:
        write_image(path, np.zeros(SIZE))
    return paths


def rectangle():
    mask = np.zeros(SIZE, dtype=bool)
    mask[2:6, 2:8] = True
    return mask


@pytest.mark.parametrize("line", [LINE, "0 0.25 0.4 0.3 0.4", LINE.replace(" ", "\t") + " \r"])
def test_polygon_or_box(photos, tmp_path, line):
    write_text(tmp_path / "labels" / "0.txt", line + "\n\n")
    masks = load_yolo_masks(photos, tmp_path / "labels")
    assert_array_equal(read_mask(masks[0]), rectangle())
    assert masks[1] is None


def test_several_lines_and_labels(photos):
    write_text(photos[0].with_suffix(".txt"), LINE + "\n3 0.9 0.9 1 0.9 1.0000001 1 0.9 1\n")
    write_text(photos[1].with_suffix(".txt"), "")
    expected = rectangle()
    assert_array_equal(read_mask(load_yolo_masks(photos, labels=[0])[0]), expected)
    expected[9, 18:] = True
    masks = load_yolo_masks(photos)
    assert_array_equal(read_mask(masks[0]), expected)
    assert masks[1] is None
    assert load_yolo_masks(photos, labels=[7]).tolist() == [None, None]


def test_polygon_around_a_hole(photos):
    ring = [
        (0, 0),
        (1, 0),
        (1, 1),
        (0, 1),
        (0, 0),
        (0.2, 0.2),
        (0.2, 0.8),
        (0.8, 0.8),
        (0.8, 0.2),
        (0.2, 0.2),
    ]
    write_text(photos[0].with_suffix(".txt"), "0 " + " ".join(f"{x} {y}" for x, y in ring))
    expected = np.ones(SIZE, dtype=bool)
    expected[2:8, 4:16] = False
    assert_array_equal(read_mask(load_yolo_masks(photos)[0]), expected)


def test_photo_on_its_side(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("L", SIZE).save(tmp_path / "0.jpg", exif=exif)  # width 10, height 20 in the file
    write_text(tmp_path / "0.txt", LINE)
    assert_array_equal(read_mask(load_yolo_masks([tmp_path / "0.jpg"])[0]), rectangle())


@pytest.mark.parametrize(
    "line",
    [
        "0",
        "0 0.1 0.2",
        "0 0.1 0.2 0.3",
        "0 0.1 0.2 0.4 0.2 0.4",
        "0 10 20 40 20 40 60",
        "0 0.1 -0.2 0.4 0.2 0.4 0.6",
        "0.5 0.1 0.2 0.4 0.2 0.4 0.6",
        "dent 0.1 0.2 0.4 0.2 0.4 0.6",
        "0 0.1 0.2 0.4 nan 0.4 0.6",
        "inf 0.1 0.2 0.4 0.2 0.4 0.6",
    ],
)
def test_lines_that_are_wrong(photos, line):
    write_text(photos[1].with_suffix(".txt"), f"{LINE}\n{line}\n")
    with pytest.raises(
        ValueError, match=rf"line 2 of '.*1.txt' is '{line}'; expected the number of a class and"
    ):
        load_yolo_masks(photos)


def test_no_files_at_all(photos, tmp_path):
    with pytest.raises(
        ValueError, match=r"no file '.*labels/0.txt': expected YOLO's text file of '.*0.png', or of"
    ):
        load_yolo_masks(photos, tmp_path / "labels")
    assert load_yolo_masks([]).shape == (0,)

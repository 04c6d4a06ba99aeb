"""LabelMe's json: its shapes, and files that do not fit their photos."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from skpadim.datasets import load_labelme_masks, read_mask
from trees import write_image, write_json, write_text

SIZE = (6, 8)


def shape(kind, points, label="dent", **other):
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}} | other


def png(mask):
    file = io.BytesIO()
    Image.fromarray(np.asarray(mask, dtype=np.uint8)).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photos" / "0.jpg"
    write_image(path, np.zeros(SIZE))
    return path


def annotate(photo, *shapes, folder=None, **other):
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": photo.name,
        "imageData": None,
    }
    content |= {"imageHeight": SIZE[0], "imageWidth": SIZE[1]} | other
    write_json((folder or photo.parent) / f"{photo.stem}.json", content)


@pytest.mark.parametrize(
    "drawn",
    [
        shape("polygon", [[2, 1], [5, 1], [5, 3], [2, 3]]),
        shape(None, [[2, 1], [5, 1], [5, 3], [2, 3]]),
        shape("rectangle", [[5, 3], [2, 1]]),
        shape("oriented_rectangle", [[2, 1], [5, 1], [5, 3], [2, 3]]),
        shape("mask", [[2, 1], [4, 2]], mask=png([[1, 1, 1], [1, 1, 1]])),
    ],
    ids=lambda drawn: str(drawn["shape_type"]),
)
def test_shapes(photo, drawn):
    annotate(photo, drawn)
    (mask,) = load_labelme_masks([photo])
    expected = np.zeros(SIZE, dtype=bool)
    expected[1:3, 2:5] = True
    assert_array_equal(read_mask(mask), expected)


def test_circle(photo):
    annotate(photo, shape("circle", [[4, 3], [6, 3]]))
    (mask,) = load_labelme_masks([photo])
    rows, columns = np.indices(SIZE) + 0.5
    assert_array_equal(read_mask(mask), np.hypot(rows - 3, columns - 4) < 2)


def test_several_shapes_and_a_mask_with_a_hole(photo):
    ring = [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
    annotate(
        photo,
        shape("mask", [[0, 0], [2, 2]], mask=png(ring)),
        shape("rectangle", [[6, 4], [8, 6]], "scratch"),
    )
    expected = np.zeros(SIZE, dtype=bool)
    expected[:3, :3] = np.array(ring) == 1
    assert_array_equal(read_mask(load_labelme_masks([photo], labels=["dent"])[0]), expected)
    expected[4:, 6:] = True
    assert_array_equal(read_mask(load_labelme_masks([photo])[0]), expected)
    with pytest.raises(
        ValueError, match=r"labels: there is no 'hole' in the json files; found: \['dent', 'scratch'\]"
    ):
        load_labelme_masks([photo], labels=["hole"])


def test_files_in_another_folder(photo, tmp_path):
    annotate(photo, folder=tmp_path / "annotations")
    assert load_labelme_masks([str(photo)], str(tmp_path / "annotations")).tolist() == [None]
    with pytest.raises(
        ValueError, match=r"no file '.*photos/0.json': expected LabelMe's json of '.*0.jpg'. Pass the"
    ):
        load_labelme_masks([photo])


@pytest.mark.parametrize("kind", ["line", "linestrip", "point", "points", "spline"])
def test_shapes_without_area(photo, kind):
    annotate(photo, shape(kind, [[1, 1], [2, 2], [3, 3]]))
    with pytest.raises(
        ValueError, match=rf"shapes of '.*0.json' are not as expected: .*a {kind} has no area"
    ):
        load_labelme_masks([photo])


@pytest.mark.parametrize(
    "wrong",
    [
        shape("polygon", [[1, 1], [2, 2]]),
        shape("polygon", [[1, 1, 1], [2, 2, 2]]),
        shape("rectangle", [[1, 1], [2, 2], [3, 3]]),
        shape("circle", [[1, 1]]),
        shape("mask", [[1, 1], [2, 2]]),
        shape("mask", [[1, 1], [2, 2]], mask="a"),
        shape("mask", [[1, 1], [2, 2]], mask=base64.b64encode(b"no image").decode()),
        shape("mask", [[6, 5], [8, 7]], mask=png(np.ones((3, 3)))),
        shape("mask", [[-1, 0], [1, 2]], mask=png(np.ones((3, 3)))),
        shape("polygon", None),
    ],
)
def test_shapes_that_are_wrong(photo, wrong):
    annotate(photo, wrong)
    with pytest.raises(ValueError, match=r"shapes of '.*0.json' (are not as expected|cannot be drawn)"):
        load_labelme_masks([photo])


def test_files_that_do_not_fit(photo):
    annotate(photo, imageHeight=12, imageWidth=16)
    with pytest.raises(
        ValueError, match="of height 12 and width 16; upright, it is 6 and 8: annotate the photos as"
    ):
        load_labelme_masks([photo])
    annotate(photo, {"label": "dent"})
    with pytest.raises(
        ValueError, match=r"expected a list 'shapes', each with label, points; found: {'label': 'dent'}"
    ):
        load_labelme_masks([photo])
    write_text(photo.with_suffix(".json"), "{}")
    with pytest.raises(ValueError, match="expected a list 'shapes'"):
        load_labelme_masks([photo])
    annotate(photo)
    write_text(photo, "no photo")
    with pytest.raises(ValueError, match=r"the size of '.*0.jpg' cannot be read"):
        load_labelme_masks([photo])

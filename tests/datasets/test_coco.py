"""COCO's json: polygons, boxes, runs of pixels, and which photo is which."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from skpadim.datasets import load_coco_masks, load_inspection_folder, read_mask
from skpadim.metrics import pixel_roc_auc_score
from trees import write_image, write_json

SIZE = (4, 6)  # height and width
SQUARE = [1, 1, 3, 1, 3, 3, 1, 3]


def square(left=1):
    mask = np.zeros(SIZE, dtype=bool)
    mask[1:3, left : left + 2] = True
    return mask


def image(identity, name, **other):
    return {"id": identity, "file_name": name, "height": SIZE[0], "width": SIZE[1]} | other


def annotation(identity, segmentation, category=1, **other):
    return {"image_id": identity, "category_id": category, "segmentation": segmentation} | other


@pytest.fixture
def photos(tmp_path):
    paths = [
        tmp_path / "test" / kind / name
        for kind, name in [("dent", "0.png"), ("dent", "1.png"), ("hole", "0.png")]
    ]
    for path in paths:
        write_image(path, np.zeros(SIZE))
    return paths


@pytest.fixture
def coco(tmp_path):
    def write(annotations, images=None, **other):
        content = {
            "images": images or [image(3, "dent/0.png"), image(7, "dent/1.png"), image(9, "hole/0.png")],
            "categories": [{"id": 1, "name": "dent"}, {"id": 2, "name": "label"}],
            "annotations": annotations,
        }
        write_json(tmp_path / "coco.json", content | other)
        return tmp_path / "coco.json"

    return write


def test_several_polygons_of_several_annotations(photos, coco):
    file = coco(
        [
            annotation(3, [SQUARE, [5, 0, 6, 0, 6, 1, 5, 1]]),
            annotation(9, [SQUARE]),
            annotation(3, [[0, 3, 1, 3, 1, 4, 0, 4]]),
        ]
    )
    masks = load_coco_masks(photos, file)
    expected = square()
    expected[0, 5] = expected[3, 0] = True
    assert_array_equal(read_mask(masks[0]), expected)
    assert masks[1] is None
    assert_array_equal(read_mask(masks[2]), square())


@pytest.mark.parametrize("counts", [[4, 1, 3, 16], "413?"])
def test_runs(photos, coco, counts):
    masks = load_coco_masks(photos, coco([annotation(7, {"size": list(SIZE), "counts": counts})]))
    expected = np.zeros(SIZE, dtype=bool)
    expected[0, 1] = True
    expected[:, 2:] = True
    assert_array_equal(read_mask(masks[1]), expected)


def test_runs_with_a_hole(photos, coco):
    by_coco_s_tool = {
        "size": [40, 50],
        "counts": "Zi0d0d000000000AF0:0F0:0F0:0F0:0F0:0F0:0F0:0F0:0F0:0F0:?00000000V<",
    }
    write_image(photos[0], np.zeros((40, 50)))
    file = coco(
        [annotation(3, by_coco_s_tool, iscrowd=1)], images=[image(3, "dent/0.png", height=40, width=50)]
    )
    expected = np.zeros((40, 50), dtype=bool)
    expected[10:30, 20:40] = True
    expected[15:25, 25:35] = False
    assert_array_equal(read_mask(load_coco_masks(photos[:1], file)[0]), expected)


def test_box_where_there_is_no_segmentation(photos, coco):
    file = coco(
        [annotation(3, [], bbox=[1, 1, 2, 2]), {"image_id": 7, "category_id": 1, "bbox": [3, 1, 2, 2]}]
    )
    masks = load_coco_masks(photos, file)
    assert_array_equal(read_mask(masks[0]), square())
    assert_array_equal(read_mask(masks[1]), square(left=3))


def test_labels_that_are_defects(photos, coco):
    file = coco([annotation(3, [SQUARE]), annotation(7, [SQUARE], category=2)])
    assert [mask is None for mask in load_coco_masks(photos, file, labels=["dent"])] == [False, True, True]
    assert [mask is None for mask in load_coco_masks(photos, file)] == [False, False, True]
    with pytest.raises(
        ValueError, match=r"labels: there is no 'hole' in .*coco.json'; found: \['dent', 'label'\]"
    ):
        load_coco_masks(photos, file, labels=["hole"])


def test_masks_for_a_loader_and_the_metrics(tmp_path, photos, coco):
    for name in ("train/good/a.png", "test/good/b.png"):
        write_image(tmp_path / name, np.zeros(SIZE))
    loaded = load_inspection_folder(tmp_path)
    bad = loaded.y_test == -1
    names = [image(1, "0.png"), image(3, "dent/0.png"), image(7, "test/dent/1.png"), image(9, "hole/0.png")]
    file = coco([annotation(number, [SQUARE]) for number in (3, 7, 9)], images=names[1:])
    loaded.masks_test[bad] = load_coco_masks(loaded.X_test[bad], file)
    maps = [np.zeros(SIZE) if mask is None else np.asarray(mask, dtype=float) for mask in loaded.masks_test]
    assert sum(marked.sum() for marked in maps) == 12
    assert pixel_roc_auc_score(loaded.masks_test, maps) == 1
    with pytest.raises(
        ValueError, match=r"has no photo '.*test/good/b.png': .*; found: 'dent/0.png', .*Pass the photos"
    ):
        load_coco_masks(loaded.X_test, file)


def test_longest_name_that_fits(photos, coco):
    images = [image(1, "0.png"), image(2, "hole\\\\0.png"), image(3, "1.png")]
    masks = load_coco_masks(photos, coco([annotation(2, [SQUARE])], images=images))
    assert [mask is None for mask in masks] == [True, True, False]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            [image(1, "0.png"), image(2, "1.png")],
            r"may be '.*dent/0.png' or '.*hole/0.png': write their folders into",
        ),
        ([image(1, "dent/0.png"), image(2, "dent/0.png")], "has 2 images named 'dent/0.png'; keep one"),
        ([image(1, "scratch/0.png")], "has no photo '.*dent/0.png': .*; found: 'scratch/0.png'"),
        (
            [image(1, "dent/0.png", height=6, width=4), image(2, "hole/0.png")],
            "of height 6 and width 4; upright, it is 4 and 6: annotate",
        ),
        (
            [{"id": 1, "file_name": "0.png"}],
            "expected a list 'images', each with id, file_name, width, height; found: {",
        ),
    ],
)
def test_images_that_do_not_fit(photos, coco, images, message):
    with pytest.raises(ValueError, match=message):
        load_coco_masks(photos[::2], coco([], images=images))


@pytest.mark.parametrize(
    "wrong",
    [
        annotation(3, [[1, 1, 3]]),
        annotation(3, [1, 1, 3, 1, 3, 3]),
        annotation(3, [["a", "b"]]),
        annotation(3, [[1, 1, 3, 1]]),
        annotation(3, []),
        annotation(3, {"counts": [24]}),
        annotation(3, {"size": [6, 4], "counts": [24]}),
        annotation(3, {"size": [4, 6], "counts": [23]}),
        annotation(3, {"size": [4, 6], "counts": "1 2"}),
        annotation(3, [[0, 0, 1, 0, float("nan"), 1]]),
        annotation(3, [[1, 4, 3, 4, 3, 6, 1, 6]]),
        annotation(3, [[-3, 1, -1, 1, -1, 3]]),
    ],
)
def test_annotations_that_are_wrong(photos, coco, wrong):
    with pytest.raises(
        ValueError, match=r"annotations of '.*dent/0.png' in '.*coco.json' (are not as|cannot be)"
    ):
        load_coco_masks(photos, coco([wrong]))


def test_annotations_of_no_image(photos, coco):
    with pytest.raises(ValueError, match=r"coco.json' annotates an image_id '3' that no image has as its id"):
        load_coco_masks(photos, coco([annotation("3", [SQUARE])]))


def test_files_that_are_not_coco_s(photos, coco, tmp_path):
    with pytest.raises(
        ValueError, match="expected a list 'annotations', each with image_id, category_id; found"
    ):
        load_coco_masks(photos, coco({}))
    write_json(tmp_path / "other.json", [])
    with pytest.raises(ValueError, match=r"other.json': expected a list 'images'"):
        load_coco_masks(photos, tmp_path / "other.json")
    with pytest.raises(ValueError, match=r"no file '.*missing.json': expected COCO's json"):
        load_coco_masks(photos, tmp_path / "missing.json")


def test_photo_on_its_side(tmp_path, coco):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", SIZE).save(tmp_path / "0.jpg", exif=exif)  # width 4, height 6 in the file
    (mask,) = load_coco_masks(
        [tmp_path / "0.jpg"], coco([annotation(1, [SQUARE])], images=[image(1, "0.jpg")])
    )
    assert_array_equal(read_mask(mask), square())


def test_no_photos(coco):
    assert load_coco_masks([], coco([])).shape == (0,)

"""MVTec AD, MVTec AD 2 and MVTec LOCO AD, on true layouts written here and on what is wrong with them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from skpadim.datasets import (
    load_mvtec_ad,
    load_mvtec_ad_2,
    load_mvtec_loco,
    make_inspection_images,
    read_mask,
)
from skpadim.metrics import pixel_roc_auc_score
from trees import (
    MARKED,
    assert_contract,
    assert_pixels_can_be_scored,
    names,
    write_image,
    write_json,
    write_text,
)

# MVTec AD


@pytest.fixture
def mvtec_ad(tmp_path):
    root = tmp_path / "mvtec_ad"
    for name in ("license.txt", "readme.txt"):
        write_text(root / "bottle" / name)
    for number in range(3):
        write_image(root / "bottle" / "train" / "good" / f"{number:03d}.png")
    for kind in ("good", "broken_large", "contamination"):
        for number in range(2):
            write_image(root / "bottle" / "test" / kind / f"{number:03d}.png")
            if kind != "good":
                write_image(root / "bottle" / "ground_truth" / kind / f"{number:03d}_mask.png")
    write_image(root / "cable" / "train" / "good" / "000.png")
    return root


@pytest.mark.parametrize("kind_of_path", [str, Path])
def test_mvtec_ad(mvtec_ad, kind_of_path):
    photos = load_mvtec_ad(kind_of_path(mvtec_ad), "bottle")
    assert_contract(photos)
    assert names(photos.X_train, mvtec_ad) == [f"bottle/train/good/00{number}.png" for number in range(3)]
    assert names(photos.X_test, mvtec_ad) == [
        "bottle/test/broken_large/000.png",
        "bottle/test/broken_large/001.png",
        "bottle/test/contamination/000.png",
        "bottle/test/contamination/001.png",
        "bottle/test/good/000.png",
        "bottle/test/good/001.png",
    ]
    assert names(photos.masks_test, mvtec_ad) == [
        "bottle/ground_truth/broken_large/000_mask.png",
        "bottle/ground_truth/broken_large/001_mask.png",
        "bottle/ground_truth/contamination/000_mask.png",
        "bottle/ground_truth/contamination/001_mask.png",
        None,
        None,
    ]
    assert photos.y_test.tolist() == [-1, -1, -1, -1, 1, 1]
    assert photos.defects_test.tolist() == ["broken_large"] * 2 + ["contamination"] * 2 + ["good"] * 2
    assert "MVTec AD, bottle" in photos.DESCR
    assert "2 good and 4 defective" in photos.DESCR
    assert "CC BY-NC-SA 4.0" in photos.DESCR
    assert_pixels_can_be_scored(photos)
    maps = [np.zeros(MARKED.shape) if label == 1 else MARKED / 255 for label in photos.y_test]
    assert pixel_roc_auc_score(photos.masks_test, maps) == 1


def test_hidden_files_and_files_that_are_no_images_are_passed_over(mvtec_ad):
    before = load_mvtec_ad(mvtec_ad, "bottle")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "report.pdf", "._000.png"):
        for folder in ("train/good", "test", "test/good", "test/broken_large", "ground_truth/broken_large"):
            write_text(mvtec_ad / "bottle" / folder / name)
    write_image(mvtec_ad / "bottle" / "test" / ".ipynb_checkpoints" / "000.png")
    after = load_mvtec_ad(mvtec_ad, "bottle")
    for name in ("X_train", "X_test", "masks_test", "DESCR"):
        np.testing.assert_array_equal(after[name], before[name])


@pytest.mark.parametrize("category", ["bottel", "capsule", "", ".", "../mvtec_ad/bottle"])
def test_category_that_is_not_there(mvtec_ad, category):
    message = rf"category='{category}' .*hazelnut, .*zipper; found: .*mvtec_ad' holds 'bottle/', 'cable/'\."
    with pytest.raises(ValueError, match=message):
        load_mvtec_ad(mvtec_ad, category)


def test_all_fifteen_categories_are_known_and_listed(tmp_path):
    textures = ["carpet", "grid", "leather", "tile", "wood"]
    objects = ["bottle", "cable", "capsule", "hazelnut", "metal_nut", "pill", "screw", "toothbrush"]
    categories = sorted([*textures, *objects, "transistor", "zipper"])
    for category in categories:
        make_inspection_images(1, 1, 1, image_size=32, folder=tmp_path / category)
    for category in categories:
        assert len(load_mvtec_ad(tmp_path, category).X_train) == 1
    with pytest.raises(ValueError, match="holds " + ", ".join(f"'{category}/'" for category in categories)):
        load_mvtec_ad(tmp_path, "candle")


def test_root_that_is_not_there_or_a_file(tmp_path):
    write_text(tmp_path / "mvtec_ad.tar.xz")
    with pytest.raises(ValueError, match=r"found: '.*' holds 'mvtec_ad.tar.xz'\."):
        load_mvtec_ad(tmp_path / "mvtec_ad", "bottle")
    with pytest.raises(ValueError, match=r"mvtec_ad.tar.xz', which is a file"):
        load_mvtec_ad(tmp_path / "mvtec_ad.tar.xz", "bottle")


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        (
            "train/good",
            r"no folder '.*good': expected good photos to train on; found: '.*train' holds nothing\.",
        ),
        (
            "train",
            "no folder '.*good': .*; found: '.*bottle' holds 'ground_truth/', 'license.txt', .*, 'test/'",
        ),
        ("test", "no folder '.*test': expected a folder 'good' and one for each defect; found: '.*bottle'"),
        (
            "ground_truth",
            "no folder '.*broken_large': expected the masks of '.*broken_large'; found: '.*bottle'",
        ),
        ("ground_truth/contamination", "no folder '.*contamination': .*; found: '.*' holds 'broken_large/'"),
    ],
)
def test_missing_folder(mvtec_ad, folder, expected):
    shutil.rmtree(mvtec_ad / "bottle" / folder)
    with pytest.raises(ValueError, match=expected):
        load_mvtec_ad(mvtec_ad, "bottle")


@pytest.mark.parametrize(
    "folder", ["train/good", "test/good", "test/contamination", "ground_truth/contamination"]
)
def test_folder_without_images(mvtec_ad, folder):
    for path in (mvtec_ad / "bottle" / folder).iterdir():
        path.unlink()
    write_text(mvtec_ad / "bottle" / folder / "photos.zip")
    with pytest.raises(ValueError, match=f"no image in '.*{folder}': .*; found: '.*' holds 'photos.zip'"):
        load_mvtec_ad(mvtec_ad, "bottle")


def test_empty_test_folder(mvtec_ad):
    shutil.rmtree(mvtec_ad / "bottle" / "test")
    (mvtec_ad / "bottle" / "test").mkdir()
    with pytest.raises(
        ValueError, match=r"test': a folder 'good' and one for each defect; found: .*holds nothing"
    ):
        load_mvtec_ad(mvtec_ad, "bottle")


def test_photos_outside_of_the_folders_of_their_defects(mvtec_ad):
    write_image(mvtec_ad / "bottle" / "test" / "stray.png")
    with pytest.raises(ValueError, match=r"a folder 'good' and one for each defect; found: .*'stray.png'"):
        load_mvtec_ad(mvtec_ad, "bottle")


def test_photos_without_masks_are_counted_and_named(mvtec_ad):
    (mvtec_ad / "bottle" / "ground_truth" / "contamination" / "001_mask.png").unlink()
    message = (
        r"1 of 2 photos .*test/contamination' .*first '001.png': expected '001_mask.png' .*'000_mask.png'\."
    )
    with pytest.raises(ValueError, match=message):
        load_mvtec_ad(mvtec_ad, "bottle")


@pytest.mark.parametrize(
    ("name", "value"), [("root", 3), ("root", None), ("category", 3), ("category", None)]
)
def test_bad_parameters_are_named(mvtec_ad, name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter of load_mvtec_ad"):
        load_mvtec_ad(**{"root": mvtec_ad, "category": "bottle", name: value})


# MVTec AD 2


@pytest.fixture
def mvtec_ad_2(tmp_path):
    root = tmp_path / "mvtec_ad_2"
    for light in ("regular", "overexposed"):
        for folder in ("train/good", "validation/good", "test_public/good", "test_public/bad"):
            write_image(root / "can" / folder / f"000_{light}.png")
        write_image(root / "can" / "test_public" / "ground_truth" / "bad" / f"000_{light}_mask.png")
    write_image(root / "can" / "test_private" / "000_regular.png")
    write_image(root / "can" / "test_private_mixed" / "000_mixed.png")
    return root


def test_mvtec_ad_2(mvtec_ad_2):
    photos = load_mvtec_ad_2(mvtec_ad_2, "can")
    assert_contract(photos)
    assert names(photos.X_train, mvtec_ad_2) == [
        "can/train/good/000_overexposed.png",
        "can/train/good/000_regular.png",
    ]
    assert names(photos.X_test, mvtec_ad_2)[0] == "can/test_public/bad/000_overexposed.png"
    assert names(photos.masks_test, mvtec_ad_2) == [
        "can/test_public/ground_truth/bad/000_overexposed_mask.png",
        "can/test_public/ground_truth/bad/000_regular_mask.png",
        None,
        None,
    ]
    assert photos.defects_test.tolist() == ["bad", "bad", "good", "good"]
    assert len(photos.X_validation) == 2
    assert names(photos.X_private, mvtec_ad_2) == ["can/test_private/000_regular.png"]
    assert names(photos.X_private_mixed, mvtec_ad_2) == ["can/test_private_mixed/000_mixed.png"]
    assert_pixels_can_be_scored(photos)


def test_mvtec_ad_2_without_its_private_parts(mvtec_ad_2):
    shutil.rmtree(mvtec_ad_2 / "can" / "test_private")
    shutil.rmtree(mvtec_ad_2 / "can" / "test_private_mixed")
    photos = load_mvtec_ad_2(mvtec_ad_2, "can")
    assert photos.X_private.shape == photos.X_private_mixed.shape == (0,)


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("train", "no folder '.*train/good': expected good photos to train on"),
        ("validation", "no folder '.*validation/good': expected good photos held back"),
        ("test_public", "no folder '.*test_public': expected a folder 'good' and one for each defect"),
        ("test_public/good", "no folder '.*test_public/good': expected good photos to test on"),
        ("test_public/ground_truth", "no folder '.*ground_truth/bad': expected the masks of '.*bad'"),
    ],
)
def test_part_of_mvtec_ad_2_that_is_missing(mvtec_ad_2, lacking, message):
    shutil.rmtree(mvtec_ad_2 / "can" / lacking)
    with pytest.raises(ValueError, match=message):
        load_mvtec_ad_2(mvtec_ad_2, "can")


def test_mvtec_ad_2_in_the_layout_of_mvtec_ad(mvtec_ad):
    with pytest.raises(
        ValueError, match=r"category='bottle' is not there. MVTec AD 2 has can, fabric, .*walnuts"
    ):
        load_mvtec_ad_2(mvtec_ad, "bottle")


# MVTec LOCO AD


@pytest.fixture
def mvtec_loco(tmp_path):
    root = tmp_path / "mvtec_loco_anomaly_detection"
    folder = root / "pushpins"
    for name in (
        "train/good",
        "validation/good",
        "test/good",
        "test/logical_anomalies",
        "test/structural_anomalies",
    ):
        write_image(folder / name / "000.png")
    masks = folder / "ground_truth"
    write_image(masks / "logical_anomalies" / "000" / "000.png", [[255, 0, 0], [0, 0, 0]])
    write_image(masks / "logical_anomalies" / "000" / "001.png", [[0, 0, 0], [0, 0, 254]])
    write_image(masks / "structural_anomalies" / "000" / "000.png", [[0, 250, 0], [0, 0, 0]])
    kinds = [
        ("1_additional_pushpin", 255, 6300, False),
        ("missing_separator", 254, 0.5, True),
        ("color", 250, 1, True),
    ]
    keys = ("defect_name", "pixel_value", "saturation_threshold", "relative_saturation")
    write_json(folder / "defects_config.json", [dict(zip(keys, kind, strict=True)) for kind in kinds])
    return root


def test_mvtec_loco(mvtec_loco):
    photos = load_mvtec_loco(mvtec_loco, "pushpins")
    assert_contract(photos)
    assert photos.defects_test.tolist() == ["good", "logical_anomalies", "structural_anomalies"]
    assert [read_mask(mask) is None for mask in photos.masks_test] == [True, False, False]
    assert read_mask(photos.masks_test[1]).tolist() == [[True, False, False], [False, False, True]]
    assert names(photos.masks_test[1].paths, mvtec_loco) == [
        f"pushpins/ground_truth/logical_anomalies/000/00{number}.png" for number in range(2)
    ]
    assert names(photos.X_validation, mvtec_loco) == ["pushpins/validation/good/000.png"]
    assert photos.defect_kinds[254] == {
        "defect_name": "missing_separator",
        "saturation_threshold": 0.5,
        "relative_saturation": True,
    }
    assert set(photos.defect_kinds) == {255, 254, 250}
    maps = [np.zeros((2, 3)) if mask is None else np.asarray(mask, dtype=float) for mask in photos.masks_test]
    assert pixel_roc_auc_score(photos.masks_test, maps) == 1


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("ground_truth/logical_anomalies/000", "no folder '.*logical_anomalies/000': expected the masks of"),
        ("ground_truth", "no folder '.*ground_truth/logical_anomalies': expected the masks of"),
        ("validation", "no folder '.*validation/good': expected good photos held back"),
        ("defects_config.json", "no file '.*defects_config.json': expected a list of kinds of defect"),
    ],
)
def test_part_of_mvtec_loco_that_is_missing(mvtec_loco, lacking, message):
    path = mvtec_loco / "pushpins" / lacking
    if path.is_dir():
        shutil.rmtree(path)
        (path.parent / "999").mkdir(exist_ok=True)  # of another photo
    else:
        path.unlink()
    with pytest.raises(ValueError, match=message):
        load_mvtec_loco(mvtec_loco, "pushpins")


@pytest.mark.parametrize(
    "config", [{}, [{"defect_name": "color"}], [[1]], [{"defect_name": 3, "pixel_value": 255}]]
)
def test_kinds_of_mvtec_loco_that_are_wrong(mvtec_loco, config):
    write_json(mvtec_loco / "pushpins" / "defects_config.json", config)
    with pytest.raises(
        ValueError, match=r"defects_config.json' holds .*; expected a list of kinds .*pixel_value"
    ):
        load_mvtec_loco(mvtec_loco, "pushpins")


def test_kinds_of_mvtec_loco_that_are_no_json(mvtec_loco):
    write_text(mvtec_loco / "pushpins" / "defects_config.json", "[")
    with pytest.raises(ValueError, match=r"defects_config.json' is not json"):
        load_mvtec_loco(mvtec_loco, "pushpins")

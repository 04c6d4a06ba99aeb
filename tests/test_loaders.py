"""The loaders, on folders written here in each data set's true layout, and on what is wrong with a folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from skpadim.datasets import (
    FrameMask,
    load_btad,
    load_inspection_folder,
    load_mvtec_ad,
    load_shanghaitech,
    load_visa,
    make_inspection_images,
    read_mask,
)
from skpadim.metrics import pixel_roc_auc_score

MARKED = np.array([[0, 0, 0], [0, 255, 255]], dtype=np.uint8)


def write_image(path, pixels=MARKED):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)


def write_text(path, text="not a photo"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_array(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def names(paths, root):
    return [None if path is None else Path(path).relative_to(root).as_posix() for path in paths]


def assert_contract(photos):
    """What holds of the photos of every loader."""
    n_test = len(photos.X_test)
    assert set(photos) == {"X_train", "X_test", "y_test", "masks_test", "defects_test", "DESCR"}
    assert photos.X_train.dtype.kind == photos.X_test.dtype.kind == photos.defects_test.dtype.kind == "U"
    assert photos.X_train.ndim == photos.X_test.ndim == 1
    assert photos.y_test.dtype == np.int64
    assert photos.masks_test.dtype == object
    assert photos.y_test.shape == photos.masks_test.shape == photos.defects_test.shape == (n_test,)
    np.testing.assert_array_equal(photos.y_test == 1, photos.defects_test == "good")
    assert all(Path(path).is_file() for path in [*photos.X_train, *photos.X_test])
    assert "Source: " in photos.DESCR
    assert "Licence: " in photos.DESCR
    assert f"{len(photos.X_train)} good to train on" in photos.DESCR


def assert_pixels_can_be_scored(photos):
    """Maps that are the masks themselves have an area under the curve of 1."""
    masks = [read_mask(mask) for mask in photos.masks_test]
    maps = [np.zeros(MARKED.shape) if mask is None else mask.astype(float) for mask in masks]
    assert pixel_roc_auc_score(map(read_mask, photos.masks_test), maps) == 1


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


# VisA


@pytest.fixture
def visa(tmp_path):
    root, lines = tmp_path / "VisA", ["object,split,label,image,mask"]
    for category in ("candle", "pcb1"):
        data = f"{category}/Data"
        for number in (1, 0, 2):
            split = "test" if number == 2 else "train"
            lines.append(f"{category},{split},normal,{data}/Images/Normal/{number:04d}.JPG,")
        for number in (1, 0):
            image, mask = f"{data}/Images/Anomaly/{number:03d}.JPG", f"{data}/Masks/Anomaly/{number:03d}.png"
            lines.append(f"{category},test,anomaly,{image},{mask}")
            write_image(root / mask, [[0, 0, 0], [0, 1, 5]])
        for line in lines[1:]:
            write_image(root / line.split(",")[3])
    write_text(root / "split_csv" / "1cls.csv", "\n".join(lines) + "\n")
    return root


def edit_split(root, old, new):
    path = root / "split_csv" / "1cls.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_visa(visa):
    photos = load_visa(visa, "pcb1")
    assert_contract(photos)
    assert names(photos.X_train, visa) == [f"pcb1/Data/Images/Normal/000{number}.JPG" for number in range(2)]
    assert names(photos.X_test, visa) == [
        "pcb1/Data/Images/Anomaly/000.JPG",
        "pcb1/Data/Images/Anomaly/001.JPG",
        "pcb1/Data/Images/Normal/0002.JPG",
    ]
    assert names(photos.masks_test, visa) == [
        "pcb1/Data/Masks/Anomaly/000.png",
        "pcb1/Data/Masks/Anomaly/001.png",
        None,
    ]
    assert photos.defects_test.tolist() == ["anomaly", "anomaly", "good"]
    assert "CC BY 4.0" in photos.DESCR
    assert_pixels_can_be_scored(photos)


def test_masks_of_visa_are_refused_unless_read(visa):
    photos = load_visa(visa, "pcb1")
    maps = np.zeros((3, *MARKED.shape))
    with pytest.raises(ValueError, match="not binary"):
        pixel_roc_auc_score(photos.masks_test, maps)
    assert read_mask(photos.masks_test[0]).tolist() == [[False, False, False], [False, True, True]]


def test_visa_written_by_a_spreadsheet(visa):
    path = visa / "split_csv" / "1cls.csv"
    path.write_text(path.read_text().replace("\n", "\r\n"), encoding="utf-8-sig", newline="")
    assert len(load_visa(visa, "pcb1").X_train) == 2


def test_visa_in_another_encoding(visa):
    path = visa / "split_csv" / "1cls.csv"
    path.write_text(path.read_text(), encoding="utf-16")
    with pytest.raises(ValueError, match=r"1cls.csv' is not a text file in UTF-8"):
        load_visa(visa, "pcb1")


def test_visa_category_that_is_not_there(visa):
    with pytest.raises(ValueError, match=r"category='pcb5'.*candle, .*pipe_fryum; .*'candle/', 'pcb1/'"):
        load_visa(visa, "pcb5")


def test_visa_without_split(visa):
    (visa / "split_csv" / "1cls.csv").rename(visa / "split_csv" / "2cls_highshot.csv")
    with pytest.raises(ValueError, match=r"no file '.*1cls.csv': .*'2cls_highshot.csv'"):
        load_visa(visa, "pcb1")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("object,split", "category,split", r"columns \['category', 'split'.*expected \['object', 'split'"),
        ("pcb1,train,", "pcb2,train,", "names 0 photo.* of 'pcb1' to train on and 3 to test on"),
        ("pcb1,test,", "pcb2,test,", "2 photo.* to train on and 0 to test on"),
        (
            "pcb1,test,normal",
            "pcb1,train,anomaly",
            "line 9 .* is 'pcb1,train,anomaly,.*; expected train,normal",
        ),
        ("Anomaly/001.JPG", "Anomaly/000.JPG", r"lines 10 and 11 .* one photo, 'pcb1/.*/Anomaly/000.JPG'"),
        ("Normal/0002.JPG,", "Normal/0002.JPG,mask.png", "line 9 .*; expected .* test,normal without a mask"),
        (",pcb1/Data/Masks/Anomaly/001.png", ",", "line 10 .*; expected .* test,anomaly and a mask"),
        (
            "Normal/0001.JPG",
            "Normal/0007.JPG",
            r"1 file.* not there, the first '.*pcb1.*0007.JPG'; found: .*0000.JPG",
        ),
        (
            "Masks/Anomaly",
            "Mask/Anomaly",
            r"2 file.* not there, .*; found: '.*Data' holds 'Images/', 'Masks/'",
        ),
    ],
)
def test_split_of_visa_that_is_wrong(visa, old, new, message):
    edit_split(visa, old, new)
    with pytest.raises(ValueError, match=message):
        load_visa(visa, "pcb1")


# BTAD


@pytest.fixture
def btad(tmp_path):
    root = tmp_path / "BTech_Dataset_transformed"
    for product, photo, mask in [("01", "bmp", "png"), ("02", "png", "png"), ("03", "bmp", "bmp")]:
        write_image(root / product / "train" / "ok" / f"0000.{photo}")
        write_image(root / product / "test" / "ok" / f"0003.{photo}")
        for number in (1, 2):
            write_image(root / product / "test" / "ko" / f"{number:04d}.{photo}")
            write_image(root / product / "ground_truth" / "ko" / f"{number:04d}.{mask}")
    return root


@pytest.mark.parametrize(
    ("product", "photo", "mask"), [("01", "bmp", "png"), ("02", "png", "png"), ("03", "bmp", "bmp")]
)
def test_btad(btad, product, photo, mask):
    photos = load_btad(btad, product)
    assert_contract(photos)
    assert names(photos.X_train, btad) == [f"{product}/train/ok/0000.{photo}"]
    assert names(photos.X_test, btad) == [
        f"{product}/test/ko/0001.{photo}",
        f"{product}/test/ko/0002.{photo}",
        f"{product}/test/ok/0003.{photo}",
    ]
    assert names(photos.masks_test, btad) == [
        f"{product}/ground_truth/ko/0001.{mask}",
        f"{product}/ground_truth/ko/0002.{mask}",
        None,
    ]
    assert photos.defects_test.tolist() == ["ko", "ko", "good"]
    assert "CC BY-SA" in photos.DESCR
    assert_pixels_can_be_scored(photos)


def test_btad_that_is_not_there(btad):
    with pytest.raises(ValueError, match=r"category='1' .*BTAD has 01, 02, 03; .*'01/', '02/', '03/'"):
        load_btad(btad, "1")
    with pytest.raises(ValueError, match="'category' parameter"):
        load_btad(btad, 1)
    (btad / "03" / "ground_truth" / "ko" / "0002.bmp").unlink()
    with pytest.raises(ValueError, match=r"1 of 2 photos in '.*ko' have no mask, the first '0002.bmp'"):
        load_btad(btad, "03")
    (btad / "02" / "train" / "ok").rename(btad / "02" / "train" / "good")
    with pytest.raises(ValueError, match=r"no folder '.*ok': .*train' holds 'good/'"):
        load_btad(btad, "02")


# ShanghaiTech Campus


@pytest.fixture
def shanghaitech(tmp_path):
    root = tmp_path / "shanghaitech"
    testing = root / "testing"
    for number in range(3):
        write_image(root / "training" / "frames" / "01_001" / f"{number:03d}.jpg")
    for video, labels in [("01_0014", [0, 1, 1]), ("06_0144", [0, 0])]:
        for number in range(len(labels)):
            write_image(testing / "frames" / video / f"{number:03d}.jpg")
        masks = np.zeros((len(labels), *MARKED.shape), dtype=np.uint8)
        masks[np.flatnonzero(labels), 0, np.flatnonzero(labels)] = 1
        write_array(testing / "test_frame_mask" / f"{video}.npy", np.array(labels, dtype=np.int8))
        write_array(testing / "test_pixel_mask" / f"{video}.npy", masks)
    return root


def test_shanghaitech(shanghaitech):
    photos = load_shanghaitech(shanghaitech)
    assert_contract(photos)
    assert names(photos.X_train, shanghaitech) == [f"training/frames/01_001/00{i}.jpg" for i in range(3)]
    assert names(photos.X_test, shanghaitech) == [
        *(f"testing/frames/01_0014/00{i}.jpg" for i in range(3)),
        *(f"testing/frames/06_0144/00{i}.jpg" for i in range(2)),
    ]
    assert photos.y_test.tolist() == [1, -1, -1, 1, 1]
    assert photos.defects_test.tolist() == ["good", "anomaly", "anomaly", "good", "good"]
    assert [mask is None for mask in photos.masks_test] == [True, False, False, True, True]
    assert np.asarray(photos.masks_test[1]).tolist() == [[False, True, False], [False] * 3]
    assert read_mask(photos.masks_test[2]).tolist() == [[False, False, True], [False] * 3]
    assert_pixels_can_be_scored(photos)


def test_masks_of_frames_are_array_likes_for_the_metrics(shanghaitech):
    photos = load_shanghaitech(shanghaitech)
    maps = [
        np.zeros(MARKED.shape) if mask is None else np.asarray(mask, dtype=float)
        for mask in photos.masks_test
    ]
    assert pixel_roc_auc_score(photos.masks_test, maps) == 1
    with pytest.raises(ValueError, match="without a copy"):
        np.array(photos.masks_test[1], copy=False)


def test_frames_are_in_the_order_of_their_numbers(shanghaitech):
    testing = shanghaitech / "testing"
    for number in range(3):
        (testing / "frames" / "01_0014" / f"{number:03d}.jpg").rename(
            testing / "frames" / "01_0014" / f"{number + 999}.jpg"
        )
    write_image(testing / "frames" / "01_0014" / "101.jpg")
    labels = np.array([0, 0, 0, 1])
    write_array(testing / "test_frame_mask" / "01_0014.npy", labels)
    write_array(testing / "test_pixel_mask" / "01_0014.npy", np.ones((4, *MARKED.shape), dtype=bool))
    photos = load_shanghaitech(shanghaitech)
    assert [Path(path).stem for path in photos.X_test[:4]] == ["101", "999", "1000", "1001"]
    assert photos.masks_test[3] == FrameMask(str(testing / "test_pixel_mask" / "01_0014.npy"), 3)


def test_training_videos_have_to_be_decoded_first(shanghaitech):
    shutil.rmtree(shanghaitech / "training" / "frames")
    write_text(shanghaitech / "training" / "videos" / "01_001.avi")
    with pytest.raises(ValueError, match=r"videos in '.*videos' are not decoded here: .*ffmpeg"):
        load_shanghaitech(shanghaitech)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("training", r"no folder '.*training/frames': .*; found: '.*shanghaitech' holds 'testing/'\."),
        ("training/frames/01_001", r"expected in '.*training/frames': one folder .* video; found: .*nothing"),
        ("testing/frames", r"no folder '.*testing/frames': .*'test_frame_mask/', 'test_pixel_mask/'"),
        ("testing/test_frame_mask/01_0014.npy", r"no file '.*test_frame_mask.*'; found: .*'06_0144.npy'"),
        ("testing/test_pixel_mask/01_0014.npy", r"no file '.*test_pixel_mask.*'; found: .*'06_0144.npy'"),
    ],
)
def test_part_of_shanghaitech_that_is_missing(shanghaitech, path, message):
    target = shanghaitech / path
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    with pytest.raises(ValueError, match=message):
        load_shanghaitech(shanghaitech)


@pytest.mark.parametrize(
    ("folder", "array", "message"),
    [
        ("test_frame_mask", np.array([0, 1, -1]), "01_0014.npy' holds -1; expected a label, 0 or 1"),
        ("test_frame_mask", np.zeros(4), r"shape \(4,\); expected a label, 0 or 1, for each of the 3 frames"),
        ("test_frame_mask", np.array([0, 1, 2]), "expected a label, 0 or 1"),
        ("test_pixel_mask", np.zeros((2, 2, 3)), r"shape \(2, 2, 3\); expected \(3, height, width\)"),
        ("test_pixel_mask", np.zeros(3), r"shape \(3,\); expected \(3, height, width\)"),
    ],
)
def test_labels_and_masks_that_do_not_fit_the_frames(shanghaitech, folder, array, message):
    write_array(shanghaitech / "testing" / folder / "01_0014.npy", array)
    with pytest.raises(ValueError, match=message):
        load_shanghaitech(shanghaitech)


@pytest.mark.parametrize("content", ["", "not an array"])
def test_labels_that_cannot_be_read(shanghaitech, content):
    write_text(shanghaitech / "testing" / "test_frame_mask" / "01_0014.npy", content)
    with pytest.raises(ValueError, match=r"test_frame_mask.*01_0014.npy' cannot be read as an array"):
        load_shanghaitech(shanghaitech)


def test_labels_in_a_file_of_several_arrays(shanghaitech):
    path = shanghaitech / "testing" / "test_frame_mask" / "01_0014.npy"
    with open(path, "wb") as file:
        np.savez(file, [0, 1])
    with pytest.raises(ValueError, match=r"01_0014.npy' holds several arrays"):
        load_shanghaitech(shanghaitech)


def test_frames_without_numbers(shanghaitech):
    write_image(shanghaitech / "testing" / "frames" / "01_0014" / "cover.jpg")
    with pytest.raises(ValueError, match=r"'cover.jpg' in '.*01_0014' is not a frame's number"):
        load_shanghaitech(shanghaitech)


# The user's own folder


def test_folder_holds_what_was_drawn(tmp_path):
    drawn = make_inspection_images(3, 2, 5, image_size=32, folder=tmp_path)
    photos = load_inspection_folder(tmp_path)
    assert_contract(photos)
    np.testing.assert_array_equal(photos.X_train, drawn.X_train)
    order = np.argsort(drawn.X_test)
    for name in ("X_test", "y_test", "masks_test", "defects_test"):
        np.testing.assert_array_equal(photos[name], drawn[name][order])
    assert str(tmp_path) in photos.DESCR


@pytest.mark.parametrize("suffix", ["", "_mask"])
def test_masks_may_have_another_format_and_their_photo_s_name(tmp_path, suffix):
    write_image(tmp_path / "train" / "good" / "a.jpeg")
    write_image(tmp_path / "test" / "dent" / "b.TIF")
    write_image(tmp_path / "ground_truth" / "dent" / f"b{suffix}.bmp")
    photos = load_inspection_folder(tmp_path)
    assert names(photos.masks_test, tmp_path) == [f"ground_truth/dent/b{suffix}.bmp"]


@pytest.mark.parametrize("twin", ["test/dent/b.bmp", "ground_truth/dent/b_mask.bmp"])
def test_mask_that_could_be_another_s(tmp_path, twin):
    for name in ("train/good/a.png", "test/dent/b.png", "ground_truth/dent/b_mask.png", twin):
        write_image(tmp_path / name)
    name = Path(twin).stem
    with pytest.raises(ValueError, match=f"'{name}.bmp' and '{name}.png' in .* have one name.*rename"):
        load_inspection_folder(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ["test/dent/0.png", "test/dent/0_mask.png", "ground_truth/dent/0_mask.png"],
        ["test/dent/0.png", "ground_truth/dent/0.png", "ground_truth/dent/0_mask.png"],
    ],
    ids=["two photos", "two masks"],
)
def test_masks_that_fit_in_two_ways(tmp_path, names):
    for name in ("train/good/a.png", *names):
        write_image(tmp_path / name)
    with pytest.raises(
        ValueError, match=r"'0_mask.png'.* may belong to '0.png', and to no or another.*rename"
    ):
        load_inspection_folder(tmp_path)


@pytest.mark.parametrize("load", [load_mvtec_ad, load_btad], ids=["mvtec_ad", "btad"])
def test_data_set_without_good_photos_to_test_on(load, tmp_path):
    category, good = ("bottle", "good") if load is load_mvtec_ad else ("01", "ok")
    for name in (f"train/{good}/0.png", "test/ko/1.png", "ground_truth/ko/1.png"):
        write_image(tmp_path / category / name)
    with pytest.raises(ValueError, match=f"no folder '.*{good}'.*good photos to test on"):
        load(tmp_path, category)


def test_good_in_capitals_is_no_defect(tmp_path):
    for name in ("train/good/a.png", "test/Good/b.png", "test/dent/c.png"):
        write_image(tmp_path / name)
    with pytest.raises(ValueError, match=r"Good' would be a defect .*rename it to 'good'"):
        load_inspection_folder(tmp_path)


def test_folder_of_good_photos_alone(tmp_path):
    write_image(tmp_path / "train" / "good" / "a.png")
    photos = load_inspection_folder(tmp_path)
    assert_contract(photos)
    assert len(photos.X_train) == 1
    assert len(photos.X_test) == 0


def test_folder_without_masks_is_of_no_use_to_pixel_metrics(tmp_path):
    for name in ("train/good/a.png", "test/good/b.png", "test/dent/c.png"):
        write_image(tmp_path / name)
    photos = load_inspection_folder(tmp_path)
    assert_contract(photos)
    assert photos.y_test.tolist() == [-1, 1]
    assert photos.masks_test.tolist() == [None, None]
    with pytest.raises(ValueError, match="anomalous"):
        pixel_roc_auc_score(photos.masks_test, np.zeros((2, *MARKED.shape)))


@pytest.mark.parametrize(
    "lacking", ["ground_truth/dent/c_mask.png", "ground_truth/dent", "ground_truth/hole"]
)
def test_folder_where_some_have_masks_and_some_not(tmp_path, lacking):
    for kind in ("dent", "hole"):
        for name in ("b", "c"):
            write_image(tmp_path / "test" / kind / f"{name}.png")
            write_image(tmp_path / "ground_truth" / kind / f"{name}_mask.png")
    write_image(tmp_path / "train" / "good" / "a.png")
    path = tmp_path / lacking
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ValueError, match=r"no mask, the first 'c.png'|no folder .*: expected the masks of"):
        load_inspection_folder(tmp_path)


def test_folder_with_photos_elsewhere(tmp_path):
    for number in range(12):
        write_image(tmp_path / "photos" / f"{number:03d}.png")
    with pytest.raises(ValueError, match=r"no folder '.*train/good': .*; found: '.*' holds 'photos/'\."):
        load_inspection_folder(tmp_path)
    with pytest.raises(ValueError, match=r"found: '.*' holds '000.png', .*'007.png', 4 more\."):
        load_inspection_folder(tmp_path / "photos")


def test_magnetic_tiles(shared_data):
    photos = load_inspection_folder(shared_data / "magnetic_tile")
    assert_contract(photos)
    assert len(photos.X_train) == 240
    kinds, counts = np.unique(photos.defects_test, return_counts=True)
    assert dict(zip(kinds.tolist(), counts.tolist(), strict=True)) == {
        "blowhole": 20,
        "break": 20,
        "crack": 20,
        "fray": 16,
        "good": 80,
        "uneven": 20,
    }
    unmarked = []
    for path, mask in zip(photos.X_test, photos.masks_test, strict=True):
        marked = read_mask(mask)
        if marked is not None:
            assert Path(mask).stem == f"{Path(path).stem}_mask"
            with Image.open(path) as photo:
                assert marked.shape == photo.size[::-1]
            if not marked.any():
                unmarked.append(Path(path).stem)
    assert unmarked == ["exp3_num_45042", "exp4_num_45057"]


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

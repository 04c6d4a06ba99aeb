"""VisA and Real-IAD, on true layouts written here, and on lists that are wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from skpadim.datasets import load_real_iad, load_visa, read_mask
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


# Real-IAD


def real_iad_row(defect, sample, view, kind):
    folder = f"OK/S{sample:04d}" if kind == "OK" else f"NG/AK/S{sample:04d}"
    photo = f"{folder}/toy_{sample:04d}_{kind}_{view}_2023101812.jpg"
    mask = None if defect == "OK" else photo.replace(".jpg", ".png")
    return {"category": "toy", "anomaly_class": defect, "image_path": photo, "mask_path": mask}


@pytest.fixture
def real_iad(tmp_path):
    root = tmp_path / "Real-IAD"
    rows = {
        "train": [real_iad_row("OK", 1, view, "OK") for view in ("C1", "C2")],
        "test": [
            real_iad_row("OK", 2, "C1", "OK"),
            real_iad_row("AK", 3, "C1", "NG"),
            real_iad_row("OK", 3, "C2", "NG"),  # a defect that this view does not show
        ],
    }
    for row in (*rows["train"], *rows["test"]):
        for name in (row["image_path"], row["mask_path"]):
            if name:
                write_image(root / "realiad_1024" / "toy" / name)
    write_json(
        root / "realiad_jsons" / "toy.json", {"meta": {"normal_class": "OK", "prefix": "toy/"}, **rows}
    )
    return root


def edit_lists(root, edit):
    path = root / "realiad_jsons" / "toy.json"
    lists = json.loads(path.read_text())
    write_json(path, edit(lists) or lists)


@pytest.mark.parametrize("nested", [False, True])
def test_real_iad(real_iad, nested):
    if nested:
        jsons = real_iad / "realiad_jsons"
        (jsons / "realiad_jsons").mkdir()
        (jsons / "toy.json").rename(jsons / "realiad_jsons" / "toy.json")
    photos = load_real_iad(real_iad, "toy")
    assert_contract(photos)
    assert names(photos.X_train, real_iad / "realiad_1024" / "toy") == [
        "OK/S0001/toy_0001_OK_C1_2023101812.jpg",
        "OK/S0001/toy_0001_OK_C2_2023101812.jpg",
    ]
    assert photos.defects_test.tolist() == ["AK", "good", "good"]
    assert names(photos.masks_test, real_iad / "realiad_1024" / "toy") == [
        "NG/AK/S0003/toy_0003_NG_C1_2023101812.png",
        None,
        None,
    ]
    assert_pixels_can_be_scored(photos)


def test_one_view_of_real_iad(real_iad):
    photos = load_real_iad(real_iad, "toy", view="C2")
    assert len(photos.X_train) == 1
    assert photos.y_test.tolist() == [1]
    with pytest.raises(ValueError, match=r"list 'train' in .*toy.json' has no photo of view C3"):
        load_real_iad(real_iad, "toy", view="C3")


def test_lists_of_real_iad_without_meta(real_iad):
    edit_lists(real_iad, lambda lists: lists.pop("meta") and None)
    assert len(load_real_iad(real_iad, "toy").X_train) == 2


def test_another_resolution_of_real_iad(real_iad):
    with pytest.raises(
        ValueError, match=r"category='toy' is not there. Real-IAD has audiojack, .*; found: .*realiad_1024/"
    ):
        load_real_iad(real_iad, "toy", resolution="512")
    with pytest.raises(ValueError, match="'resolution' parameter"):
        load_real_iad(real_iad, "toy", resolution="1080")


def test_lists_of_real_iad_that_are_missing(real_iad):
    (real_iad / "realiad_jsons" / "toy.json").unlink()
    with pytest.raises(
        ValueError, match=r"no file '.*toy.json': expected the lists 'train' and 'test' of photos"
    ):
        load_real_iad(real_iad, "toy")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda lists: [1], r"no list 'train'; expected the lists .*; found: list"),
        (lambda lists: {"meta": {}, "train": []}, "list 'train' in .* has no photo"),
        (lambda lists: {"train": lists["train"]}, r"no list 'test'; .*; found: \['train'\]"),
        (lambda lists: lists["test"][1].update(mask_path=None), "lists {.*'mask_path': None}; expected"),
        (lambda lists: lists["test"][0].pop("image_path") and None, "lists {.*}; expected .*'image_path'"),
        (lambda lists: lists["test"].append("a.jpg"), "lists 'a.jpg'; expected"),
        (
            lambda lists: lists["train"].append(lists["test"][1]),
            r"1 photo\(s\) of defects to train on, .*S0003",
        ),
        (lambda lists: lists["test"][1].update(mask_path="x.png"), r"1 file\(s\) that .* not there, .*x.png"),
    ],
)
def test_lists_of_real_iad_that_are_wrong(real_iad, edit, message):
    edit_lists(real_iad, edit)
    with pytest.raises(ValueError, match=message):
        load_real_iad(real_iad, "toy")

"""KolektorSDD, KolektorSDD2 and DAGM 2007, on true layouts written here, and on masks that do not fit."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from skpadim.datasets import load_dagm, load_kolektor_sdd, load_kolektor_sdd2
from trees import MARKED, assert_contract, assert_pixels_can_be_scored, names, write_image, write_text

BLACK = np.zeros_like(MARKED)


# KolektorSDD


@pytest.fixture
def kolektor_sdd(tmp_path):
    root = tmp_path / "KolektorSDD"
    for item in range(1, 6):
        for part in range(2):
            write_image(root / f"kos{item:02d}" / f"Part{part}.jpg")
            defective = part == 1 and item != 3
            write_image(root / f"kos{item:02d}" / f"Part{part}_label.bmp", MARKED if defective else BLACK)
    return root


@pytest.mark.parametrize(("fold", "items"), [(0, [1, 4]), (1, [2, 5]), (2, [3])])
def test_kolektor_sdd(kolektor_sdd, fold, items):
    photos = load_kolektor_sdd(kolektor_sdd, fold=fold)
    assert_contract(photos)
    tested = [(item, part) for item in items for part in range(2)]
    assert names(photos.X_test, kolektor_sdd) == [f"kos{item:02d}/Part{part}.jpg" for item, part in tested]
    bad = [part == 1 and item != 3 for item, part in tested]
    assert (photos.y_test == -1).tolist() == bad
    assert names(photos.masks_test, kolektor_sdd) == [
        f"kos{item:02d}/Part{part}_label.bmp" if defective else None
        for (item, part), defective in zip(tested, bad, strict=True)
    ]
    good = [(item, 0) for item in range(1, 6)] + [(3, 1)]
    assert names(photos.X_train, kolektor_sdd) == [
        f"kos{item:02d}/Part{part}.jpg" for item, part in sorted(good) if item not in items
    ]
    assert f"Left out: {sum(item not in (3, *items) for item in range(1, 6))} defective" in photos.DESCR
    if any(bad):
        assert_pixels_can_be_scored(photos)


def test_kolektor_sdd_that_is_wrong(kolektor_sdd):
    (kolektor_sdd / "kos02" / "Part1_label.bmp").unlink()
    with pytest.raises(
        ValueError, match=r"'Part1.jpg' in '.*kos02' has no mask: expected 'Part1_label' beside it"
    ):
        load_kolektor_sdd(kolektor_sdd)
    (kolektor_sdd / "kos02" / "Part1.jpg").rename(kolektor_sdd / "kos02" / "Part1_label.bmp")
    with pytest.raises(ValueError, match=r"1 mask.* in '.*kos02' have no photo, the first 'Part1_label.bmp'"):
        load_kolektor_sdd(kolektor_sdd)
    with pytest.raises(ValueError, match="a folder of photos for each commutator, 'kos01'"):
        load_kolektor_sdd(kolektor_sdd / "kos01")
    with pytest.raises(ValueError, match="'fold' parameter"):
        load_kolektor_sdd(kolektor_sdd, fold=3)


def test_kolektor_sdd_of_one_commutator(kolektor_sdd):
    for item in range(2, 6):
        shutil.rmtree(kolektor_sdd / f"kos{item:02d}")
    with pytest.raises(
        ValueError, match=r"0 good photo\(s\) to train on and 2 to test on; expected some of both"
    ):
        load_kolektor_sdd(kolektor_sdd)


# KolektorSDD2


@pytest.fixture
def kolektor_sdd2(tmp_path):
    root = tmp_path / "KolektorSDD2"
    for name, mask in [
        ("train/10000", BLACK),
        ("train/10301", MARKED),
        ("test/20000", MARKED),
        ("test/20001", BLACK),
    ]:
        write_image(root / f"{name}.png")
        write_image(root / f"{name}_GT.png", mask)
    write_image(root / "train" / "10301 (copy).png")
    write_image(root / "train" / "10301_GT (copy).png", MARKED)
    return root


def test_kolektor_sdd2(kolektor_sdd2):
    photos = load_kolektor_sdd2(kolektor_sdd2)
    assert_contract(photos)
    assert names(photos.X_train, kolektor_sdd2) == ["train/10000.png"]
    assert names(photos.X_test, kolektor_sdd2) == ["test/20000.png", "test/20001.png"]
    assert names(photos.masks_test, kolektor_sdd2) == ["test/20000_GT.png", None]
    assert photos.defects_test.tolist() == ["defect", "good"]
    assert "Left out: 1 defective" in photos.DESCR
    assert_pixels_can_be_scored(photos)


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("train/10301_GT.png", "'10301.png' in '.*train' has no mask: expected '10301_GT' beside it"),
        ("test/20001.png", r"1 mask.* in '.*test' have no photo, the first '20001_GT.png'"),
        ("test", "no folder '.*test': expected photos and masks, '<name>_GT' to '<name>'"),
    ],
)
def test_part_of_kolektor_sdd2_that_is_missing(kolektor_sdd2, lacking, message):
    path = kolektor_sdd2 / lacking
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ValueError, match=message):
        load_kolektor_sdd2(kolektor_sdd2)


# DAGM 2007


@pytest.fixture
def dagm(tmp_path):
    root = tmp_path / "DAGM"
    for part in ("Train", "Test"):
        for number in range(3):
            write_image(root / "Class1" / part / f"057{number}.PNG")
        write_image(root / "Class1" / part / "Label" / "0571_label.PNG")
        lines = [
            "1",
            "570\t0\t0570.PNG\t0\t0",
            "571\t1\t0571.PNG\t0\t0571_label.PNG",
            "572\t0\t0572.PNG\t0\t0",
        ]
        write_text(root / "Class1" / part / "Label" / "Labels.txt", "\n".join(lines))
    return root


@pytest.mark.parametrize("listed", [True, False])
def test_dagm(dagm, listed):
    if not listed:
        (dagm / "Class1" / "Train" / "Label" / "Labels.txt").unlink()
    photos = load_dagm(dagm, "Class1")
    assert_contract(photos)
    assert names(photos.X_train, dagm) == ["Class1/Train/0570.PNG", "Class1/Train/0572.PNG"]
    assert names(photos.masks_test, dagm) == [None, "Class1/Test/Label/0571_label.PNG", None]
    assert photos.y_test.tolist() == [1, -1, 1]
    assert "Left out: 1 defective" in photos.DESCR
    assert_pixels_can_be_scored(photos)


def test_dagm_that_is_wrong(dagm):
    with pytest.raises(
        ValueError, match=r"category='1' is not there. DAGM 2007 has Class1, Class2, .*Class10"
    ):
        load_dagm(dagm, "1")
    labels = dagm / "Class1" / "Train" / "Label"
    (labels / "0571_label.PNG").rename(labels / "0572_label.PNG")
    with pytest.raises(
        ValueError, match=r"1 photo\(s\) that .*Labels.txt' calls defective have no mask, .*'0571.PNG'"
    ):
        load_dagm(dagm, "Class1")
    (labels / "0572_label.PNG").rename(labels / "0999_label.PNG")
    with pytest.raises(ValueError, match=r"1 mask.* in '.*Label' have no photo, the first '0999_label.PNG'"):
        load_dagm(dagm, "Class1")
    (labels / "0999_label.PNG").unlink()
    with pytest.raises(
        ValueError, match=r"no image in '.*Label': expected a mask '<number>_label.PNG' for each"
    ):
        load_dagm(dagm, "Class1")
    shutil.rmtree(dagm / "Class1" / "Test")
    write_image(labels / "0571_label.PNG")
    with pytest.raises(ValueError, match=r"no folder '.*Test': expected photos '<number>.PNG'"):
        load_dagm(dagm, "Class1")

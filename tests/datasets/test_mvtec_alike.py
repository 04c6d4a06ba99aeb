"""MPDD and BTAD, on true layouts written here and on what is wrong with them."""

from __future__ import annotations

import shutil

import pytest

from skpadim.datasets import (
    load_btad,
    load_mpdd,
    load_mvtec_ad,
    make_inspection_images,
)
from trees import (
    assert_contract,
    assert_pixels_can_be_scored,
    names,
    write_image,
)

# MPDD


def test_mpdd(tmp_path):
    for category in ("bracket_black", "bracket_brown", "bracket_white", "connector", "metal_plate", "tubes"):
        drawn = make_inspection_images(1, 1, 2, image_size=32, folder=tmp_path / category)
        photos = load_mpdd(tmp_path, category)
        assert_contract(photos)
        assert photos.X_train.tolist() == drawn.X_train.tolist()
        assert sorted(photos.X_test) == sorted(drawn.X_test)
        assert sorted(map(str, photos.masks_test)) == sorted(map(str, drawn.masks_test))
    shutil.rmtree(tmp_path / "tubes" / "ground_truth")
    with pytest.raises(ValueError, match="expected the masks of"):
        load_mpdd(tmp_path, "tubes")
    with pytest.raises(
        ValueError, match=r"category='screw' is not there. MPDD has bracket_black, .*tubes; found"
    ):
        load_mpdd(tmp_path, "screw")


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


@pytest.mark.parametrize("load", [load_mvtec_ad, load_btad], ids=["mvtec_ad", "btad"])
def test_data_set_without_good_photos_to_test_on(load, tmp_path):
    category, good = ("bottle", "good") if load is load_mvtec_ad else ("01", "ok")
    for name in (f"train/{good}/0.png", "test/ko/1.png", "ground_truth/ko/1.png"):
        write_image(tmp_path / category / name)
    with pytest.raises(ValueError, match=f"no folder '.*{good}'.*good photos to test on"):
        load(tmp_path, category)

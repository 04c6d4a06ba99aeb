"""The folders of MVTec AD: which mask belongs to which photo, and masks that may belong to two."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from skpadim.datasets import UnionMask, load_inspection_folder, read_mask
from skpadim.datasets.folders import read_folders
from trees import names, write_image


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


def test_folder_of_masks_for_each_photo(tmp_path):
    write_image(tmp_path / "ground_truth" / "dent" / "b" / "0.png", [[0, 0, 0], [0, 1, 0]])
    write_image(tmp_path / "ground_truth" / "dent" / "b" / "1.png", [[2, 0, 0], [0, 0, 0]])
    for name in ("train/good/a.png", "test/dent/b.png"):
        write_image(tmp_path / name)
    (mask,) = load_inspection_folder(tmp_path).masks_test
    assert isinstance(mask, UnionMask)
    assert read_mask(mask).tolist() == [[True, False, False], [False, True, False]]


def test_photos_and_their_masks_in_the_order_of_their_names(tmp_path):
    tree = ["test/good/c.png", "test/dent/b.png", "test/dent/a.png", "train/good/e.png", "train/good/d.png"]
    masks = ["ground_truth/dent/b_mask.png", "ground_truth/dent/a.png"]
    for name in (*tree, *masks):
        write_image(tmp_path / name)
    photos = read_folders(tmp_path)
    assert names(photos.train, tmp_path) == ["train/good/d.png", "train/good/e.png"]
    assert names([photo.path for photo in photos.test], tmp_path) == sorted(tree[:3])
    assert [photo.defect for photo in photos.test] == ["dent", "dent", "good"]
    assert names([photo.mask for photo in photos.test], tmp_path) == [masks[1], masks[0], None]

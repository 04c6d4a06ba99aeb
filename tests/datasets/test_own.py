"""One's own folder: names that people give its folders, and photos that would be passed over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skpadim.datasets import load_inspection_folder, make_inspection_images, read_mask
from skpadim.metrics import pixel_roc_auc_score
from trees import MARKED, assert_contract, names, write_image, write_text

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


# Folders by other names


def write_tree(root, *names):
    for name in names:
        write_image(root / name)


@pytest.mark.parametrize(
    ("train", "good", "test", "masks"),
    [
        ("Train", "Good", "Test", "Ground_Truth"),
        ("training", "OK", "tests", "groundtruth"),
        ("TRAIN", "normal", "test_public", "ground-truth"),
        ("train", "ok", "testing", "masks"),
        ("train", "good", "validation", "mask"),
        ("train", "good", "valid", "GT"),
        ("train", "good", "val", "Ground Truth"),
    ],
)
def test_other_names(tmp_path, train, good, test, masks):
    write_tree(
        tmp_path, f"{train}/{good}/a.png", f"{test}/{good}/b.png", f"{test}/NG/c.png", f"{masks}/NG/c.png"
    )
    photos = load_inspection_folder(tmp_path)
    assert_contract(photos)
    assert names(photos.X_train, tmp_path) == [f"{train}/{good}/a.png"]
    assert sorted(zip(photos.defects_test.tolist(), photos.y_test.tolist(), strict=True)) == [
        ("NG", -1),
        ("good", 1),
    ]
    masks_test = dict(zip(photos.defects_test.tolist(), names(photos.masks_test, tmp_path), strict=True))
    assert masks_test == {"NG": f"{masks}/NG/c.png", "good": None}
    assert f"Folders: {train}/{good}, " in photos.DESCR


def test_good_photos_by_two_names_are_both_good(tmp_path):
    write_tree(tmp_path, "train/good/a.png", "test/Good/b.png", "test/OK/c.png", "test/dent/d.png")
    photos = load_inspection_folder(tmp_path)
    assert dict(zip(names(photos.X_test, tmp_path), photos.y_test.tolist(), strict=True)) == {
        "test/Good/b.png": 1,
        "test/OK/c.png": 1,
        "test/dent/d.png": -1,
    }


def test_masks_within_the_folder_to_test_on(tmp_path):
    names_ = ["test_public/good/b.png", "test_public/bad/c.png", "test_public/ground_truth/bad/c_mask.png"]
    write_tree(tmp_path, "train/good/a.png", *names_)
    photos = load_inspection_folder(tmp_path)
    assert photos.defects_test.tolist() == ["bad", "good"]
    assert names(photos.masks_test, tmp_path) == ["test_public/ground_truth/bad/c_mask.png", None]


@pytest.mark.parametrize("beside", ["test/masks/d.png", "test/good/b.png"])
def test_masks_of_no_defect(tmp_path, beside):
    write_tree(tmp_path, "train/good/a.png", "test/masks/c.png", beside)
    with pytest.raises(
        ValueError, match=r"expected in '.*test': a folder 'good' and one .*; found: .*'masks/'"
    ):
        load_inspection_folder(tmp_path)


def test_masks_of_all_defects_in_one_folder(tmp_path):
    write_tree(
        tmp_path, "train/good/a.png", "test/dent/b.png", "test/hole/c.png", "masks/b.png", "masks/c.png"
    )
    photos = load_inspection_folder(tmp_path)
    assert names(photos.masks_test, tmp_path) == ["masks/b.png", "masks/c.png"]


def test_masks_of_all_defects_in_one_folder_where_two_photos_have_one_name(tmp_path):
    write_tree(tmp_path, "train/good/a.png", "test/dent/b.png", "test/hole/b.png", "masks/b.png")
    with pytest.raises(ValueError, match=r"'b.png' and '.*hole/b.png' in 'two folders' have one name"):
        load_inspection_folder(tmp_path)


def test_masks_whose_folder_is_in_capitals(tmp_path):
    write_tree(tmp_path, "train/good/a.png", "test/Dent/b.png", "ground_truth/dent/b.png")
    assert names(load_inspection_folder(tmp_path).masks_test, tmp_path) == ["ground_truth/dent/b.png"]


# Photos that are passed over


@pytest.mark.parametrize(
    "unused",
    [
        "train/scratch",
        "test_private",
        "validation/good",
        "train/good/batch_2",
        "photos",
        "train",
        "train/OK",
        "masks",
    ],
)
def test_folders_that_are_not_used_are_named(tmp_path, unused):
    used = ["train/good/a.png", "test/good/b.png", "test/dent/c.png", "ground_truth/dent/c.png"]
    write_tree(tmp_path, *used, f"{unused}/x.png")
    with pytest.warns(
        UserWarning, match=rf"1 folder\(s\) with photos in .* are not used: '{unused}'\."
    ) as warned:
        photos = load_inspection_folder(tmp_path)
    assert warned[0].filename == __file__
    assert names(photos.X_train, tmp_path) == ["train/good/a.png"]
    assert names(photos.X_test, tmp_path) == ["test/dent/c.png", "test/good/b.png"]


def test_defects_to_train_on_are_neither_trained_nor_tested_on(tmp_path):
    write_tree(tmp_path, "train/good/a.png", "train/scratch/b.png", "train/NG/c.png")
    with pytest.warns(
        UserWarning, match=r"'train/NG', 'train/scratch'\. Used are 'train/good'\. .* moved to 'test'"
    ):
        photos = load_inspection_folder(tmp_path)
    assert names(photos.X_train, tmp_path) == ["train/good/a.png"]
    assert len(photos.X_test) == 0


def test_photos_beside_the_folders_are_named(tmp_path):
    write_tree(tmp_path, "train/good/a.png", "stray.png")
    with pytest.warns(UserWarning, match=r"1 folder.* are not used: '\.'\."):
        load_inspection_folder(tmp_path)


def test_hidden_folders_and_files_that_are_no_photos_are_not_named(tmp_path):
    write_tree(tmp_path, "train/good/a.png", ".git/x.png", "train/good/.thumbs/a.png")
    write_text(tmp_path / "notes" / "readme.txt")
    write_image(tmp_path / "train" / ".hidden.png")
    assert len(load_inspection_folder(tmp_path).X_train) == 1


@pytest.mark.parametrize("names_", [["OK/a.png", "NG/b.png"], ["train/a.png"], ["train/scratch/a.png"]])
def test_nothing_that_is_surely_good(tmp_path, names_):
    write_tree(tmp_path, *names_)
    with pytest.raises(
        ValueError, match=r"no folder '.*train/good': expected good photos .*'ok' or 'normal'; found"
    ):
        load_inspection_folder(tmp_path)

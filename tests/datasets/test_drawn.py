"""The drawn photos: reproducible, no two alike, and safe to write."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skpadim.datasets import make_inspection_images

DEFECTS = ["missing_hole", "scratch", "stain", "burr"]
SMALL = {"n_train": 3, "n_good": 2, "n_defective": 5, "image_size": 48}


def files_under(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def assert_same_photos(a, b):
    for name in ("X_train", "X_test", "y_test", "masks_test", "defects_test"):
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


# In memory


def test_what_comes_back():
    photos = make_inspection_images(3, 2, 9, image_size=50)
    assert photos.X_train.shape == (3, 50, 50, 3)
    assert photos.X_test.shape == (11, 50, 50, 3)
    assert photos.masks_test.shape == (11, 50, 50)
    assert photos.X_train.dtype == photos.X_test.dtype == np.uint8
    assert photos.masks_test.dtype == bool
    assert photos.y_test.tolist() == [1] * 2 + [-1] * 9
    assert photos.defects_test.tolist() == ["good"] * 2 + DEFECTS + DEFECTS + DEFECTS[:1]
    assert not photos.masks_test[:2].any()
    assert photos.masks_test[2:].any(axis=(1, 2)).all()
    assert "3 good to train on" in photos.DESCR


def test_none_of_a_set():
    photos = make_inspection_images(0, 0, 0, image_size=32)
    assert photos.X_train.shape == photos.X_test.shape == (0, 32, 32, 3)
    assert photos.y_test.shape == photos.defects_test.shape == (0,)


def test_defaults_are_balanced():
    counts = Counter(make_inspection_images(n_train=0, image_size=32).defects_test.tolist())
    assert counts == {"good": 30} | dict.fromkeys(DEFECTS, 15)


def test_same_seed_same_photos():
    assert_same_photos(make_inspection_images(**SMALL), make_inspection_images(**SMALL))
    other = make_inspection_images(**SMALL, random_state=1)
    assert (make_inspection_images(**SMALL).X_train != other.X_train).any()


def test_random_state_instance_is_advanced():
    first, second = np.random.RandomState(7), np.random.RandomState(7)
    once = make_inspection_images(**SMALL, random_state=first)
    assert_same_photos(once, make_inspection_images(**SMALL, random_state=second))
    again = make_inspection_images(**SMALL, random_state=first)
    assert (once.X_train != again.X_train).any()


def test_none_draws_anew_whatever_the_global_state():
    before = np.random.get_state()
    once = make_inspection_images(**SMALL, random_state=None)
    np.random.set_state(before)
    again = make_inspection_images(**SMALL, random_state=None)
    assert (once.X_train != again.X_train).any()


def test_photos_do_not_depend_on_those_that_follow():
    few = make_inspection_images(2, 3, 5, image_size=48)
    many = make_inspection_images(6, 3, 11, image_size=48)
    np.testing.assert_array_equal(many.X_train[:2], few.X_train)
    np.testing.assert_array_equal(many.X_test[:8], few.X_test)
    np.testing.assert_array_equal(many.masks_test[:8], few.masks_test)
    more_good = make_inspection_images(0, 7, 5, image_size=48)
    np.testing.assert_array_equal(more_good.X_test[7:], few.X_test[3:])


def test_no_two_photos_are_alike():
    photos = make_inspection_images(8, 8, 8, image_size=48)
    drawn = np.concatenate([photos.X_train, photos.X_test])
    assert len({photo.tobytes() for photo in drawn}) == 24


# On disk


def test_folder_holds_the_photos_in_the_layout_of_mvtec_ad(tmp_path):
    make_inspection_images(2, 1, 5, image_size=32, folder=tmp_path)
    assert files_under(tmp_path) == [
        "ground_truth/burr/000_mask.png",
        "ground_truth/missing_hole/000_mask.png",
        "ground_truth/missing_hole/001_mask.png",
        "ground_truth/scratch/000_mask.png",
        "ground_truth/stain/000_mask.png",
        "test/burr/000.png",
        "test/good/000.png",
        "test/missing_hole/000.png",
        "test/missing_hole/001.png",
        "test/scratch/000.png",
        "test/stain/000.png",
        "train/good/000.png",
        "train/good/001.png",
    ]


@pytest.mark.parametrize("kind_of_path", [str, Path])
def test_files_hold_what_memory_would(tmp_path, kind_of_path):
    drawn = make_inspection_images(**SMALL)
    written = make_inspection_images(**SMALL, folder=kind_of_path(tmp_path / "new" / "folder"))
    for name in ("X_train", "X_test"):
        assert written[name].dtype.kind == "U"
        read = [np.asarray(Image.open(path)) for path in written[name]]
        np.testing.assert_array_equal(read, drawn[name])
    for path, mask in zip(written.masks_test, drawn.masks_test, strict=True):
        if path is None:
            assert not mask.any()
        else:
            np.testing.assert_array_equal(np.asarray(Image.open(path)), mask * np.uint8(255))
    np.testing.assert_array_equal(written.y_test, drawn.y_test)
    np.testing.assert_array_equal(written.defects_test, drawn.defects_test)


def test_test_paths_name_their_defect(tmp_path):
    photos = make_inspection_images(**SMALL, folder=tmp_path)
    assert [Path(path).parent.name for path in photos.X_test] == photos.defects_test.tolist()
    for photo, mask, label in zip(photos.X_test, photos.masks_test, photos.y_test, strict=True):
        assert (mask is None) == (label == 1)
        if mask is not None:
            assert Path(mask).parent.name == Path(photo).parent.name
            assert Path(mask).stem == f"{Path(photo).stem}_mask"


def test_writing_holds_one_photo_at_a_time(tmp_path):
    def peak(n_train):
        tracemalloc.start()
        make_inspection_images(n_train, 0, 0, image_size=128, folder=tmp_path / str(n_train))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1)
    one_photo = 128 * 128 * 3
    assert peak(44) - peak(4) < 4 * one_photo


def test_second_call_overwrites_its_own_files(tmp_path):
    make_inspection_images(**SMALL, folder=tmp_path)
    files = files_under(tmp_path)
    written = make_inspection_images(**SMALL, folder=tmp_path, random_state=1)
    assert files_under(tmp_path) == files
    read = [np.asarray(Image.open(path)) for path in written.X_train]
    np.testing.assert_array_equal(read, make_inspection_images(**SMALL, random_state=1).X_train)


def test_what_lies_beside_the_photos_is_left_alone(tmp_path):
    (tmp_path / "report.txt").write_text("mine")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / ".hidden").write_text("the file browser's")
    make_inspection_images(**SMALL, folder=tmp_path)
    assert (tmp_path / "report.txt").read_text() == "mine"
    assert (tmp_path / "train" / ".hidden").exists()


@pytest.mark.parametrize("fewer", ["n_train", "n_good", "n_defective"])
def test_leftovers_of_a_larger_set_are_refused(tmp_path, fewer):
    make_inspection_images(**SMALL, folder=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    smaller = SMALL | {fewer: SMALL[fewer] - 1}
    with pytest.raises(ValueError, match=r"folder=.*left by a call that drew more"):
        make_inspection_images(**smaller, folder=tmp_path, random_state=1)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before


@pytest.mark.parametrize("name", ["train/good/000.png", "test/dent/000.png", "train/notes.txt"])
def test_files_of_others_are_never_overwritten_or_mixed_in(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    if path.suffix == ".png":
        Image.new("RGB", (8, 8)).save(path)
    else:
        path.write_text("mine")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"1 file.*'{name}'"):
        make_inspection_images(**SMALL, folder=tmp_path)
    assert path.read_bytes() == before
    assert files_under(tmp_path) == [name]


def test_broken_file_of_others_is_refused(tmp_path):
    path = tmp_path / "train" / "good" / "000.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="not drawn by this function"):
        make_inspection_images(**SMALL, folder=tmp_path)


def test_folder_that_is_a_file_is_refused(tmp_path):
    path = tmp_path / "photos"
    path.write_text("mine")
    with pytest.raises(ValueError, match="is a file"):
        make_inspection_images(**SMALL, folder=path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_train", -1),
        ("n_good", 2.0),
        ("n_defective", "all"),
        ("image_size", 31),
        ("image_size", (64, 64)),
        ("folder", 3),
        ("random_state", -1),
        ("random_state", "seed"),
    ],
)
def test_bad_parameters_are_named(name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        make_inspection_images(**SMALL | {name: value})

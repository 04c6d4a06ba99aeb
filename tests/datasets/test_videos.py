"""ShanghaiTech Campus, on its true layout written here, and on labels and masks that do not fit."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from skpadim.datasets import FrameMask, load_shanghaitech, read_mask
from skpadim.metrics import pixel_roc_auc_score
from trees import (
    MARKED,
    assert_contract,
    assert_pixels_can_be_scored,
    names,
    write_array,
    write_image,
    write_text,
)

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
        ("testing/test_frame_mask/01_0014.npy", r"no file '.*test_frame_mask.*': .*; found: .*'06_0144.npy'"),
        ("testing/test_pixel_mask/01_0014.npy", r"no file '.*test_pixel_mask.*': .*; found: .*'06_0144.npy'"),
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

"""skpadim datasets: the layout of a folder, and what is in it."""

from __future__ import annotations

import numpy as np
import pytest

from commands import run
from skpadim.command.layouts import LAYOUTS
from skpadim.datasets import make_inspection_images
from trees import write_image


def counts(text):
    return {" ".join(line.split()[1:]): int(line.split()[0]) for line in text if line.startswith("  ")}


def test_without_a_folder_all_loaders_of_folders_are_listed():
    from skpadim import datasets

    text = run("datasets").stdout
    loaders = [name for name in datasets.__all__ if name.startswith("load_") and not name.endswith("_masks")]
    assert sorted(layout.loader.__name__ for layout in LAYOUTS) == sorted(loaders)
    assert all(f"skpadim.datasets.{loader})" in text for loader in loaders)


def test_ones_own_folder(drawn):
    title, *lines = run("datasets", drawn).stdout.splitlines()
    assert title == f"{drawn}, in the layout of your own photos:"
    assert counts(lines) == {
        "good photos to train on": 24,
        "good photos to test on": 5,
        "burr": 2,
        "missing_hole": 2,
        "scratch": 2,
        "stain": 2,
        "masks of defects": 8,
    }


def test_data_sets_that_have_a_name(tmp_path):
    for category in ("bottle", "screw"):
        make_inspection_images(3, 1, 1, image_size=32, folder=tmp_path / category)
    lines = run("datasets", tmp_path).stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        f"{tmp_path / category}, in the layout of MVTec AD:" for category in ("bottle", "screw")
    ]


def test_folders_of_ones_own_within_a_folder(tmp_path):
    for line in ("line1", "line2"):
        make_inspection_images(3, 1, 1, image_size=32, folder=tmp_path / line)
    lines = run("datasets", tmp_path).stdout.splitlines()
    assert [line.split(",")[0] for line in lines if not line.startswith(" ")] == [
        str(tmp_path / "line1"),
        str(tmp_path / "line2"),
    ]


def test_a_folder_of_nothing_but_photos(tmp_path):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, np.zeros((3, 3)))
    assert run("datasets", tmp_path).stdout.startswith(f"{tmp_path}: 2 photos, right in the folder")


@pytest.mark.parametrize(("name", "words"), [("nowhere", "there is no folder"), ("", "none of the layouts")])
def test_nothing_that_is_known(tmp_path, name, words):
    assert words in run("datasets", tmp_path / name, status=2).stderr

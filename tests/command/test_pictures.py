"""Pictures of maps and masks, one for each photo."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from commands import run


@pytest.fixture
def photos(parts):
    return sorted((parts / "test").rglob("*.png"))


def test_masks_are_those_of_the_library(model, model_path, parts, photos, tmp_path):
    bad = parts / "test" / "good" / "bad.png"
    bad.write_text("no photo")
    run("inspect", model_path, parts / "test", "--masks", tmp_path / "masks", status=2)
    for path, mask in zip(photos, model.detector.segment(list(map(str, photos))), strict=True):
        name = path.relative_to(parts / "test")
        with Image.open(tmp_path / "masks" / name.with_name(f"{name.name}.png")) as picture:
            assert np.array_equal(np.asarray(picture), mask)
    assert len(list((tmp_path / "masks").rglob("*"))) == len(photos) + 5, "five folders, no picture of bad"


def test_maps_are_overlays(model, model_path, photos, tmp_path):
    overlays = pytest.importorskip("skpadim.plotting.overlays")
    run("inspect", model_path, photos[0], "--maps", tmp_path / "maps", status=1)
    with Image.open(photos[0]) as photo:
        pixels = np.asarray(photo.convert("RGB"))
    (found,) = model.detector.inspect([str(photos[0])], maps=True)
    expected = np.asarray(overlays.overlay(pixels, found.map, found.threshold))
    with Image.open(tmp_path / "maps" / f"{photos[0].name}.png") as picture:
        assert np.array_equal(np.asarray(picture), expected)

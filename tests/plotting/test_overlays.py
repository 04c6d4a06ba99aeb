"""Maps over photos without matplotlib: colours, opacity, outlines, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import binary_dilation

from skpadim.plotting import map_colours, overlay, photo_image

THRESHOLD = 2.0


def test_colours_are_those_of_cividis():
    """Within 1 of 255: straight lines between a few of its colours."""
    matplotlib = pytest.importorskip("matplotlib")
    values = np.linspace(0, 2 * THRESHOLD, 256)[None]
    expected = 255 * matplotlib.colormaps["cividis"](np.arange(256))[:, :3]
    assert_allclose(map_colours(values, THRESHOLD)[0, :, :3], np.rint(expected), atol=1)


@pytest.mark.parametrize("threshold", [2.0, 0.0, -3.0])
def test_opacity_grows_with_the_value_and_is_half_at_the_threshold(threshold):
    values = threshold + np.linspace(-5, 5, 1001)[None]
    opacities = map_colours(values, threshold)[0, :, 3]
    assert (np.diff(opacities.astype(int)) >= 0).all()
    assert (opacities[0], opacities[500], opacities[-1]) == (0, 128, 255)


def test_what_was_not_looked_at_is_transparent_and_infinity_is_not():
    seen = map_colours([[np.nan, np.inf, -np.inf, 99.0]], THRESHOLD)[0]
    assert seen[:, 3].tolist() == [0, 255, 0, 255]
    assert_array_equal(seen[1], seen[3])


def test_overlay_blends_by_the_plain_formula():
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    anomaly_map = rng.uniform(0, THRESHOLD, (20, 30))
    anomaly_map[0, 0] = np.nan
    colours = map_colours(anomaly_map, THRESHOLD).astype(float)
    weight = 0.7 * colours[..., 3:] / 255
    expected = (1 - weight) * photo + weight * colours[..., :3]
    before = photo.copy()
    picture = np.asarray(overlay(photo, anomaly_map, THRESHOLD, alpha=0.7))
    assert_allclose(picture, expected, atol=0.51)
    assert_array_equal(picture[0, 0], photo[0, 0])
    assert_array_equal(photo, before)
    assert_array_equal(overlay(photo, anomaly_map, THRESHOLD, alpha=0), photo)


@pytest.mark.parametrize("side", [60, 900])
def test_outline_is_black_within_white_and_as_thick_as_the_photo_is_large(side):
    width = max(1, side // 300)
    mask = np.zeros((side, side), dtype=bool)
    mask[side // 3 : side // 2, : side // 4] = True
    square = np.ones((3, 3), dtype=bool)
    grey = np.full((side, side, 3), 0.5)
    picture = np.asarray(overlay(grey, np.zeros((side, side)), THRESHOLD, mask=mask))[..., 0]
    white = binary_dilation(mask, square, iterations=width) & ~mask
    black = mask & binary_dilation(~mask, square, iterations=width)
    assert_array_equal(picture == 255, white)
    assert_array_equal(picture == 0, black)
    assert (picture[~white & ~black] == 128).all()
    marked = np.where(mask, np.nextafter(THRESHOLD, 3), THRESHOLD)
    outlined = np.asarray(overlay(grey, marked, THRESHOLD, alpha=0))[..., 0]
    assert_array_equal(outlined, picture)


def test_photos_of_any_kind_become_pictures():
    floats = np.array([[0.0, 0.5], [1.0, 1.7]], dtype=np.float32)
    assert np.asarray(photo_image(floats))[..., 1].tolist() == [[0, 128], [255, 255]]
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    assert_array_equal(photo_image(colours), colours)
    assert photo_image(colours).mode == overlay(colours[..., 0], np.ones((4, 5)), 2.0).mode == "RGB"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photo": np.zeros((4, 5, 4), dtype=np.uint8)}, r"photo has shape \(4, 5, 4\), expected"),
        ({"photo": np.zeros((4, 5), dtype=np.uint16)}, "photo has dtype uint16, expected uint8"),
        ({"anomaly_map": np.zeros((5, 4))}, r"anomaly_map has shape \(5, 4\), its photo \(4, 5\)"),
        ({"anomaly_map": np.zeros((1, 4, 5))}, r"anomaly_map has shape \(1, 4, 5\), expected"),
        ({"threshold": np.nan}, "threshold is nan"),
        ({"mask": np.zeros((4, 4))}, r"mask has shape \(4, 4\), its photo \(4, 5\)"),
        ({"mask": np.full((4, 5), 255)}, "mask holds other values than True and False"),
        ({"alpha": 1.5}, r"alpha is 1.5, expected an opacity in \[0, 1\]"),
    ],
)
def test_what_does_not_match_is_refused(change, message):
    given = {"photo": np.zeros((4, 5)), "anomaly_map": np.zeros((4, 5)), "threshold": 2.0} | change
    with pytest.raises(ValueError, match=message):
        overlay(given.pop("photo"), given.pop("anomaly_map"), given.pop("threshold"), **given)


def test_matplotlib_is_not_needed():
    script = """
import sys
sys.modules["matplotlib"] = None
import numpy as np
from skpadim.plotting import overlay
overlay(np.zeros((4, 5)), np.full((4, 5), 3.0), 2.0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)

"""The flange as it is drawn: how good parts vary, and where a defect is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skpadim.datasets import flange, make_inspection_images

DEFECTS = list(flange.KINDS)[1:]


def with_twin(kind, number, side, seed=0):
    """Draw a defective photo, its mask, and the same photo of the same part without the defect."""
    photo, mask = flange.Shot("test", kind, number).take(seed, side)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(flange.KINDS, kind, flange._good)
        twin, _ = flange.Shot("test", kind, number).take(seed, side)
    return photo.astype(int), mask, twin.astype(int)


# What good parts look like


@pytest.fixture(scope="module")
def good():
    """Forty good photos, and which of their pixels are metal."""
    photos = make_inspection_images(40, 0, 0, image_size=224).X_train
    return photos, photos.mean(axis=3) > 0.25 * 255


def test_metal_covers_the_area_of_the_flange(good):
    _, metal = good
    area = np.pi * (0.41**2 - 0.13**2 - 6 * 0.036**2)
    np.testing.assert_allclose(metal.mean(axis=(1, 2)), area, rtol=0.01)


def test_position_varies_by_a_pixel_or_two(good):
    _, metal = good
    pixels = np.arange(224) - 111.5
    for axis in (1, 2):
        profile = metal.sum(axis=axis)
        centre = profile @ pixels / profile.sum(axis=1)
        assert np.abs(centre).max() < 2.5
        assert 0.4 < centre.std() < 1.2


def test_light_and_texture_vary(good):
    photos, metal = good
    brightness = np.array([photo[mask].mean() for photo, mask in zip(photos, metal, strict=True)])
    spread = brightness.std() / brightness.mean()
    assert 0.02 < spread < 0.06
    face = photos[:, 30:45, 100:125].mean(axis=3)
    texture = (face - face.mean(axis=(1, 2), keepdims=True)).reshape(40, -1)
    alike = np.corrcoef(texture)[~np.eye(40, dtype=bool)]
    assert np.abs(alike).mean() < 0.5
    assert texture.std() > 3


def test_sensor_noise_differs_between_channels(good):
    photos, _ = good
    corner = photos[:, :10, :10].astype(float)
    noise = corner - corner.mean(axis=(1, 2), keepdims=True)
    assert 1 < noise.std() < 4
    assert abs(np.corrcoef(noise.reshape(-1, 3), rowvar=False)[0, 1]) < 0.3


# What defects look like


@pytest.mark.parametrize("kind", DEFECTS)
@settings(max_examples=60, deadline=None)
@given(number=st.integers(0, 2000), side=st.sampled_from([64, 97, 224]))
def test_mask_is_where_the_photo_changes(kind, number, side):
    photo, mask, twin = with_twin(kind, number, side)
    change = np.abs(photo - twin).max(axis=2)
    assert 0 < mask.mean() < 0.02
    assert change[mask].mean() > 10
    # A soft edge may reach a little beyond the mask.
    assert change[~mask].max() < 60
    assert change[~mask].sum() < 0.25 * change.sum()


@pytest.mark.parametrize("kind", DEFECTS)
def test_smallest_photos_show_their_defects(kind):
    assert all(with_twin(kind, number, 32)[1].any() for number in range(100))


@pytest.mark.parametrize(("kind", "sign"), [("missing_hole", 1), ("stain", -1), ("burr", 1)])
def test_defect_is_brighter_or_darker(kind, sign):
    for number in range(10):
        photo, mask, twin = with_twin(kind, number, 128)
        assert sign * (photo - twin)[mask].mean() > 10


def test_scratches_are_bright_or_dark():
    changes = [
        (photo - twin)[mask].mean()
        for photo, mask, twin in (with_twin("scratch", number, 128) for number in range(30))
    ]
    assert min(changes) < -15
    assert max(changes) > 15


def test_stain_is_brown():
    photo, mask, twin = with_twin("stain", 0, 128)
    darker = (twin - photo)[mask].mean(axis=0)
    assert darker[0] < darker[1] < darker[2]


def test_burrs_stand_at_the_rim_or_in_the_bore():
    ticks = (np.arange(128) + 0.5) / 128 - 0.5
    radius = np.hypot(ticks, ticks[:, None])
    edges = set()
    for number in range(20):
        _, mask, _ = with_twin("burr", number, 128)
        where = np.median(radius[mask])
        edge = min((0.41, 0.13), key=lambda edge: abs(edge - where))
        assert abs(where - edge) < 0.03
        edges.add(edge)
    assert edges == {0.41, 0.13}


@pytest.mark.parametrize("kind", DEFECTS)
def test_place_of_a_defect_varies(kind):
    centres = [np.argwhere(with_twin(kind, number, 64)[1]).mean(axis=0) for number in range(20)]
    assert (np.std(centres, axis=0) > 8).all()

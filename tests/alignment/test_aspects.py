"""Parts that move in photos of another aspect than the template, which are padded or cropped to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.frozen import FrozenEstimator

from skpadim import PartAligner
from skpadim.alignment.frames import AlignedFrame
from skpadim.alignment.motion import Motion
from skpadim.alignment.sampling import Sampler
from skpadim.coordinates import PhotoFrame
from skpadim.images.placing import Place, Placer, shares_of
from tests.alignment.shapes import part, parts
from tests.small import small

WAYS = pytest.mark.parametrize("way", ["pad", "crop"])
TALL = pytest.mark.parametrize("is_tall", [False, True])


def photos(n, *, is_tall=False, max_angle=8.0, max_shift=6.0, seed=0):
    """Draw photos of 96 x 144 pixels, or 144 x 96, and the angles and shifts by which parts move."""
    drawn, moves = parts(n, 144, max_angle=max_angle, max_shift=max_shift, seed=seed)
    return (drawn[:, :, 24:120] if is_tall else drawn[:, 24:120]), moves


@WAYS
@TALL
def test_parts_are_found_where_they_are_drawn(way, is_tall):
    good, _ = photos(20, is_tall=is_tall)
    aligner = PartAligner(resize=way, image_size=96, max_angle=20).fit(good)
    assert aligner.aspect_ == 1
    new, moves = photos(6, is_tall=is_tall, seed=1)
    found = aligner.locate(new)
    assert all(place.found for place in found)
    # To where the template lies, which is the middle of the parts.
    angles = np.array([place.angle for place in found]) - moves[:, 0]
    assert np.ptp(angles) < 0.6
    shifts = np.array([place.shift for place in found]) - moves[:, 1:]
    assert np.ptp(shifts, axis=0).max() < 1.0


@WAYS
@pytest.mark.parametrize("size", [(64, 96), (96, 64), (96, 96), (32, 96), (96, 160)])
def test_a_photo_that_is_not_moved_is_placed_as_without(way, size):
    """Where the place is one of whole pixels; the network would see the same."""
    photo = torch.from_numpy(np.random.default_rng(0).random((1, *size, 3), dtype=np.float32))
    shares = shares_of(size, 1.0, way)
    sampler = Sampler(1.0, (96, 96), (80, 96))
    placed, _ = Placer(way, (96, 96), (80, 96), "bilinear", (0.5, 0.5, 0.5))(photo, tuple(photo.shape[1:3]))
    place = Place.of(size, (96, 96), (80, 96), way)
    outside = sampler.outside(Motion(), shares)
    assert torch.equal(outside, place.padding())
    if place.resized == size:
        found = sampler.sample(sampler.reduce(photo, shares), Motion(), torch.full((3, 80, 96), 0.5), shares)
        assert torch.allclose(found, placed, atol=1e-4)
    seen = torch.from_numpy(np.random.default_rng(1).random((80, 96), dtype=np.float32))
    seen[place.padding()] = 0
    moved = AlignedFrame((96, 96), (80, 96), 1.0, Motion(), shares)
    still = PhotoFrame(place.resized, place.seen, place.canvas)
    rows, columns = np.nonzero(~place.padding().numpy())
    for one, other in zip(
        moved.pixels_at(rows, columns, size), still.pixels_at(rows, columns, size), strict=True
    ):
        # To a pixel, where a place of whole pixels is not the exact one, or a middle lies between two.
        assert_allclose(one, other, atol=0 if place.resized == size else 1)
    if place.resized == size:
        assert_allclose(moved.map_at(seen, size), still.map_at(seen, size), atol=1e-4)
    canvas = moved.as_it_lies(seen)
    assert torch.allclose(canvas, seen, atol=1e-4)


@WAYS
def test_every_way_to_ask_says_the_same_in_the_pixels_of_the_photo(way):
    good, _ = photos(30)
    detector = small(image_size=96, resize=way, align=PartAligner(max_angle=20)).fit(good)
    new, _ = photos(6, seed=1)
    new[0, 44:52, 60:68] = 255  # on the bar
    found = detector.inspect(new, maps=True, masks=True, regions=True, checks=True, original_size=True)
    assert_array_equal(found.scores, -detector.score_samples(new))
    assert_array_equal([one.mask.any() for one in found], found.labels == -1)
    assert all(one.map.shape == one.mask.shape == (96, 144) for one in found)
    assert found[0].is_anomaly and found.scores[0] == found.scores.max()
    region = found[0].regions[0]
    assert abs(region.peak_row - 48) < 10 and abs(region.peak_column - 64) < 10
    row, column = np.unravel_index(np.nan_to_num(found[0].map).argmax(), (96, 144))
    assert abs(row - 48) < 10 and abs(column - 64) < 10
    ends = np.stack([one.map[40:56] for one in found])[:, :, [0, 1, -2, -1]]
    assert np.isnan(ends).all() == (way == "crop")
    assert all("fit" in one.check.values and one.check.values["fit"] > 0.9 for one in found)
    features = detector.pipeline_["features"]
    # A third of the template is padding above and below; cropped, all of it is seen but for corners.
    assert features.ignored_[:8].all() == (way == "pad")
    assert not features.ignored_[24:72, 24:72].any()
    assert detector.anomaly_map(new).shape == (6, 96, 96)


def test_padding_has_no_edge_to_be_aligned_by():
    """A part that moves in a bright photo, whose border would be the strongest edge."""
    bright = [255 - photo for photo in photos(20)[0]]
    aligner = PartAligner(resize="pad", image_size=96, max_angle=20).fit(bright)
    new, moves = photos(6, seed=1)
    shifts = np.array([place.shift for place in aligner.locate(255 - new)]) - moves[:, 1:]
    assert np.ptp(shifts, axis=0).max() < 1.0


@WAYS
def test_photos_of_the_templates_aspect_are_as_with_stretch_to_the_bit(way):
    good, _ = parts(20, 96, max_angle=8, max_shift=6)
    new, _ = parts(4, 96, max_angle=8, max_shift=6, seed=1)
    stretched = small(image_size=96, align="rigid").fit(good)
    detector = small(image_size=96, align="rigid", resize=way).fit(good)
    assert_array_equal(detector.score_samples(new), stretched.score_samples(new))
    assert_array_equal(detector.loo_scores_, stretched.loo_scores_)


def test_photos_of_several_shapes_have_their_own_shares():
    wide, tall = photos(10)[0], photos(10, is_tall=True, seed=2)[0]
    aligner = PartAligner(resize="pad", image_size=(96, 96), max_angle=20).fit([*wide, *tall])
    assert_allclose(aligner.shares_, [[2 / 3, 1]] * 10 + [[1, 2 / 3]] * 10)
    assert aligner.transform([part(144)[24:120], part(144)[:, 24:120]]).shape == (2, 96, 96, 3)
    one, other = aligner.transform([part(144)[24:120], part(144)[:, 24:120]])[:, 24:72, 24:72].astype(int)
    assert np.abs(one - other).mean() < 4


def test_a_frozen_aligner_has_to_have_the_same_way_and_aspect():
    good = photos(12)[0]
    frozen = FrozenEstimator(PartAligner(resize="pad", image_size=(64, 64)).fit(good))
    small(image_size=96, resize="pad", align=frozen, false_alarm_rate=0.2).fit(good)
    with pytest.raises(ValueError, match=r"resize='pad' and an aspect of 1, .*expected resize='crop'"):
        small(image_size=96, resize="crop", align=frozen).fit(good)
    with pytest.raises(ValueError, match=r"PartAligner\(resize='pad', image_size=\(64, 96\)\)"):
        small(image_size=(64, 96), resize="pad", align=frozen).fit(good)


def ignoring(shape):
    """Return a mask of that shape whose upper eighth is to be ignored."""
    mask = np.zeros(shape, bool)
    mask[: shape[0] // 8] = True
    return mask


@pytest.mark.parametrize(
    ("way", "shape"),
    [
        ("stretch", (96, 96)),  # of aligned photos, as transform returns them
        ("stretch", (192, 192)),
        ("stretch", (96, 144)),  # of aligned photos, at the aspect of the photos
        ("pad", (96, 96)),
        ("crop", (96, 96)),
    ],
)
def test_a_mask_of_aligned_photos_lies_where_it_was_drawn(way, shape):
    good, _ = photos(20)
    detector = small(image_size=96, resize=way, align=PartAligner(max_angle=20), ignore=ignoring(shape))
    features = detector.fit(good).pipeline_["features"]  # warnings are errors
    assert features.ignored_[:12].all() and not features.ignored_[48:60].all(axis=1).any()


@pytest.mark.parametrize(("way", "shape"), [("stretch", (144, 96)), ("pad", (96, 144)), ("crop", (96, 144))])
def test_a_mask_that_is_none_of_aligned_photos_is_told(way, shape):
    good, _ = photos(20)
    detector = small(image_size=96, resize=way, align=PartAligner(max_angle=20), ignore=ignoring(shape))
    words = (
        f"ignore is {shape[0]} x {shape[1]} pixels, and aligned photos are 96 x 96.*"
        rf"Draw it on a photo that PartAligner\(image_size=\(96, 96\), resize='{way}'\) returns"
    )
    with pytest.warns(UserWarning, match=words):
        detector.fit(good)


def test_a_mask_goes_by_the_photos_where_auto_leaves_them_as_they_lie():
    good, _ = photos(20, max_angle=0, max_shift=0)
    detector = small(image_size=96, align="auto", ignore=ignoring((96, 96)))
    with pytest.warns(UserWarning, match="100% of the photos are of another shape"):
        detector.fit(good)
    assert detector.pipeline_["features"].aligner_ is None

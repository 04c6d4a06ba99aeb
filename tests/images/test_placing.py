"""Where photos of another aspect lie in what the network sees, by plain arithmetic and torch by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from reading import draw
from skpadim.images.placing import Place, Placer, colour_of_nothing, shares_of
from skpadim.images.resizing import centre_window

CANVAS = (24, 37)
SIZES = [(24, 37), (48, 74), (10, 200), (200, 10), (1, 999), (999, 1), (25, 37), (3, 4), (120, 185)]
MEAN = (0.485, 0.456, 0.406)


def plain_size(size, canvas, way):
    """As it is defined: one scale for both sides, the smaller of two or the larger."""
    scales = [Fraction(whole, side) for whole, side in zip(canvas, size, strict=True)]
    scale = min(scales) if way == "pad" else max(scales)
    return tuple(max(1, int(side * scale + Fraction(1, 2))) for side in size)


@pytest.mark.parametrize("way", ["pad", "crop"])
@pytest.mark.parametrize("size", SIZES)
def test_both_sides_have_one_scale(size, way):
    place = Place.of(size, CANVAS, CANVAS, way)
    assert place.resized == plain_size(size, CANVAS, way)
    fits = [a <= b if way == "pad" else a >= b for a, b in zip(place.resized, CANVAS, strict=True)]
    assert all(fits)
    assert any(a == b for a, b in zip(place.resized, CANVAS, strict=True))
    assert place.is_padded == (way == "pad" and place.resized != CANVAS)


@pytest.mark.parametrize("way", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("seen", [CANVAS, (11, 20), (24, 8), (1, 1)])
@pytest.mark.parametrize("size", SIZES)
def test_the_centre_is_kept_and_then_the_centre_of_it(size, seen, way):
    """Numbers of the pixels of the resized photo, padded with -1 and cut as arrays are."""
    place = Place.of(size, CANVAS, seen, way)
    numbers = np.arange(np.prod(place.resized)).reshape(place.resized)
    if way == "crop":
        canvas = numbers[centre_window(place.resized, CANVAS)]
    else:
        canvas = np.full(CANVAS, -1)
        canvas[centre_window(CANVAS, place.resized)] = numbers
    expected = canvas[centre_window(CANVAS, seen)]
    found = np.full(seen, -1)
    found[place.of_seen] = numbers[place.of_photo]
    assert np.array_equal(found, expected)
    assert np.array_equal(place.padding().numpy(), expected == -1)
    assert place.is_padded == (expected == -1).any()


@pytest.mark.parametrize("way", ["pad", "crop"])
@pytest.mark.parametrize("size", SIZES)
def test_shares_are_places_that_nothing_rounds(size, way):
    scales = [Fraction(whole, side) for whole, side in zip(CANVAS, size, strict=True)]
    scale = min(scales) if way == "pad" else max(scales)
    expected = [float(side * scale / whole) for side, whole in zip(size, CANVAS, strict=True)]
    assert shares_of(size, CANVAS[1] / CANVAS[0], way) == pytest.approx(expected, rel=1e-12)
    assert shares_of(CANVAS, CANVAS[1] / CANVAS[0], way) == (1, 1)
    assert shares_of(size, CANVAS[1] / CANVAS[0], "stretch") == (1, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_padding_equals_resizing_and_pasting_by_hand(dtype, interpolation, channels):
    photo = torch.from_numpy(draw(30, 90, channels))
    photo = photo if dtype == torch.uint8 else photo / 255
    found, part = Placer("pad", CANVAS, (20, 37), interpolation, MEAN)(photo[None], (30, 90))
    resized = interpolate(photo.permute(2, 0, 1)[None], (12, 37), mode=interpolation, antialias=True)
    resized = resized if dtype == torch.uint8 else resized.clamp(0, 1)
    shares = torch.tensor(MEAN)
    colour = shares if dtype == torch.float32 else torch.tensor([124, 116, 104], dtype=torch.uint8)
    expected = colour[:, None, None].expand(3, *CANVAS).clone()
    expected[:, 6:18] = resized[0]
    assert part is None
    assert found.dtype == dtype
    assert torch.equal(found[0].permute(2, 0, 1), expected[:, 2:22])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_cropping_equals_resizing_and_cutting_by_hand(dtype):
    photo = torch.from_numpy(draw(30, 90, 3))
    photo = photo if dtype == torch.uint8 else photo / 255
    found, _ = Placer("crop", CANVAS, (20, 31), "bilinear", MEAN)(photo[None], (30, 90))
    resized = interpolate(photo.permute(2, 0, 1)[None], (24, 72), mode="bilinear", antialias=True)
    resized = resized if dtype == torch.uint8 else resized.clamp(0, 1)
    assert torch.equal(found[0].permute(2, 0, 1), resized[0, :, 2:22, 17 + 3 : 17 + 34])


def test_the_colour_of_padding_is_what_the_network_makes_nothing_of():
    assert torch.equal(colour_of_nothing(MEAN, torch.float32) - torch.tensor(MEAN), torch.zeros(3))
    assert colour_of_nothing(MEAN, torch.uint8).tolist() == [round(255 * each) for each in MEAN]

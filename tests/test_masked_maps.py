"""Maps beside what counts for nothing, against the plain formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import plain
from plain import draw_pyramid
from skpadim import PatchGaussian
from skpadim.masked_maps import check_ignored
from small import small


def test_maps_with_ignored_pixels_equal_the_definition():
    """The mean, weighed by the Gaussian, of the distances of those patches that no ignored pixel touches."""
    pyramid = draw_pyramid(22, [(3, 8, 8), (4, 4, 4)], image_size=(64, 64))
    ignored = np.zeros((64, 64), dtype=bool)
    ignored[:20, 30:40] = True  # patches of 8 pixels: rows 0 to 2, columns 3 and 4
    batches = [[*map(torch.from_numpy, pyramid[:20].levels)]]
    gaussian = PatchGaussian(0.01, false_alarm_rate=0.5).fit_stream(batches, (64, 64), ignored)
    train, new = (plain.embedding(part.levels) for part in (pyramid[:20], pyramid[20:]))
    distances = plain.distances(train, new, 0.01)
    counted = np.ones((8, 8))
    counted[:3, 3:5] = 0
    share = plain.maps(counted[None], (64, 64))
    expected = plain.maps(distances * counted, (64, 64)) / share
    expected[:, ignored] = 0
    assert_allclose(gaussian.anomaly_map(pyramid[20:]), expected, rtol=1e-3, atol=1e-4)
    assert_allclose(gaussian.score_samples(pyramid[20:]), -expected.max(axis=(1, 2)), rtol=1e-3)
    left_out = [
        plain.maps(plain.distances(np.delete(train, i, axis=0), train[i : i + 1], 0.01) * counted, (64, 64))
        / share
        for i in range(20)
    ]
    loo = [np.where(ignored, 0, single).max() for single in left_out]
    assert_allclose(gaussian.loo_scores_, loo, rtol=1e-3)


def test_hidden_patches_count_for_nothing():
    rng = np.random.default_rng(0)
    gaussian = PatchGaussian(sigma=2).fit(rng.normal(size=(50, 4, 6, 6)).astype(np.float32))
    distances = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0))
    hidden = torch.zeros(3, 6, 6, dtype=torch.bool)
    hidden[0, :2], hidden[1, :, 5] = True, True
    loud = distances.clone()
    loud[hidden] = 1e6
    assert_allclose(gaussian.maps(loud, hidden), gaussian.maps(distances, hidden))
    assert_allclose(gaussian.maps(distances, hidden)[2], gaussian.maps(distances)[2], rtol=1e-5)
    maps = gaussian.maps(torch.ones(3, 6, 6), hidden)
    shown = ~np.kron(hidden.numpy(), np.ones((1, *(size // 6 for size in gaussian.image_size_)), dtype=bool))
    assert_allclose(maps[torch.from_numpy(shown)], 1, rtol=1e-5)
    assert (maps[torch.from_numpy(~shown)] == 0).all()
    assert_array_equal(gaussian.image_scores(loud, hidden), gaussian.maps(loud, hidden).amax((1, 2)).double())


def test_a_gaussian_that_hides_nothing_is_as_without_to_the_bit():
    rng = np.random.default_rng(0)
    gaussian = PatchGaussian(sigma=2).fit(rng.normal(size=(50, 4, 6, 6)).astype(np.float32))
    distances = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(3, 6, 6, dtype=torch.bool)
    assert torch.equal(gaussian.maps(distances, nothing), gaussian.maps(distances))


def test_what_another_photo_hides_changes_nothing_where_pixels_are_ignored():
    """The mask covers a part of some patches: their other pixels count, whatever else is in the batch."""
    mask = np.zeros((64, 64), bool)
    mask[:10, :21] = True
    photos = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), dtype=np.uint8)
    gaussian = small(ignore=mask, false_alarm_rate=0.2).fit(photos).pipeline_["gaussian"]
    distances = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0)) + 1
    hidden = torch.zeros(2, 16, 16, dtype=torch.bool)
    hidden[0, :4] = True
    alone, beside = gaussian.maps(distances[1:]), gaussian.maps(distances, hidden)
    assert_allclose(beside[1], alone[0], rtol=1e-5)
    assert (beside[1].numpy()[mask] == 0).all() and (beside[1].numpy()[~mask] > 0).all()
    assert (beside[0, :16] == 0).all()


@pytest.mark.parametrize(
    "ignored",
    [np.zeros((8, 7), bool), np.zeros((8, 8), np.uint8), np.ones((8, 8), bool)],
    ids=["another shape", "no bools", "all"],
)
def test_masks_that_will_not_do(ignored):
    with pytest.raises(ValueError, match=r"expected bools of the shape \(8, 8\) of an image, not all True"):
        check_ignored(ignored, (8, 8))


def test_a_mask_is_copied():
    given = np.zeros((8, 8), bool)
    kept = check_ignored(given, (8, 8))
    given[:] = True
    assert kept is not None and not kept.any()
    assert check_ignored(None, (8, 8)) is None

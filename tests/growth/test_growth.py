"""What is known of the photos of a part, batch by batch and part by part."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skpadim.growth.growth import Growth, paths_of, refuse_not_finite
from skpadim.images.collection import check_images
from skpadim.stream import FeatureBatch

RNG = np.random.default_rng(0)
LEVELS = [torch.from_numpy(RNG.normal(size=(20, *shape))) for shape in [(2, 4, 4), (3, 2, 2)]]
STATISTICS = RNG.normal(size=(20, 9))


def batch(rows, first=0):
    """Return photos whose indices count from the first of their call."""
    return FeatureBatch(
        [row - first for row in rows],
        [level[rows] for level in LEVELS],
        [(8, 8)] * len(rows),
        STATISTICS[rows],
        [row.to_bytes(8, "big") for row in rows],
        placements=[],
    )


def grown(*calls, size=6):
    """Take in calls, each a list of batches; the third photo of each cannot be read."""
    growth = Growth(n_calibration=size, seed=0)
    first = 0
    for batches in calls:
        growth.begin()
        for rows in batches:
            growth.add(batch([row for row in rows if row - first != 2], first), [""] * len(rows))
        n_given = max(map(max, batches)) + 1 - first
        growth.end(n_given, {2: "no photo"})
        first += n_given
    return growth


READ = [row for row in range(20) if row not in (2, 14)]


def test_calls_and_parts_equal_one_another():
    whole = grown([range(5), range(5, 12)], [range(12, 20)])
    first, second = grown([range(12)]), Growth(n_calibration=6, seed=0)
    second.begin()
    second.add(batch([12, 13, 15, 16, 17, 18, 19], 12), [""] * 7)
    second.end(8, {2: "no photo"})
    parts = Growth(n_calibration=6, seed=0)
    parts.absorb(first)
    parts.absorb(second)
    for growth in (whole, parts):
        assert growth.n_images == len(READ)
        assert growth.skipped == {2: "no photo", 14: "no photo"}
        assert list(growth.photos.places) == READ
        assert growth.photos.n_given == 20
        assert_array_equal(growth.photo_statistics(), STATISTICS[READ])
        coarse = LEVELS[1][READ].mean(dim=0).flatten(1).T
        assert_allclose(growth.patches.moments.means[0], coarse, rtol=1e-10, atol=1e-12)
    assert whole.patches.sample.places() == parts.patches.sample.places()
    assert first.n_images == 11


def test_a_copy_is_independent():
    growth = grown([range(12)])
    copied = growth.copy()
    copied.absorb(grown([range(12)]))
    assert (growth.n_images, copied.n_images) == (11, 22)
    assert len(growth.photos) == 11 and growth.skipped == {2: "no photo"}
    assert len(growth.photo_statistics()) == 11


def test_nothing_learned_is_nothing():
    growth = Growth(n_calibration=5, seed=0)
    growth.absorb(Growth(n_calibration=5, seed=0))
    assert (growth.n_images, growth.nbytes, growth.photo_statistics().shape) == (0, 0, (0, 9))


def test_one_becomes_another():
    growth, other = Growth(n_calibration=6, seed=0), grown([range(12)])
    growth.become(other)
    assert growth.n_images == 11
    assert growth.nbytes == other.nbytes > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_what_is_not_finite_is_refused(bad):
    growth = grown([range(12)])
    refuse_not_finite(growth)
    growth.begin()
    wrong = batch([12], 12)
    wrong.levels[0][0, 0, 0, 0] = bad
    growth.add(wrong, [""])
    with pytest.raises(ValueError, match="finite variances"):
        refuse_not_finite(growth)


def test_paths_are_those_given(tmp_path):
    photo = np.zeros((8, 8), np.uint8)
    assert paths_of(check_images([photo, tmp_path / "a.png"]), [1, 0]) == [str(tmp_path / "a.png"), ""]

"""What a growing Gaussian carries, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.exceptions import NotFittedError

from skpadim.growth.patches import PatchGrowth, grow_by_place, names_of_places, refuse_what_teaches_nothing
from skpadim.reservoir import Reservoir

RNG = np.random.default_rng(0)
#: Fine first, as given: the kernels want them the other way round.
LEVELS = [torch.from_numpy(RNG.normal(size=(10, *shape))) for shape in [(2, 4, 4), (3, 2, 2)]]


def grown(rows=slice(None), shift=0):
    part = [level[rows] for level in LEVELS]
    growth = PatchGrowth.empty(part, Reservoir(4, 0))
    places = [place - shift for place in range(10)[rows]]
    growth.add(part, places, names_of_places(range(10)[rows]))
    return growth


def assert_of(growth, rows):
    """Means, products and the sample are those of some rows."""
    coarse = LEVELS[1][rows].numpy()
    assert growth.n_images == len(coarse)
    assert_allclose(growth.moments.means[0].T, coarse.mean(axis=0).reshape(3, -1), rtol=1e-12, atol=1e-12)
    expected = [np.cov(coarse[:, :, i, j].T) * (len(coarse) - 1) for i in range(2) for j in range(2)]
    assert_allclose(growth.moments.comoments[0].own, expected, rtol=1e-10, atol=1e-12)
    for place in growth.sample.places():
        for kept, level in zip(growth.sample.row(place), LEVELS[::-1], strict=True):
            assert torch.equal(kept.permute(2, 0, 1), level[place])


def test_batches_and_parts_are_those_of_numpy():
    whole, part = grown(), grown(slice(6))
    part.absorb(grown(slice(6, None), shift=6), 6)
    assert_of(whole, slice(None))
    assert_of(part, slice(None))
    assert part.sample.places() == whole.sample.places()


def test_what_is_taken_out_is_gone():
    growth = grown()
    growth.take_out([level[[1, 7]] for level in LEVELS], [1, 7])
    assert_of(growth, [0, 2, 3, 4, 5, 6, 8, 9])
    assert not {1, 7} & set(growth.sample.places())


def test_copies_are_independent():
    growth = grown(slice(6))
    copied = growth.copy()
    copied.add([level[6:] for level in LEVELS], range(6, 10), names_of_places(range(6, 10)))
    assert_of(growth, slice(6))
    assert_of(copied, slice(None))


@pytest.mark.parametrize("size", [1, 3, 10])
def test_a_stream_is_told_apart_by_place(size):
    batches = [[level[start : start + size] for level in LEVELS] for start in range(0, 10, size)]
    growth = grow_by_place(batches, 4, 0)
    assert_of(growth, slice(None))
    assert growth.sample.places() == grown().sample.places()
    assert grow_by_place([], 4, 0) is None


def test_other_features_are_refused():
    growth = grown()
    for wrong in ([LEVELS[0]], LEVELS[::-1], [level.float() for level in LEVELS]):
        with pytest.raises(ValueError, match="those before had"):
            growth.add(wrong, range(10), names_of_places(range(10)))
    assert_of(growth, slice(None))


def test_bytes_are_those_of_the_tensors():
    n_moments = 16 * (2 + 2 * 3 + 2 * 2) + 4 * (3 + 3 * 3)
    n_features = 64 * (2 * 16 + 3 * 4)
    assert grown().nbytes == 8 * (n_moments + n_features)
    assert [level.shape for level in grown().features_like()] == [(0, 2, 4, 4), (0, 3, 2, 2)]


def test_what_teaches_nothing_is_refused():
    refuse_what_teaches_nothing(grown(slice(3)))
    for few in (None, grown(slice(2))):
        with pytest.raises(NotFittedError, match="at least 3 are needed"):
            refuse_what_teaches_nothing(few)
    same = PatchGrowth.empty(LEVELS, Reservoir(4, 0))
    same.add([level[[4, 4, 4]] for level in LEVELS], range(3), names_of_places(range(3)))
    with pytest.raises(ValueError, match="the same image again"):
        refuse_what_teaches_nothing(same)
    same.add([level[:1] * np.inf for level in LEVELS], [3], names_of_places([3]))
    with pytest.raises(ValueError, match="infinite"):
        refuse_what_teaches_nothing(same)

"""Seeds and generators: what is passed decides, and the global generators are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from skpadim.base.randomness import draw_seed, fresh_random_state

LARGEST = np.iinfo(np.int32).max


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, np.int64(3), np.uint8(5)])
def test_an_int_is_the_seed(seed):
    drawn = draw_seed(seed)
    assert type(drawn) is int
    assert drawn == seed
    expected = np.random.RandomState(seed).randint(LARGEST, size=5)
    assert fresh_random_state(seed).randint(LARGEST, size=5).tolist() == expected.tolist()


def test_a_generator_is_drawn_from():
    generator, same = np.random.RandomState(7), np.random.RandomState(7)
    assert fresh_random_state(generator) is generator
    assert [draw_seed(generator) for _ in range(5)] == [same.randint(LARGEST) for _ in range(5)]


def test_none_draws_anew_whatever_the_global_state():
    state = np.random.get_state()
    seeds = set()
    for _ in range(5):
        np.random.set_state(state)
        seeds.add(draw_seed(None))
    assert len(seeds) == 5
    assert fresh_random_state(None) is not np.random.mtrand._rand


@pytest.mark.parametrize("random_state", ["seed", -1, 1.5])
def test_what_is_no_seed_is_refused(random_state):
    with pytest.raises(ValueError):
        fresh_random_state(random_state)

"""The calibration sample and the conformal threshold against their definitions."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.stats import chi2, chisquare

from skpadim.calibration import Reservoir, conformal_p_values, conformal_threshold

rates = st.integers(1, 999).map(lambda thousandths: thousandths / 1000)


def sample(stream, size, seed, cuts=()):
    """Return the rows that a reservoir keeps of a stream (n, ...), offered in the batches between cuts."""
    reservoir = Reservoir(size, seed)
    for batch in torch.tensor_split(stream, sorted(cuts)):
        reservoir.add([batch])
    return [row for (row,) in rows_of(reservoir)]


def rows_of(reservoir):
    """Return the rows kept, a list of levels each, in the order of the stream."""
    rows = [levels for block in reservoir.blocks() for levels in zip(*block, strict=True)]
    return [rows[place] for place in reservoir.order()]


def kept(n_rows, size, seed, cuts=()):
    return tuple(int(row) for row in sample(torch.arange(n_rows), size, seed, cuts))


def test_every_row_of_the_stream_is_as_likely_as_any_other():
    n_rows, size, n_streams = 12, 5, 2000
    counts = np.zeros(n_rows)
    for seed in range(n_streams):
        counts[list(kept(n_rows, size, seed, cuts=(4, 5)))] += 1
    share = size / n_rows
    deviations = (counts - n_streams * share) ** 2 / (n_streams * share * (1 - share))
    # Rows exclude each other: of n counts with a fixed sum, the statistic has n - 1 degrees of freedom.
    assert chi2.sf(deviations.sum() * (n_rows - 1) / n_rows, n_rows - 1) > 1e-3


def test_every_subset_is_as_likely_as_any_other():
    counts = Counter(kept(5, 2, seed, cuts=(3,)) for seed in range(2000))
    assert sorted(counts) == list(combinations(range(5), 2))
    assert chisquare(list(counts.values())).pvalue > 1e-3


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 60),
    st.integers(1, 20),
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 60), max_size=10),
)
@example(10, 4, 0, list(range(1, 10)))
@example(10, 4, 0, [3, 3, 3])
def test_sample_does_not_depend_on_the_batches(n_rows, size, seed, cuts):
    rows = kept(n_rows, size, seed, cuts)
    assert rows == kept(n_rows, size, seed)
    assert len(rows) == min(n_rows, size)
    assert list(rows) == sorted(set(rows)), "in the order of the stream, none twice"


def test_other_seeds_give_other_samples():
    assert len({kept(1000, 10, seed) for seed in range(20)}) == 20


def test_short_stream_is_kept_whole():
    assert kept(7, 500, 0, cuts=(2, 4)) == tuple(range(7))
    assert rows_of(Reservoir(3, 0)) == []


def test_levels_of_a_row_stay_together():
    fine = torch.arange(30 * 4 * 4 * 2).reshape(30, 4, 4, 2)
    coarse = torch.arange(30 * 2 * 2 * 5).reshape(30, 2, 2, 5)
    reservoir = Reservoir(8, 1)
    for part in (slice(0, 11), slice(11, 30)):
        reservoir.add([fine[part], coarse[part]])
    for (own, above), row in zip(rows_of(reservoir), kept(30, 8, 1), strict=True):
        assert torch.equal(own, fine[row])
        assert torch.equal(above, coarse[row])


def test_rows_are_copies_that_do_not_hold_their_batch():
    stream = torch.arange(40.0).reshape(10, 4)
    reservoir = Reservoir(3, 0)
    reservoir.add([stream.T.contiguous().T])
    reservoir.add([stream])
    expected = [row.clone() for (row,) in rows_of(reservoir)]
    stream.zero_()
    for (row,), before in zip(rows_of(reservoir), expected, strict=True):
        assert torch.equal(row, before)
        assert row.untyped_storage().data_ptr() != stream.untyped_storage().data_ptr()


def test_memory_follows_the_rows_kept_not_the_stream():
    reservoir = Reservoir(100, 0)
    for start in range(0, 5000, 50):
        reservoir.add([torch.arange(start, start + 50.0)[:, None].expand(-1, 10)])
    storages = {row.untyped_storage().data_ptr(): row.untyped_storage() for (row,) in rows_of(reservoir)}
    assert sum(storage.nbytes() for storage in storages.values()) <= 2 * 64 * 10 * 4


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 400), rates, st.integers(0, 2**16))
@example(19, 0.05, 0)
@example(18, 0.05, 0)
@example(9, 0.7, 0)  # 1 - 0.7 is more than 0.3 in floats
@example(99, 0.29, 0)
def test_threshold_is_the_smallest_that_keeps_the_rate(n, rate, seed):
    scores = np.random.default_rng(seed).permutation(np.arange(n) + 0.5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        threshold = conformal_threshold(scores, rate)
    exact = Fraction(str(rate))
    # A new score has any place among the n with the same probability, 1 / (n + 1).
    valid = [t for t in scores if Fraction(int((scores > t).sum()) + 1, n + 1) <= exact]
    assert threshold == min(valid, default=scores.max())
    assert bool(caught) == (not valid)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 5.5]), min_size=1, max_size=40), rates)
def test_threshold_with_ties_is_the_order_statistic(scores, rate):
    rank = math.ceil((len(scores) + 1) * (1 - Fraction(str(rate))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threshold = conformal_threshold(np.array(scores), rate)
    assert threshold == sorted(scores)[min(rank, len(scores)) - 1]


@pytest.mark.parametrize(
    ("rate", "needed"), [(0.05, 19), (0.01, 99), (0.1, 9), (0.5, 1), (0.003, 333), (0.3, 3)]
)
def test_too_few_scores_are_warned_of(rate, needed):
    conformal_threshold(np.arange(float(needed)), rate)  # a warning would be an error
    if needed > 1:
        message = f"false_alarm_rate={rate} needs at least {needed} .* there are {needed - 1}"
        with pytest.warns(UserWarning, match=message):
            assert conformal_threshold(np.arange(needed - 1.0), rate) == needed - 2


def test_rates_of_half_precision_are_rates():
    scores = np.arange(100_000.0)
    assert conformal_threshold(scores, np.float16(0.1)) == conformal_threshold(scores, float(np.float16(0.1)))


def test_expected_false_alarm_rate_is_told():
    with pytest.warns(UserWarning, match="rate to expect is 0.25"):
        conformal_threshold(np.arange(3.0), 0.05)


def test_scores_are_left_as_they_are():
    scores = np.array([3.0, 1.0, 2.0])
    threshold = conformal_threshold(scores, 0.5)
    assert isinstance(threshold, float) and threshold == 2.0
    assert scores.tolist() == [3.0, 1.0, 2.0]


@given(st.integers(1, 60), st.integers(2, 60), st.integers(3, 200))
@example(1, 3, 5)
@example(1, 6, 5)
def test_threshold_and_p_values_agree_for_any_fraction(numerator, denominator, n):
    rate = numerator / (numerator + denominator)
    scores = np.arange(float(n))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threshold = conformal_threshold(scores, rate)
    if 1 / (n + 1) <= rate:
        new = np.arange(-0.5, n + 1, 0.5)
        assert_array_equal(new > threshold, conformal_p_values(scores, new) <= rate)
    else:
        assert threshold == n - 1


def test_what_the_user_draws_with_the_same_seed_does_not_decide():
    values = torch.from_numpy(np.random.default_rng(0).random(5000))
    assert 0.4 < float(torch.stack(sample(values, 200, seed=0)).mean()) < 0.6

"""The calibration sample: uniform, and the same whatever the order, the batches and the parts."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, chisquare

from skpadim.reservoir import Reservoir


def content(row):
    """Return bytes that tell rows apart."""
    return row.numpy().tobytes()


def offer(reservoir, levels, start=0):
    """Offer rows whose places count from start."""
    reservoir.add(levels, range(start, start + len(levels[0])), [content(row) for row in levels[0]])


def filled(stream, size, seed, cuts=()):
    """Return a reservoir that was offered a stream (n, ...) in the batches between cuts."""
    reservoir, start = Reservoir(size, seed), 0
    for batch in torch.tensor_split(stream, sorted(cuts)):
        offer(reservoir, [batch], start)
        start += len(batch)
    return reservoir


def rows_of(reservoir):
    """Return the rows kept, a list of levels each, in the order of the stream."""
    rows = [levels for block in reservoir.blocks() for levels in zip(*block, strict=True)]
    return [rows[place] for place in reservoir.order()]


def kept(n_rows, size, seed, cuts=()):
    return tuple(int(row) for (row,) in rows_of(filled(torch.arange(n_rows), size, seed, cuts)))


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
        offer(reservoir, [fine[part], coarse[part]], part.start)
    for (own, above), row in zip(rows_of(reservoir), reservoir.places(), strict=True):
        assert torch.equal(own, fine[row])
        assert torch.equal(above, coarse[row])


def test_rows_are_copies_that_do_not_hold_their_batch():
    stream = torch.arange(40.0).reshape(10, 4)
    reservoir = Reservoir(3, 0)
    offer(reservoir, [stream.T.contiguous().T])
    offer(reservoir, [stream + 1], 10)
    expected = [row.clone() for (row,) in rows_of(reservoir)]
    stream.zero_()
    for (row,), before in zip(rows_of(reservoir), expected, strict=True):
        assert torch.equal(row, before)
        assert row.untyped_storage().data_ptr() != stream.untyped_storage().data_ptr()


def test_memory_follows_the_rows_kept_not_the_stream():
    reservoir = Reservoir(100, 0)
    for start in range(0, 5000, 50):
        offer(reservoir, [torch.arange(start, start + 50.0)[:, None].expand(-1, 10)], start)
    storages = {row.untyped_storage().data_ptr(): row.untyped_storage() for (row,) in rows_of(reservoir)}
    assert sum(storage.nbytes() for storage in storages.values()) <= 2 * 64 * 10 * 4


@settings(deadline=None, max_examples=50)
@given(st.permutations(range(25)), st.integers(0, 25), st.integers(1, 12))
def test_neither_order_nor_parts_decide(order, cut, size):
    stream = torch.arange(25)[list(order)]
    first, second = filled(stream[:cut], size, 7), filled(stream[cut:], size, 7)
    first.absorb(second, cut)
    assert {int(row) for (row,) in rows_of(first)} == set(kept(25, size, 7))
    assert first.places() == filled(stream, size, 7).places()


def test_parts_stay_as_they_were():
    first, second = filled(torch.arange(10), 4, 0), filled(torch.arange(10, 20), 4, 0)
    again, copied = filled(torch.arange(10, 20), 4, 0), first.copy()
    copied.absorb(second, 10)
    assert [int(row) for (row,) in rows_of(first)] == list(kept(10, 4, 0))
    assert [int(row) for (row,) in rows_of(second)] == [int(r) for (r,) in rows_of(again)]


RANKED = [
    next(iter(set(kept(70, size, 3)) - set(kept(70, size - 1, 3)) if size > 1 else kept(70, 1, 3)))
    for size in range(1, 71)
]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 12), st.sets(st.integers(0, 39)), st.integers(0, 30))
def test_what_is_taken_out_leaves_a_sample_of_the_others(n_rows, size, gone, n_more):
    reservoir = filled(torch.arange(n_rows), size, 3)
    reservoir.remove(gone)
    offer(reservoir, [torch.arange(n_rows, n_rows + n_more)], n_rows)
    early = [row for row in RANKED if row < n_rows]
    allowed = RANKED if n_rows <= size else RANKED[: RANKED.index(early[size])]
    others = [row for row in allowed if row < n_rows + n_more and (row not in gone or row >= n_rows)]
    expected = sorted(others[:size])
    assert reservoir.places() == expected
    assert [int(row) for (row,) in rows_of(reservoir)] == expected


@pytest.mark.parametrize("n_rows", [0, 3, 200])
def test_state_is_all_there_is(n_rows):
    reservoir = filled(torch.arange(float(n_rows)), 70, 5)
    again = Reservoir.from_state(reservoir.state())
    for sample in (reservoir, again):
        sample.remove([1, 5])
        offer(sample, [torch.arange(500.0, 560)], 500)
    assert again.places() == reservoir.places()
    assert [float(row) for (row,) in rows_of(again)] == [float(row) for (row,) in rows_of(reservoir)]

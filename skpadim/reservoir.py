"""A uniform sample of photos that depends on their contents alone: not on order, batches, calls or parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter

import torch
from torch import Tensor

# Rows are kept in blocks that are reused: memory allocated row by row would fragment over a long stream.
_BLOCK_ROWS = 64
_KEY_BYTES = 8

#: What decides whether a row stays: its key, then its place.
Rank = tuple[int, int]


@dataclass(frozen=True)
class SampleState:
    """What a reservoir holds, as plain values.

    Attributes
    ----------
    size, seed, spare : int
    ranks : list of (int, int)
        Key and place of every row, as the rows lie.
    cut : (int, int) or None
        The first rank that was ever left out.
    rows : list of Tensor of shape (n_rows, ...)
        Per level, in the order of ``ranks``; none of a sample without rows.
    """

    size: int
    seed: int
    spare: int
    ranks: list[Rank]
    cut: Rank | None
    rows: list[Tensor]


class Reservoir:
    """A uniform sample of rows, the same however they come.

    The key of a row is a hash of the seed and of the row's content; the rows with the smallest keys stay.

    Parameters
    ----------
    size : int
        Rows of the sample at most.
    seed : int
    spare : int, default=0
        Rows kept beside these: they take the places of those that are removed.

    Examples
    --------
    >>> import torch
    >>> rows, contents = torch.arange(6), [b"a", b"b", b"c", b"d", b"e", b"f"]
    >>> whole, parts = Reservoir(3, seed=0), Reservoir(3, seed=0)
    >>> whole.add([rows], range(6), contents)
    >>> parts.add([rows[4:]], [4, 5], contents[4:])
    >>> parts.add([rows[:4]], [0, 1, 2, 3], contents[:4])
    >>> whole.places() == parts.places()
    True
    """

    def __init__(self, size: int, seed: int, spare: int = 0) -> None:
        self.size = size
        self.seed = seed
        self.spare = spare
        self._slots: dict[Rank, int] = {}  # of the rows kept
        self._blocks: list[list[Tensor]] = []
        # Once a row has been left out, no row beyond it may enter, even where rows were taken out since: the
        # rows kept are all that there are before the cut, and so a uniform sample.
        self._cut: Rank | None = None

    def __len__(self) -> int:
        return min(self.size, len(self._slots))

    def add(self, levels: Sequence[Tensor], places: Sequence[int], contents: Sequence[bytes]) -> None:
        """Offer rows, (n_rows, ...) per level; those that stay are copied.

        Parameters
        ----------
        levels : sequence of Tensor of shape (n_rows, ...)
        places : sequence of int
            What to call the rows; no two have the same.
        contents : sequence of bytes
            Equal for equal rows.
        """
        prefix = str(self.seed).encode() + b":"
        keys = (hashlib.sha256(prefix + content, usedforsecurity=False).digest() for content in contents)
        self._offer(
            levels,
            [
                (int.from_bytes(key[:_KEY_BYTES], "little"), int(place))
                for key, place in zip(keys, places, strict=True)
            ],
        )

    def absorb(self, other: Reservoir, shift: int) -> None:
        """Take in another sample by the same seed, whose places count from ``shift``."""
        if other._cut is not None:
            self._lower_cut((other._cut[0], other._cut[1] + shift))
        by_slot = sorted(other._slots, key=other._slots.__getitem__)
        for number, block in enumerate(other.blocks()):
            ranks = by_slot[number * _BLOCK_ROWS : (number + 1) * _BLOCK_ROWS]
            self._offer(block, [(key, place + shift) for key, place in ranks])

    @property
    def last_key(self) -> int | None:
        """The largest key that a row may have to be kept, of this sample or any that it is part of."""
        return None if self._cut is None else self._cut[0]

    def leave_out_beyond(self, key: int) -> None:
        """Keep no row of a larger key: another part of the same sample has enough of smaller ones."""
        self._lower_cut((key + 1, 0))

    def remove(self, places: Iterable[int]) -> None:
        """Take rows out, as far as they are kept; spare ones take their places."""
        gone = set(places)
        for rank in [rank for rank in self._slots if rank[1] in gone]:
            self._remove(rank)

    def copy(self) -> Reservoir:
        """Return a sample that holds copies of the rows."""
        other = Reservoir(self.size, self.seed, self.spare)
        other._slots, other._cut = self._slots.copy(), self._cut
        other._blocks = [[level.clone() for level in block] for block in self._blocks]
        return other

    def blocks(self) -> list[list[Tensor]]:
        """Return all rows kept, spare ones too, (n_rows, ...) per level, a block at a time; see ``order``."""
        n_rows = len(self._slots)
        return [
            [level[: n_rows - start] for level in block]
            for start, block in zip(range(0, n_rows, _BLOCK_ROWS), self._blocks, strict=False)
        ]

    def order(self) -> list[int]:
        """Return which row of all blocks is the sample's first, the next, and so on, by their places."""
        return [self._slots[rank] for rank in self._sample()]

    def places(self) -> list[int]:
        """Return the places of the sample's rows, ascending."""
        return [place for _, place in self._sample()]

    def row(self, place: int) -> list[Tensor] | None:
        """Return the row at a place, (...) per level, or None if it is not kept."""
        for rank, slot in self._slots.items():
            if rank[1] == place:
                return [level[slot % _BLOCK_ROWS] for level in self._blocks[slot // _BLOCK_ROWS]]
        return None

    @property
    def nbytes(self) -> int:
        """Bytes of the rows, those included that their blocks have left."""
        return sum(level.nbytes for block in self._blocks for level in block)

    def state(self) -> SampleState:
        """Return what is held."""
        ranks = sorted(self._slots, key=self._slots.__getitem__)
        rows = [torch.cat(parts) for parts in zip(*self.blocks(), strict=True)]
        return SampleState(self.size, self.seed, self.spare, ranks, self._cut, rows)

    @classmethod
    def from_state(cls, state: SampleState) -> Reservoir:
        """Return a sample that holds this, its rows in the same order."""
        sample = cls(state.size, state.seed, state.spare)
        if state.ranks:
            sample._offer(state.rows, state.ranks)
        sample._cut = state.cut
        return sample

    def _offer(self, levels: Sequence[Tensor], ranks: Sequence[Rank]) -> None:
        offered = {rank: row for row, rank in enumerate(ranks) if self._cut is None or rank < self._cut}
        chosen = sorted([*self._slots, *offered])
        most = self.size + self.spare
        if len(chosen) > most:
            self._cut = chosen[most]
        staying = set(chosen[:most])
        free = [self._slots.pop(rank) for rank in self._slots.keys() - staying]
        placed = []
        # As they came, so that rows that come together mostly lie together.
        for rank, row in sorted(offered.items(), key=itemgetter(1)):
            if rank in staying:
                slot = free.pop() if free else len(self._slots)
                self._slots[rank] = slot
                placed.append((slot, row))
        for slot, row, n_rows in _runs(placed):
            self._store(slot, [level[row : row + n_rows] for level in levels])

    def _sample(self) -> list[Rank]:
        """Return the ranks of the sample's rows, by their places."""
        return sorted(sorted(self._slots)[: self.size], key=itemgetter(1))

    def _lower_cut(self, cut: Rank) -> None:
        if self._cut is None or cut < self._cut:
            self._cut = cut
            for rank in [rank for rank in self._slots if rank >= cut]:
                self._remove(rank)

    def _remove(self, rank: Rank) -> None:
        """Take a row out; the last one moves where it was, so that rows fill blocks from the front."""
        slot, last = self._slots.pop(rank), len(self._slots)
        if slot < last:
            moved = next(rank for rank, at in self._slots.items() if at == last)
            block, row = self._blocks[last // _BLOCK_ROWS], last % _BLOCK_ROWS
            self._store(slot, [level[row : row + 1] for level in block])
            self._slots[moved] = slot

    def _store(self, slot: int, parts: Sequence[Tensor]) -> None:
        if slot // _BLOCK_ROWS == len(self._blocks):
            self._blocks.append([part.new_empty(_BLOCK_ROWS, *part.shape[1:]) for part in parts])
        place = slot % _BLOCK_ROWS
        for block, part in zip(self._blocks[slot // _BLOCK_ROWS], parts, strict=True):
            block[place : place + len(part)] = part


def _runs(placed: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Join pairs of a slot and a row to runs (first slot, first row, number), each within a block."""
    runs: list[tuple[int, int, int]] = []
    for slot, row in placed:
        first, start, n_rows = runs[-1] if runs else (-1, -1, 0)
        if (slot, row) == (first + n_rows, start + n_rows) and slot % _BLOCK_ROWS:
            runs[-1] = (first, start, n_rows + 1)
        else:
            runs.append((slot, row, 1))
    return runs

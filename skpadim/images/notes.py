"""What is noticed of photos while they are read, and told when all of them are."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

from ..base.locks import ForkSafeLock
from .scales import RangeSeen, ValueRange

# Threads decode photos in any order, and what is told is of the first of them.
_LOCK = ForkSafeLock()


@dataclass
class Notes:
    """What was noticed of some photos, wherever they were read.

    Attributes
    ----------
    failures : dict of int to str
        What was wrong with photos that were skipped, by their index.
    range_seen : RangeSeen
    deep : dict of bool to (int, str)
        Index and name of the first photo of over 8 bits that states its range, and of the first that does
        not.
    lost : (int, str) or None
        Index of the first photo of which the reader at hand had to leave out bits, and which.
    n_astray : int
        In how many photos the part was not found, where they are aligned.
    astray : str or None
        Which was the first of these.
    """

    failures: dict[int, str] = field(default_factory=dict)
    range_seen: RangeSeen = field(default_factory=RangeSeen)
    deep: dict[bool, tuple[int, str]] = field(default_factory=dict)
    lost: tuple[int, str] | None = None
    n_astray: int = 0
    astray: str | None = None

    def add_deep(self, index: int, name: str, *, is_stated: bool) -> None:
        """Note that a photo has over 8 bits, and whether it states its range."""
        with _LOCK:
            self.deep[is_stated] = min((index, name), self.deep.get(is_stated, (index, name)))

    def add_lost(self, index: int, reason: str) -> None:
        """Note that bits of a photo had to be left out."""
        with _LOCK:
            self.lost = min((index, reason), self.lost or (index, reason))

    def add_astray(self, reason: str) -> None:
        """Note that the part was not found in a photo."""
        self.n_astray += 1
        self.astray = self.astray or reason

    def absorb(self, other: Notes, first: int) -> None:
        """Take in what was noticed of other photos, which come after these and are counted from ``first``."""
        self.failures |= {first + index: reason for index, reason in other.failures.items()}
        self.range_seen.absorb(other.range_seen)
        self.deep = {key: (first + index, name) for key, (index, name) in other.deep.items()} | self.deep
        if self.lost is None and other.lost is not None:
            self.lost = (first + other.lost[0], other.lost[1])
        self.n_astray += other.n_astray
        self.astray = self.astray or other.astray

    def explain_mixture(self) -> str | None:
        """Say that photos come at two scales, and which; None if all come at one."""
        if len(self.deep) < 2:
            return None
        return (
            f"{self.deep[True][1]} states which values are black and white, and {self.deep[False][1]}, of "
            "over 8 bits too, does not, so that the range of its type counts: one camera would come out "
            "at two scales. Pass value_range, the number of bits or (low, high), for all."
        )


class NoteTaker:
    """Photos of which notes are taken, and what is told of them.

    Attributes
    ----------
    notes : Notes
        What was noticed of images that were read.
    """

    def __init__(self, value_range: ValueRange, *, skip_failures: bool) -> None:
        self._value_range = value_range
        self._skip_failures = skip_failures
        self._is_silent = False
        self._told_of_lost_bits = False
        self.notes = Notes()

    @property
    def failures(self) -> dict[int, str]:
        """With ``on_error="skip"``, what was wrong with images that batches came without, by their index."""
        return self.notes.failures

    @property
    def _is_stated(self) -> bool:
        """Whether it is stated which values are black and white."""
        return self._value_range != "auto"

    def keep_silent(self) -> None:
        """Warn of nothing: whoever takes the notes does."""
        self._is_silent = True

    @property
    def n_given(self) -> int:
        """How many images there are, or came so far."""
        raise NotImplementedError

    def warn_of_failures(self) -> None:
        """Warn how many images were skipped, if any were, and name the first."""
        if self.failures and not self._is_silent:
            first = min(self.failures)
            warnings.warn(
                f"{len(self.failures)} of {self.n_given} images in X could not be read and are skipped, the "
                f"first: {self.failures[first]}",
                UserWarning,
                stacklevel=3,
            )

    def warn_of_range(self) -> None:
        """Warn if what was read so far uses little of its range of values, or goes far beyond."""
        reasons = [self.notes.range_seen.explain()]
        if not self._is_stated:
            reasons.append(self.notes.explain_mixture())
        for reason in reasons:
            if reason is not None and not self._is_silent:
                warnings.warn(reason, UserWarning, stacklevel=3)

    def warn_of_lost_bits(self) -> None:
        """Warn, once, if of any image the reader at hand had to leave out bits."""
        if self.notes.lost is not None and not self._told_of_lost_bits and not self._is_silent:
            self._told_of_lost_bits = True
            warnings.warn(self.notes.lost[1], UserWarning, stacklevel=3)

    def warn_of_astray(self) -> None:
        """Warn in how many photos the part was not found, if in any, and name the first."""
        if self.notes.n_astray and not self._is_silent:
            warnings.warn(
                f"align: the part was not found in {self.notes.n_astray} of {self.n_given} images in X, the "
                f"first: {self.notes.astray}. They are learned as they lie. Leave out what shows no part as "
                "the others do; if it is most of them, fit the PartAligner on photos like these.",
                UserWarning,
                stacklevel=3,
            )

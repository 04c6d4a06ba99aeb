"""What is noticed of photos while they are read, and told when all of them are."""

from __future__ import annotations

from dataclasses import dataclass, field

from .scales import RangeSeen


@dataclass
class Notes:
    """What was noticed of some photos, wherever they were read.

    Attributes
    ----------
    failures : dict of int to str
        What was wrong with photos that were skipped, by their index.
    range_seen : RangeSeen
    deep : dict of bool to str
        The first photo of over 8 bits that states its range, and the first that does not.
    lost : str or None
        Of which photo the reader at hand had to leave out bits, and which.
    """

    failures: dict[int, str] = field(default_factory=dict)
    range_seen: RangeSeen = field(default_factory=RangeSeen)
    deep: dict[bool, str] = field(default_factory=dict)
    lost: str | None = None

    def absorb(self, other: Notes, first: int) -> None:
        """Take in what was noticed of other photos, which come after these and are counted from ``first``."""
        self.failures |= {first + index: reason for index, reason in other.failures.items()}
        self.range_seen.absorb(other.range_seen)
        self.deep = other.deep | self.deep
        self.lost = self.lost or other.lost

    def explain_mixture(self) -> str | None:
        """Say that photos come at two scales, and which; None if all come at one."""
        if len(self.deep) < 2:
            return None
        return (
            f"{self.deep[True]} states which values are black and white, and {self.deep[False]}, of "
            "over 8 bits too, does not, so that the range of its type counts: one camera would come out "
            "at two scales. Pass value_range, the number of bits or (low, high), for all."
        )

"""Which photos a detector has learned: eight bytes of the content of each, its place, and its path."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..images.copies import as_numbers, explain_copies, explain_scattered_copies
from .groups import GroupLabels, Membership, as_names


@dataclass
class PhotosSeen:
    """The photos learned, in the order in which they came.

    Attributes
    ----------
    contents : bytearray
        Eight bytes of each, equal for equal photos.
    places : array of int64
        Where they are among all photos given, those included that were skipped.
    together : array of int32
        How many photos, itself included, passed the network with each: its rounding depends on that.
    paths : list of str
        As given; empty for what is no file.
    starts : list of int
        The place of the first photo of every call.
    n_given : int
        Photos given so far.
    groups : bytearray
        Eight bytes of each, equal for photos of one group; empty without groups.
    """

    contents: bytearray = field(default_factory=bytearray)
    places: array[int] = field(default_factory=lambda: array("q"))
    together: array[int] = field(default_factory=lambda: array("i"))
    paths: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    n_given: int = 0
    groups: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def nbytes(self) -> int:
        """Bytes that are carried, about."""
        return len(self.contents) + len(self.groups) + 12 * len(self.places) + sum(map(len, self.paths))

    def digests(self) -> NDArray[np.uint64]:
        """Return the contents as numbers, in order."""
        return as_numbers([bytes(self.contents)])

    def copy(self) -> PhotosSeen:
        """Return an independent copy."""
        return replace(
            self,
            contents=self.contents[:],
            places=self.places[:],
            together=self.together[:],
            paths=list(self.paths),
            starts=list(self.starts),
            groups=self.groups[:],
        )

    def begin(self) -> None:
        """Begin a call: the photos that come now are counted from here."""
        self.starts.append(self.n_given)

    def end(self, n_given: int) -> None:
        """End a call of so many photos, those included that were skipped."""
        self.n_given += n_given

    def add(
        self,
        contents: Sequence[bytes],
        places: Sequence[int],
        paths: Sequence[str],
        groups: Sequence[bytes] = (),
    ) -> None:
        """Take in photos that were learned from one batch."""
        self.contents += b"".join(contents)
        self.groups += b"".join(groups)
        self.places.extend(places)
        self.together.extend([len(places)] * len(places))
        self.paths.extend(paths)

    def absorb(self, other: PhotosSeen) -> None:
        """Take in the photos of another part, which come after these."""
        self.contents += other.contents
        self.groups += other.groups
        self.places.extend(place + self.n_given for place in other.places)
        self.together.extend(other.together)
        self.paths.extend(other.paths)
        self.starts.extend(start + self.n_given for start in other.starts)
        self.n_given += other.n_given

    def remove(self, at: Sequence[int]) -> None:
        """Take out photos, by where they are among those learned; the places of the others stay."""
        kept = np.ones(len(self), dtype=bool)
        kept[list(at)] = False
        self.contents = bytearray(self.digests()[kept].tobytes())
        if self.groups:
            self.groups = bytearray(as_names(self.groups)[kept].tobytes())
        self.paths = [path for path, stays in zip(self.paths, kept, strict=True) if stays]
        self.places = array("q", np.array(self.places, dtype=np.int64)[kept].tobytes())
        self.together = array("i", np.array(self.together, dtype=np.int32)[kept].tobytes())

    def find(self, contents: Mapping[int, bytes]) -> tuple[list[tuple[int, int]], list[int]]:
        """Find photos of X among those learned, with all copies of them.

        Parameters
        ----------
        contents : mapping of int to bytes
            Eight bytes of each photo, by its index.

        Returns
        -------
        found : list of (int, int)
            The index of a photo, and where it is among those learned.
        unknown : list of int
            The indices of those that never were.
        """
        index_of = {int(as_numbers([content])[0]): index for index, content in contents.items()}
        digests = self.digests()
        learned = np.flatnonzero(np.isin(digests, np.array([*index_of], dtype=np.uint64)))
        found = [(index_of[int(digests[at])], int(at)) for at in learned]
        known = {int(digest) for digest in digests[learned]}
        unknown = [i for i, content in contents.items() if int(as_numbers([content])[0]) not in known]
        return found, unknown

    def describe(self, at: int) -> str:
        """Name a photo: ``X[3] ('good/003.png')`` of the only call, ``X[3] of call 2`` of several."""
        place = self.places[at]
        call = int(np.searchsorted(self.starts, place, side="right"))
        name = f"X[{place - self.starts[call - 1]}]"
        if self.paths[at]:
            name += f" ({self.paths[at]!r})"
        return name if len(self.starts) < 2 else f"{name} of call {call}"

    def explain_copies(self, since: int) -> str | None:
        """Say how many photos from the ``since``-th on are copies of any before them; None if none is."""
        if self.groups:
            return explain_scattered_copies(self.digests(), as_names(self.groups), self.describe, since)
        return explain_copies(self.digests(), self.describe, since)

    def groups_given(self) -> Membership | None:
        """Return which photos are of one group; None without groups."""
        if not self.groups:
            return None
        return Membership(
            as_names(self.groups),
            np.array(self.places),
            are_copies=False,
            describe=lambda at: f"of {self.describe(at)}",
        )

    def membership(self) -> Membership:
        """Return which photos are of one group, or without groups which are equal."""
        copies = Membership(self.digests(), np.array(self.places), True, self.describe)
        groups = self.groups_given()
        return copies if groups is None else replace(groups, copies=copies)


def refuse_unfit_groups(photos: PhotosSeen, labels: GroupLabels, n_calibration: int) -> None:
    """Raise if the groups of photos that come do not go with those of photos before.

    Raises
    ------
    ValueError
        If only some of all photos have groups, or a group grows larger than the calibration sample.
    """
    if len(photos) and bool(photos.groups) != bool(labels.names):
        had, have = ("with", "without") if photos.groups else ("without", "with")
        raise ValueError(
            f"groups: photos before came {had} groups, and these come {have}. Give groups of all of them, or "
            "of none."
        )
    labels.refuse_growing_beyond(photos.groups, n_calibration)

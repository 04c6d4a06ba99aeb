"""Photos that are left out together: those of a group that is given, or copies of one photo."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError

from ..images.arriving import ArrivingImages
from ..images.collection import Images
from ..kernels.leave_group_out import LeftOut
from ..reservoir import Reservoir

_NAME_BYTES = 8
# Without a group, so many photos must be left: fewer are refused by a fit, too.
_MIN_OTHERS = 3
# A covariance takes so many.
_MIN_OF_COVARIANCE = 2
_MIN_GROUPS = 2


@dataclass(frozen=True)
class Membership:
    """Which of the photos learned belong together.

    Attributes
    ----------
    names : ndarray of shape (n_photos,), uint64
        Equal for photos that belong together.
    places : ndarray of shape (n_photos,), int64
        Where each is among all photos given, ascending.
    are_copies : bool
        Whether those that belong together are equal.
    describe : callable
        Names a group in a message, given where one of its photos is among those learned.
    copies : Membership or None
        Which of the same photos are equal, where these belong to groups; None if nobody looked.
    """

    names: NDArray[np.uint64]
    places: NDArray[np.int64]
    are_copies: bool
    describe: Callable[[int], str]
    copies: Membership | None = None


class LeavingPlan(NamedTuple):
    """Which photos of the sample are scored, and what is left out for each.

    Attributes
    ----------
    groups : list of LeftOut
        Rows as the sample lies; all others are left out one by one.
    order : list of int
        Which row is the first that is scored, the next, and so on, by their places.
    places : list of int
        Ascending.
    n_groups : int or None
        How many of the groups that are given are scored; None if none are given.
    copies : list of LeftOut, or None
        What is left out with a photo where it is left out without its group; None if no groups are given.
    """

    groups: list[LeftOut]
    order: list[int]
    places: list[int]
    n_groups: int | None = None
    copies: list[LeftOut] | None = None


def leave_out(sample: Reservoir, membership: Membership | None) -> LeavingPlan:
    """Decide what is left out for every photo of the calibration sample.

    A group that the sample holds only in part is not scored.

    Parameters
    ----------
    sample : Reservoir
        Drawn by the names of the groups, or of copies.
    membership : Membership or None
        None: each photo by itself.

    Returns
    -------
    LeavingPlan

    Raises
    ------
    NotFittedError
        A ValueError: if too few groups or photos are there, so far.
    ValueError
        If a group is larger than the sample, or the sample holds fewer than two.
    """
    order, places = sample.order(), sample.places()
    if membership is None:
        return LeavingPlan([], order, places)
    at = np.searchsorted(membership.places, places)
    if membership.are_copies:
        return LeavingPlan(_copies(membership, at, order), order, places)
    _, first, group_of, sizes = np.unique(
        membership.names, return_index=True, return_inverse=True, return_counts=True
    )
    name_of_largest = membership.describe(int(first[sizes.argmax()]))
    _refuse_sizes(sizes, name_of_largest, sample.size)
    rows: dict[int, list[int]] = {}
    for row, group in zip(order, group_of[at].tolist(), strict=True):
        rows.setdefault(group, []).append(row)
    whole = {group for group, members in rows.items() if len(members) == sizes[group]}
    _refuse_small_sample(len(whole), sizes, sample.size)
    groups = [LeftOut(tuple(rows[group]), len(rows[group])) for group in sorted(whole) if sizes[group] > 1]
    kept = [place for place, group in enumerate(group_of[at].tolist()) if group in whole]
    copies = [] if membership.copies is None else _copies(membership.copies, at, order)
    return LeavingPlan(
        groups, [order[place] for place in kept], [places[place] for place in kept], len(whole), copies
    )


def _copies(membership: Membership, at: NDArray[np.intp], order: Sequence[int]) -> list[LeftOut]:
    """Return the rows of the sample that have copies, and how many photos each stands for.

    ``at`` tells which of all photos the first row in ``order`` is, and the next.
    """
    _, first, photo_of, sizes = np.unique(
        membership.names, return_index=True, return_inverse=True, return_counts=True
    )
    _refuse_few_others(sizes, membership.describe(int(first[sizes.argmax()])))
    n_alike = sizes[photo_of[at]].tolist()
    return [LeftOut((row,), n) for row, n in zip(order, n_alike, strict=True) if n > 1]


def _refuse_few_others(sizes: NDArray[np.intp], name: str) -> None:
    n_images, n_copies = int(sizes.sum()), int(sizes.max())
    if n_copies > 1 and n_images - n_copies < _MIN_OF_COVARIANCE:
        raise NotFittedError(
            f"X holds {n_copies} copies of {name} among {n_images} images: they are left "
            f"out together, and at least {_MIN_OF_COVARIANCE} others are needed for a covariance. Pass "
            "images that differ."
        )


def _refuse_sizes(sizes: NDArray[np.intp], largest: str, n_calibration: int) -> None:
    n_images, n_largest = int(sizes.sum()), int(sizes.max())
    if len(sizes) < _MIN_GROUPS:
        raise NotFittedError(
            f"groups: all {n_images} images are of one group, {largest}; leaving it out leaves none. Pass "
            "labels of at least two groups, or none."
        )
    if n_images - n_largest < _MIN_OTHERS:
        raise NotFittedError(
            f"groups: without the {n_largest} images of the group {largest}, {n_images - n_largest} are "
            f"left, and at least {_MIN_OTHERS} are needed. Pass more images of other groups."
        )
    if n_largest > n_calibration:
        raise ValueError(
            f"groups: the group {largest} has {n_largest} images, and n_calibration={n_calibration} are left "
            f"out together at most. Raise n_calibration to {n_largest} or more, or divide the group."
        )


def _refuse_small_sample(n_whole: int, sizes: NDArray[np.intp], n_calibration: int) -> None:
    if n_whole < _MIN_GROUPS:
        two_largest = int(np.sort(sizes)[-_MIN_GROUPS:].sum())
        raise ValueError(
            f"groups: n_calibration={n_calibration} images hold {n_whole} whole group(s) of {len(sizes)}, "
            f"and a threshold takes at least {_MIN_GROUPS}. Raise n_calibration to {two_largest} or more."
        )


class GroupLabels(NamedTuple):
    """The groups of the images of a call.

    Attributes
    ----------
    names : list of bytes
        Eight of each image, equal for equal labels; empty without groups.
    texts : list of str
        The labels.
    """

    names: list[bytes]
    texts: list[str]

    def refuse_unfit(self, n_calibration: int, seed: int) -> None:
        """Raise, before any image is looked at, what :func:`leave_out` would raise after all were learned."""
        if self.names:
            sample = Reservoir(n_calibration, seed)
            sample.add([], range(len(self.names)), self.names)
            try:
                leave_out(sample, self.membership())
            except NotFittedError as error:  # In a fit no more images come.
                raise ValueError(str(error)) from None

    def largest(self, names: bytes | bytearray = b"") -> int:
        """Return how many images the largest group has, those with other names included; 1 without groups."""
        counts = Counter(as_names(b"".join(self.names)).tolist()) + Counter(as_names(names).tolist())
        return max(counts.values(), default=1)

    def membership(self) -> Membership | None:
        """Return which images belong together, all of them learned; None without groups."""
        if not self.names:
            return None
        return Membership(
            as_names(b"".join(self.names)),
            np.arange(len(self.names)),
            are_copies=False,
            describe=lambda at: repr(self.texts[at]),
        )

    def refuse_growing_beyond(self, names: bytes | bytearray, n_calibration: int) -> None:
        """Raise if these images, added to those with other names, make a group larger than the sample."""
        counts = Counter(self.names)
        before = Counter(as_names(names).tolist())
        for name, text in zip(self.names, self.texts, strict=True):
            n_images = counts[name] + before[int(as_names(name)[0])]
            if n_images > n_calibration:
                raise ValueError(
                    f"groups: the group {text!r} has {n_images} images by now, and "
                    f"n_calibration={n_calibration} are left out together at most. Divide the group, or "
                    "begin anew with a larger n_calibration."
                )


def check_groups(groups: Any, n_images: int) -> GroupLabels:
    """Return the groups of images.

    Parameters
    ----------
    groups : array-like of shape (n_images,) or None
        Labels: numbers, words, dates. None: there are no groups.
    n_images : int

    Returns
    -------
    GroupLabels

    Raises
    ------
    ValueError
        If it is no such array, or a label is missing.
    """
    if groups is None:
        return GroupLabels([], [])
    try:
        labels = np.asarray(groups)
    except ValueError as error:
        raise ValueError(f"groups is no array of labels, one per image: {error}") from None
    if labels.ndim != 1 or len(labels) != n_images:
        raise ValueError(
            f"groups has the shape {labels.shape}, and X {n_images} image(s): pass one label per image, in "
            "the same order."
        )
    # In an array of words a NaN of the list would be a word.
    for place, label in enumerate(groups if isinstance(groups, Sequence) else labels):
        if _is_missing(label):
            raise ValueError(
                f"groups[{place}] is {label!r}: every image needs a label. Give images of which nobody knows "
                "the group a label of their own each, or leave them out."
            )
    texts = [_text(label) for label in labels]
    return GroupLabels([_name(text) for text in texts], texts)


def label(images: Images | ArrivingImages, groups: Any) -> GroupLabels:
    """Tell images the groups that they belong to, and return these; see :func:`check_groups`.

    Raises
    ------
    ValueError
        Also if nobody knows how many images will come.
    """
    if isinstance(images, Images):
        labels = check_groups(groups, len(images))
        images.groups = labels.names
        return labels
    if groups is not None:
        raise ValueError(
            "groups are labels of images that can be counted, and X is an iterator or a bag. Pass a list of "
            "paths or a PhotoLoader."
        )
    return GroupLabels([], [])


def as_names(joined: bytes | bytearray) -> NDArray[np.uint64]:
    """Return names of eight bytes each as numbers."""
    return np.frombuffer(bytes(joined), dtype="<u8")


def names_of(groups: Sequence[bytes], indices: Iterable[int]) -> list[bytes]:
    """Return the names of the groups of some images; none of images that are in none."""
    return [groups[index] for index in indices] if groups else []


def _is_missing(label: Any) -> bool:
    if label is None:
        return True
    try:
        return bool(label != label)
    except (TypeError, ValueError):  # As of pandas.NA, which is neither true nor false.
        return True


def _text(label: Any) -> str:
    """Return a label as text; 3.0 as 3, which a column of numbers is as soon as it lacks one."""
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return str(int(label))
    return str(label)


def _name(text: str) -> bytes:
    content = text.encode("utf-8", "surrogateescape")
    return hashlib.sha256(content, usedforsecurity=False).digest()[:_NAME_BYTES]

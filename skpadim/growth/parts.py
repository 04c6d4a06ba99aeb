"""Photos learned in parts, each by a worker, and merged in an order that nobody's speed decides."""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..images.collection import Images
from ..images.notes import Notes
from ..parallel.tasks import run_tasks
from .files import Arrays, pack, unpack
from .groups import names_of
from .growth import Growth, paths_of

if TYPE_CHECKING:
    from .detectors import Steps


@dataclass(frozen=True)
class Part:
    """Photos to learn.

    Attributes
    ----------
    images : Images
    last_key : int or None
        Of the calibration sample: features of photos of larger keys are not wanted.
    """

    images: Images
    last_key: int | None


def learn_part(shared: tuple[Steps, Growth], part: Part) -> tuple[Arrays, Notes]:
    """Return what is learned of a part, packed, and what was noticed of its photos.

    Parameters
    ----------
    shared : (Steps, Growth)
        Features and channels fitted, and the growth of no photo.
    part : Part
    """
    (steps, empty), images = shared, part.images
    growth = empty.copy()
    for batch in steps.features.stream(images, steps.kept(), measure=True):
        growth.add(batch, paths_of(images, batch.indices), names_of(images.groups, batch.indices))
        if part.last_key is not None and growth.patches is not None:
            growth.patches.sample.leave_out_beyond(part.last_key)
    growth.end(len(images), images.failures)
    return pack(growth), images.notes


@dataclass
class Learned:
    """What was learned of consecutive parts, and noticed."""

    growth: Growth
    notes: Notes

    def copy(self) -> Learned:
        """Return one that shares nothing with this."""
        return Learned(self.growth.copy(), copy.deepcopy(self.notes))

    def absorb(self, other: Learned) -> None:
        """Take in what was learned of the parts that follow."""
        self.notes.absorb(other.notes, self.growth.photos.n_given)
        self.growth.absorb(other.growth)


class Tree:
    """Merges what was learned of numbered parts, in pairs of pairs, whichever come first.

    Rounding is thus the same in every run. What waits for its neighbour is kept: one of every height, and
    beside it what came before its turn.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, int], Learned] = {}  # by height and place
        #: The largest key that a photo in the calibration sample of all parts may have, as far as is known.
        self.last_key: int | None = None

    def add(self, number: int, learned: Learned) -> None:
        """Take in what was learned of a part."""
        height = 0
        while (height, number ^ 1) in self._waiting:
            other = self._waiting.pop((height, number ^ 1))
            left, right = (other, learned) if number & 1 else (learned, other)
            left.absorb(right)
            height, number, learned = height + 1, number >> 1, left
        self._waiting[height, number] = learned
        found = None if learned.growth.patches is None else learned.growth.patches.sample.last_key
        if found is not None:
            self.last_key = found if self.last_key is None else min(found, self.last_key)

    def join(self, *, keep: bool = False) -> Learned | None:
        """Return what was learned of all parts up to the first that never came; None if none came.

        Parameters
        ----------
        keep : bool, default=False
            Whether more parts may come, and what waits for them is left as it is.
        """
        whole, n_joined = None, 0
        for height, place in sorted(self._waiting, key=lambda node: node[1] << node[0]):
            if place << height != n_joined:
                break
            learned = self._waiting[height, place]
            n_joined += 1 << height
            if whole is None:
                whole = learned.copy() if keep else learned
            else:
                whole.absorb(learned)
        return whole


def learn_parts(
    shared: tuple[Steps, Growth], parts: Iterable[Images], n_jobs: int, device: torch.device, tree: Tree
) -> Generator[int]:
    """Learn parts over joblib's active backend, and yield the number of photos of each as it is done.

    Parameters
    ----------
    shared : (Steps, Growth)
        See `learn_part`.
    parts : iterable of Images
    n_jobs : int
    device : torch.device
        Where what is learned is merged.
    tree : Tree
        It takes what is learned.
    """
    # What a part need not send, as others have it, is known better the later a part begins.
    begun = (Part(images, tree.last_key) for images in parts)
    for number, (arrays, notes) in run_tasks(learn_part, shared, begun, n_jobs):
        growth = unpack(arrays, device)
        tree.add(number, Learned(growth, notes))
        yield growth.photos.n_given

"""A fit that was killed goes on from its last checkpoint, and gives the same detector."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..images.arriving import ArrivingImages
from ..images.collection import Images
from ..images.copies import pixel_digests
from ..images.digests import digest
from ..images.notes import Notes
from .files import Arrays, number, of_texts, pack, read, reasons_of, texts, unpack, write_arrays
from .growth import Growth
from .identity import identity, refuse_others

if TYPE_CHECKING:
    import torch

    from .detectors import Steps
    from .parts import Tree

_FILE = "checkpoint.npz"
_DAMAGED = "Expected a checkpoint: delete the file to begin anew, or pass another folder."
_WAY_OUT = "Pass the photos and parameters of that fit, or another folder, or delete the file to begin anew."


class Checkpoints:
    """What a fit has learned so far, written every so many batches into a folder.

    Parameters
    ----------
    folder : str, path or None
        None: nothing is written, and nothing is read.
    every : int
        Batches between two checkpoints.
    steps : Steps
    images : Images or ArrivingImages
        Those of the fit. Of the latter there are no checkpoints.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None,
        every: int,
        steps: Steps,
        images: Images | ArrivingImages,
    ) -> None:
        if folder is not None and not isinstance(images, Images):
            raise ValueError(
                "checkpoint wants photos that can be passed again, and X is read only once: pass a list of "
                "paths or a PhotoLoader, or checkpoint=None."
            )
        self._path = None if folder is None else _file_in(folder)
        self._every = every
        self._steps = steps
        photos: Any = images
        self._images = photos
        self._of_photos = "" if folder is None else _names(photos)
        self._n_before = 0
        self._start = 0
        self._n_batches = 0

    def resume(self, growth: Growth, device: torch.device) -> int:
        """Take what an earlier fit on these photos has learned into a growth; return of how many photos.

        Parameters
        ----------
        growth : Growth
            What was learned before this fit. It is changed only if there is a checkpoint.
        device : torch.device

        Returns
        -------
        int
            0 without a checkpoint.

        Raises
        ------
        ValueError
            If the checkpoint is damaged, of other photos or parameters, or of the other of ``fit`` and
            ``partial_fit``.
        """
        self._n_before = growth.photos.n_given
        if self._path is None or not self._path.is_file():
            growth.begin()
            return 0
        name = f"the checkpoint {str(self._path)!r}"
        saved, progress = read(self._path, partial(_take, device=device), _DAMAGED)
        refuse_others([identity(self._steps), saved.identity], ["this fit", name])
        if saved.spare != growth.spare:
            mine, other = ("fit", "partial_fit") if saved.spare else ("partial_fit", "fit")
            raise ValueError(
                f"{name} was written by {other}, and {mine} cannot go on from it: they keep other photos. "
                f"Call {other}, or pass another folder, or delete the file to begin anew."
            )
        same = (
            progress.of_photos == self._of_photos
            and progress.n_before == self._n_before
            and saved.photos.contents.startswith(growth.photos.contents)
            and progress.n_done <= len(self._images)
            and self._holds_same(saved)
        )
        if not same:
            raise ValueError(f"{name} is of a fit on other photos or groups. {_WAY_OUT}")
        self._start = progress.n_done
        self._images.failures.update(progress.failures)
        growth.become(saved)
        return progress.n_done

    def after_batch(self, growth: Growth, indices: Sequence[int]) -> None:
        """Write a checkpoint if it is time for one.

        Parameters
        ----------
        growth : Growth
            What was learned up to this batch.
        indices : sequence of int
            The photos of the batch, without those that could not be read.
        """
        self._n_batches += 1
        size, n_images = self._steps.features.images_at_a_time, len(self._images)
        n_batches = (indices[-1] - self._start) // size + 1
        n_done = min(self._start + n_batches * size, n_images)
        if self._path is not None and (n_done == n_images or self._n_batches % self._every == 0):
            write_arrays(pack(growth) | self._progress(n_done), self._path)

    def after_part(self, growth: Growth, tree: Tree, n_batches: int) -> None:
        """Write a checkpoint if it is time for one, where parts of the photos come in any order.

        Parameters
        ----------
        growth : Growth
            What was learned before them.
        tree : Tree
            What was learned of parts, of which all up to the first that is lacking are written.
        n_batches : int
            In the part that came last.
        """
        if self._path is None:
            return
        self._n_batches += n_batches
        if self._n_batches < self._every:
            return
        learned = tree.join(keep=True)
        if learned is None:
            return
        self._n_batches = 0
        n_done = self._start + learned.growth.photos.n_given
        self._images.notes.absorb(Notes(failures=learned.notes.failures), self._start)
        whole = growth.copy()
        whole.end(self._start, {})
        whole.absorb(learned.growth)
        whole.skipped = dict(growth.skipped)
        # As if photos were still to come, as those of a batch in the middle.
        whole.photos.n_given = self._n_before
        write_arrays(pack(whole) | self._progress(n_done), self._path)

    def finish(self) -> None:
        """Remove the checkpoint of a fit that has ended well."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _progress(self, n_done: int) -> Arrays:
        failures = self._images.failures
        return {
            "of_photos": of_texts([self._of_photos]),
            "n_before": np.array(self._n_before),
            "n_done": np.array(n_done),
            "failures": np.array([*failures], dtype=np.int64),
            "failure_reasons": of_texts([*failures.values()]),
        }

    def _holds_same(self, saved: Growth) -> bool:
        """Look whether photos learned still are what they were: of files the first ones and the last."""
        learned = {
            place - self._n_before: bytes(saved.photos.contents[8 * at : 8 * at + 8])
            for at, place in enumerate(saved.photos.places)
            if place >= self._n_before
        }
        indices = sorted(learned)
        size = self._steps.features.images_at_a_time
        ends = {*indices[:size], *indices[-size:]}
        # Files are told by their paths, too; of anything else there is nothing but the pixels.
        looked_at = [index for index in indices if index in ends or self._images.path(index) is None]
        n_same = 0
        for batch in self._steps.features.batches(self._images, only=looked_at) if looked_at else ():
            found = zip(batch.indices, pixel_digests(batch.pixels), strict=True)
            if any(learned[index] != content for index, content in found):
                return False
            n_same += len(batch)
        # Those that can no longer be read are in no batch.
        return n_same == len(looked_at)


class _Progress(NamedTuple):
    """How far a fit was, and on which photos."""

    of_photos: str
    n_before: int
    n_done: int
    failures: dict[int, str]

    @classmethod
    def of(cls, arrays: Arrays, saved: Growth) -> _Progress:
        """Return that of a checkpoint."""
        progress = cls(
            texts(arrays, "of_photos", 1)[0],
            number(arrays, "n_before"),
            number(arrays, "n_done"),
            reasons_of(arrays, "failures", "failure_reasons"),
        )
        if any(place >= progress.n_before + progress.n_done for place in saved.photos.places[-1:]):
            raise ValueError("has photos beyond those that it says were done")
        return progress


def _take(arrays: Arrays, device: torch.device) -> tuple[Growth, _Progress]:
    if "format" in arrays and "n_done" not in arrays:
        raise ValueError("is no checkpoint; a file that save_growth wrote is loaded by load_growth")
    saved = unpack(arrays, device)
    return saved, _Progress.of(arrays, saved)


def _names(images: Images) -> str:
    """Return a digest of how many photos there are, of their paths, and of their groups."""
    paths = (images.path(index) for index in range(len(images)))
    return digest(len(images), *paths, b"".join(images.groups))


def _file_in(folder: str | os.PathLike[str]) -> Path:
    """Make the folder, and clear away what a killed fit has left unfinished there."""
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise ValueError(f"checkpoint={str(folder)!r} is a file; expected a folder, which is made if absent.")
    path.mkdir(parents=True, exist_ok=True)
    for unfinished in path.glob(f".{_FILE}.*"):
        unfinished.unlink(missing_ok=True)
    return path / _FILE


def refuse_unrepeatable(random_state: Any) -> None:
    """Raise if a fit that goes on would draw other channels than the one that was killed."""
    if not isinstance(random_state, int | np.integer):
        raise ValueError(
            f"checkpoint needs a random_state that is an int, got {random_state!r}: a fit that goes on must "
            "draw the channels of the one that was killed."
        )

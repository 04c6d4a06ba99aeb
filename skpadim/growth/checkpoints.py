"""A fit that was killed goes on from its last checkpoint, and gives the same detector."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..images.arriving import ArrivingImages
from ..images.collection import Images
from ..images.copies import pixel_digests
from ..images.digests import digest
from ..images.notes import Notes
from .files import Arrays, of_texts, pack, read_arrays, texts_of, unpack, write_arrays
from .growth import Growth
from .identity import identity, refuse_others

if TYPE_CHECKING:
    import torch

    from .detectors import Steps
    from .parts import Tree

_FILE = "checkpoint.npz"
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
            If the checkpoint is damaged, or of other photos or parameters.
        """
        self._n_before = growth.photos.n_given
        if self._path is None or not self._path.is_file():
            growth.begin()
            return 0
        arrays = read_arrays(self._path)
        saved = unpack(arrays, device)
        kinds = [identity(self._steps), saved.identity]
        refuse_others(kinds, ["this fit", f"the checkpoint {str(self._path)!r}"])
        n_done = int(arrays["n_done"])
        same = (
            texts_of(arrays["of_photos"]) == [self._of_photos]
            and int(arrays["n_before"]) == self._n_before
            and saved.photos.contents.startswith(growth.photos.contents)
            and self._holds_same(saved, n_done)
        )
        if not same:
            raise ValueError(
                f"the checkpoint {str(self._path)!r} is of a fit on other photos or groups. {_WAY_OUT}"
            )
        self._start = n_done
        failures = zip(arrays["failures"].tolist(), texts_of(arrays["failure_reasons"]), strict=True)
        self._images.failures.update(failures)
        growth.become(saved)
        return n_done

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

    def _holds_same(self, saved: Growth, n_done: int) -> bool:
        """Look whether some of the photos learned still are what they were: the first ones and the last."""
        learned = {
            place - self._n_before: bytes(saved.photos.contents[8 * at : 8 * at + 8])
            for at, place in enumerate(saved.photos.places)
            if place >= self._n_before
        }
        indices = sorted(learned)
        size = self._steps.features.images_at_a_time
        looked_at = sorted({*indices[:size], *indices[-size:]})
        return n_done <= len(self._images) and _contents(self._steps, self._images, looked_at) == [
            learned[index] for index in looked_at
        ]


def _contents(steps: Steps, images: Images, indices: Sequence[int]) -> list[bytes]:
    batches = steps.features.batches(images, only=indices) if indices else []
    return [content for batch in batches for content in pixel_digests(batch.pixels)]


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

"""Photos judged here, or in parts by workers, each of which has all that it takes at hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .images.collection import Images
from .images.notes import Notes
from .inspection import Inspection, Request, inspect_photos
from .parallel.partition import part_size
from .parallel.tasks import run_tasks

if TYPE_CHECKING:
    from .features import CNNFeatureTransformer
    from .gaussian import PatchGaussian

# Maps of more photos than this are much to send at once.
_MOST_PHOTOS = 256


@dataclass(frozen=True)
class Judge:
    """What it takes to judge photos.

    Attributes
    ----------
    features : CNNFeatureTransformer
        Fitted.
    kept : list of ndarray
        The channels of every layer that count.
    gaussian : PatchGaussian
        Fitted.
    """

    features: CNNFeatureTransformer
    kept: list[NDArray[Any]]
    gaussian: PatchGaussian

    def values(self, images: Images, what: str) -> Iterator[tuple[Sequence[int], Tensor]]:
        """Yield which images are in a batch, and what is computed of them.

        Parameters
        ----------
        images : Images
        what : {"image_scores", "maps", "mark"}
            A method of the Gaussian, which takes distances.
        """
        compute = getattr(self.gaussian, what)
        for batch in self.features.stream(images, self.kept):
            found = compute(self.gaussian.distances(batch.levels), batch.hidden())
            assert batch.placed is not None
            yield batch.indices, found if what == "image_scores" else batch.placed.as_they_lie(found)

    def inspections(self, images: Images, request: Request) -> Iterator[Inspection]:
        """Yield what is found of each image, in one pass."""
        batches = self.features.stream(images, self.kept, measure=request.check is not None)
        return inspect_photos(images, batches, self.gaussian, request)

    def values_by(self, n_jobs: int, images: Images, what: str) -> Iterator[tuple[Sequence[int], Tensor]]:
        """Yield what `values` does, computed by so many jobs over joblib's active backend."""
        if n_jobs == 1:
            yield from self.values(images, what)
            return
        size = self._part_size(images)
        tasks = ((part, what) for part in images.parts(size))
        for number, (found, notes) in sorted(run_tasks(_values_of_part, self, tasks, n_jobs), key=_number):
            images.notes.absorb(notes, number * size)
            for indices, values in found:
                # Ray hands out arrays of its store, which nobody may write to.
                own = np.require(values, requirements=["W"])
                yield [number * size + index for index in indices], torch.from_numpy(own)
        images.warn_of_lost_bits()

    def inspections_by(self, n_jobs: int, images: Images, request: Request) -> Iterator[Inspection]:
        """Yield what `inspections` does, found by so many jobs; no more photos are begun than are near."""
        if n_jobs == 1:
            yield from self.inspections(images, request)
            return
        size = self._part_size(images)
        tasks = ((part, request) for part in images.parts(size))
        for number, (found, notes) in run_tasks(_inspect_part, self, tasks, n_jobs, in_rounds=True):
            images.notes.absorb(notes, number * size)
            yield from found
        images.warn_of_lost_bits()
        images.warn_of_failures()

    def _part_size(self, images: Images) -> int:
        return part_size(len(images), self.features.images_at_a_time, _MOST_PHOTOS)


def _values_of_part(
    judge: Judge, task: tuple[Images, str]
) -> tuple[list[tuple[list[int], NDArray[Any]]], Notes]:
    images, what = task
    found = [(list(indices), values.cpu().numpy()) for indices, values in judge.values(images, what)]
    return found, images.notes


def _inspect_part(judge: Judge, task: tuple[Images, Request]) -> tuple[list[Inspection], Notes]:
    images, request = task
    return list(judge.inspections(images, request)), images.notes


def _number(numbered: tuple[int, object]) -> int:
    return numbered[0]

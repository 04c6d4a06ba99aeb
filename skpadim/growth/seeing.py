"""Photos that pass the network and are taken into a growth: here, or in parts by workers."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from ..base.callbacks import report_batches
from ..base.devices import resolve_device
from ..images.arriving import ArrivingImages
from ..images.collection import Images
from ..parallel.partition import part_size
from ..parallel.tasks import jobs_at_hand
from ..stream import FeatureBatch
from .checkpoints import Checkpoints, refuse_unrepeatable
from .groups import names_of
from .growth import Growth, paths_of
from .parts import Tree, learn_parts

if TYPE_CHECKING:
    from .detectors import Steps


def see(detector: Any, steps: Steps, growth: Growth, images: Images | ArrivingImages, X: Any) -> Checkpoints:
    """Take photos into a growth, by as many jobs as the detector says, and warn of what could not be read.

    Parameters
    ----------
    detector : PaDiMDetector
        Its callbacks see batches begin and end, or parts where there are several jobs.
    steps : Steps
        Features and channels fitted.
    growth : Growth
        It is changed.
    images : Images or ArrivingImages
    X : object
        What they came from.

    Returns
    -------
    Checkpoints
        To be finished when all has gone well.

    Raises
    ------
    ValueError
        Also if X, which is read only once, turns out to be empty.
    """
    if detector.checkpoint is not None:
        refuse_unrepeatable(detector.random_state)
    n_jobs = jobs_at_hand(detector.n_jobs)
    checkpoints = Checkpoints(detector.checkpoint, detector.checkpoint_every, steps, images)
    start = checkpoints.resume(growth, resolve_device(detector.device))
    if n_jobs > 1:
        _see_elsewhere(detector, steps, growth, images, X, n_jobs, checkpoints, start)
    elif isinstance(images, Images):
        _see_here(detector, steps, growth, images, X, checkpoints, start)
    else:
        _see_arriving(detector, steps, growth, images, X)
    if not images.n_given:
        raise ValueError("Found n_samples=0 image(s) in X, at least 1 are needed.")
    images.warn_of_lost_bits()
    images.warn_of_failures()
    images.warn_of_astray()
    return checkpoints


def _see_here(
    detector: Any,
    steps: Steps,
    growth: Growth,
    images: Images,
    X: Any,
    checkpoints: Checkpoints,
    start: int,
) -> None:
    n_batches = -(-(len(images) - start) // steps.features.images_at_a_time)
    batches = steps.features.stream(images, steps.kept(), measure=True, start=start)
    for batch in report_batches(detector, batches, n_batches, X):
        growth.add(batch, paths_of(images, batch.indices), names_of(images.groups, batch.indices))
        checkpoints.after_batch(growth, batch.indices)
    growth.end(len(images), images.failures)


def _see_arriving(detector: Any, steps: Steps, growth: Growth, images: ArrivingImages, X: Any) -> None:
    stream = _arriving(steps, growth, images, part_size(None, steps.features.images_at_a_time))
    for part, batch in report_batches(detector, stream, None, X):
        growth.add(batch, paths_of(part, batch.indices))
    stream.close()


def _arriving(
    steps: Steps, growth: Growth, images: ArrivingImages, size: int
) -> Generator[tuple[Images, FeatureBatch]]:
    """Yield the features of photos, and end each part of them: with its last photo, or if nobody goes on."""
    for part in images.parts(size):
        try:
            for batch in steps.features.stream(part, steps.kept(), measure=True):
                yield part, batch
        finally:
            images.notes.absorb(part.notes, part.first)
            growth.end(len(part), part.failures)


def _see_elsewhere(
    detector: Any,
    steps: Steps,
    growth: Growth,
    images: Images | ArrivingImages,
    X: Any,
    n_jobs: int,
    checkpoints: Checkpoints,
    start: int,
) -> None:
    n_images = len(images) if isinstance(images, Images) else None
    size, tree = part_size(n_images, steps.features.images_at_a_time), Tree()
    n_parts = None if n_images is None else -(-(n_images - start) // size)
    parts = images.parts(size, start) if isinstance(images, Images) else images.parts(size)
    empty = Growth(growth.n_calibration, growth.seed, growth.identity, spare=growth.spare)
    done = learn_parts((steps, empty), parts, n_jobs, resolve_device(detector.device), tree)
    for n_photos in report_batches(detector, done, n_parts, X, "part"):
        checkpoints.after_part(growth, tree, -(-n_photos // steps.features.images_at_a_time))
    done.close()
    # What a checkpoint had comes first.
    growth.end(start, images.failures)
    learned = tree.join()
    if learned is not None:
        images.notes.absorb(learned.notes, start)
        growth.absorb(learned.growth)

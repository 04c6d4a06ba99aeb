"""A detector that grows: photos that come every day, and parts that are merged."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context, clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..base.callbacks import with_callbacks
from ..base.checks import warn_of_defective
from ..base.devices import resolve_device
from ..base.randomness import draw_seed
from ..base.state import rolls_back
from ..images.arriving import ArrivingImages, as_arriving
from ..images.collection import Images
from ..images.copies import pixel_digests
from ..images.ignore import warn_of_aligned_aspect, warn_of_aspect
from .estimators import Growing, GrowingEstimator
from .factors import resolve_epsilon
from .forgetting import Leaving, find_learned, take_out_photos
from .groups import label
from .growth import SPARE, Growth, refuse_not_finite
from .identity import identity, refuse_others
from .on_demand import OnDemand, carried
from .parameters import refuse_fixed, refuse_other_parameters
from .photos import PhotosSeen, refuse_unfit_groups
from .seeing import see

if TYPE_CHECKING:
    from ..channels import RandomChannelSelector
    from ..features import CNNFeatureTransformer
    from ..gaussian import PatchGaussian

#: Parameters that decide nothing of what is accumulated.
FREE = {
    "batch_size",
    "checkpoint",
    "checkpoint_every",
    "device",
    "false_alarm_rate",
    "memory",
    "n_decoders",
    "n_jobs",
    "on_error",
}


class Steps(NamedTuple):
    """The steps of a detector; the last is not fitted before somebody asks for it."""

    features: CNNFeatureTransformer
    channels: RandomChannelSelector
    gaussian: PatchGaussian

    def kept(self) -> list[NDArray[np.int64]]:
        """Return the channels that are kept of every layer."""
        return self.channels.by_layer([shape[0] for shape in self.features.level_shapes_])


def new_growth(steps: Steps, spare: int = 0) -> Growth:
    """Return the growth of no photo.

    Parameters
    ----------
    steps : Steps
        Features and channels fitted.
    spare : int, default=0
        Photos to keep beside the calibration sample.

    Returns
    -------
    Growth
    """
    gaussian = steps.gaussian
    return Growth(gaussian.n_calibration, draw_seed(gaussian.random_state), identity(steps), spare=spare)


class GrowingDetector(GrowingEstimator):
    """``partial_fit`` of :class:`skpadim.PaDiMDetector`, and what belongs to it."""

    pipeline_: Pipeline = OnDemand()
    photo_statistics_: NDArray[np.float64] = OnDemand()  # type: ignore[assignment]
    loo_indices_: NDArray[np.int64] = OnDemand()  # type: ignore[assignment]

    @_fit_context(prefer_skip_nested_validation=True)
    @rolls_back
    @with_callbacks
    def partial_fit(self: Any, X: Any, y: object = None, groups: ArrayLike | None = None) -> Any:
        """Learn from more photos: after any number of calls all is as after one ``fit`` on all photos.

        A call costs what its own photos cost, however many came before. The factors are computed when
        something is asked for that needs them, from three photos on, and the threshold is then that of
        ``false_alarm_rate``, whatever :meth:`set_threshold` said before.

        Parameters
        ----------
        X : images
            See :meth:`fit`; at least one.
        y : object
            As for :meth:`fit`.
        groups : array-like of shape (n_images,), optional
            As for :meth:`fit`, in all calls or in none. The same label in another call is the same group.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As :meth:`fit`; if parameters are others than in the first call; or if the detector carries
            nothing to go on from, as after :meth:`fit` and :meth:`freeze`. It is left as it was.
        """
        self._validate_params()
        refuse_fixed(self)
        before = carried(self)
        if before is None:
            steps = self._make_steps()
        else:
            self._refuse_other_parameters(before.parameters)
            steps = before.fitted
            self._refresh(steps)
        images = self._given(steps, X, y)
        seen = PhotosSeen() if before is None else before.growth.photos
        labels = label(images, groups)
        refuse_unfit_groups(seen, labels, self.n_calibration)
        if before is None:
            self._fit_network(steps, images)
        growth = new_growth(steps, SPARE) if before is None else before.growth.copy()
        largest = labels.largest(seen.groups)
        self._check_room(steps, images, growth.n_images, SPARE, largest_group=largest)
        since = len(growth.photos)
        checkpoints = see(self, steps, growth, images, X)
        refuse_not_finite(growth)
        parameters = self.get_params(deep=False) if before is None else before.parameters
        self._carry(Growing(parameters, growth, steps))
        self.skipped_ = dict(growth.skipped)
        warn_of_photos(images, growth, since)
        checkpoints.finish()
        return self

    @rolls_back
    def forget(self: Any, X: Any) -> Any:
        """Take photos out again that turned out bad: what is left is as if they had never been learned.

        A photo that was learned more than once goes altogether. Scores are those of a fit on the photos left
        to about 1e-6, as far as the network gives features again as it gave them. ``loo_indices_`` go on
        counting all photos that were given.

        Parameters
        ----------
        X : images
            Photos that were learned by :meth:`partial_fit`, with the same pixels.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If one was never learned; the message names it. If fewer than three photos would be left, digits
            would be lost to rounding, or nothing is carried. The detector is left as it was.
        """
        refuse_fixed(self)
        check_is_fitted(self)
        growing = carried(self)
        steps: Steps = growing.fitted
        self._refresh(steps)
        images = steps.features.images(X, on_error=self.on_error)
        found = find_learned(growing.growth.photos, _contents(steps, images), images.describe)
        images.warn_of_failures()
        leaving = _features_again(steps, images, found, growing.growth.photos)
        left = take_out_photos(growing.growth, leaving, partial(resolve_epsilon, steps.gaussian.epsilon))
        self._carry(Growing(growing.parameters, left, steps))
        return self

    def _refresh(self: Any, steps: Steps) -> None:
        """Take parameters that decide no result, which may have changed."""
        steps.features.set_params(batch_size=self.batch_size, n_decoders=self.n_decoders, memory=self.memory)

    @rolls_back
    def _resume(self: Any, load: Callable[[torch.device], Growth]) -> None:
        """Take the growth of a file; the network comes from what is fitted, or else from the parameters."""
        growth, growing = load(resolve_device(self.device)), carried(self)
        if growing is not None:
            self._refuse_other_parameters(growing.parameters)
            steps = growing.fitted
        elif "pipeline_" in vars(self):
            steps = Steps(*self._fitted_steps())
            self._refuse_other_steps(steps)
        else:
            steps = self._make_steps()
            self._fit_network(steps, None)
            steps.features.take_sizes(growth.sizes())
        refuse_others([identity(steps), growth.identity], ["this detector", "the file"])
        self._carry(Growing(self.get_params(deep=False), growth, steps))
        self.skipped_ = dict(growth.skipped)

    def _refuse_other_parameters(self: Any, before: Mapping[str, Any]) -> None:
        # What was learned by an earlier version lacks parameters that came since.
        refuse_other_parameters(self._defaults() | before, self.get_params(deep=False), free=FREE)

    def _refuse_other_steps(self: Any, fitted: Steps) -> None:
        """Raise if the fitted steps have others than the parameters; seeds are compared with the file's."""
        made: Any
        step: Any
        for step, made in zip(fitted, self._make_steps(), strict=True):
            before, now = step.get_params(deep=False), made.get_params(deep=False)
            refuse_other_parameters(before, now, free=FREE | {"random_state"})

    def _given(self: Any, steps: Steps, X: Any, y: object, min_images: int = 1) -> Images | ArrivingImages:
        """Return the photos to learn, none of which is decoded."""
        arriving = as_arriving(X, self.value_range, on_error=self.on_error)
        if arriving is not None:
            return arriving
        images = steps.features.images(X, min_images=min_images, on_error=self.on_error)
        warn_of_defective(y, len(images))
        return images

    def _fit_network(self, steps: Steps, images: Images | ArrivingImages | None) -> None:
        """Build the network, learn where parts lie on photos, and draw the channels."""
        steps.features.build().learn_places(images)
        self._draw_channels(steps)

    def _draw_channels(self, steps: Steps) -> None:
        n_channels = [shape[0] for shape in steps.features.level_shapes_]
        steps.channels.fit_layers(steps.features.layer_names_, n_channels)

    @rolls_back
    def _catch_up(self: Any) -> None:
        """Compute what was learned, as far as that is lacking."""
        if "pipeline_" not in vars(self):
            growing = self._growing
            steps: Steps = growing.fitted
            gaussian = clone(steps.gaussian).set_params(false_alarm_rate=self.false_alarm_rate)
            self._learn(steps._replace(gaussian=gaussian), growing.growth, keep=True)

    def _learn(self: Any, steps: Steps, growth: Growth, *, keep: bool) -> None:
        """Set all that is learned; the moments may go while it is laid out."""
        features, channels, gaussian = steps
        membership = growth.photos.membership()
        try:
            calibration = gaussian.learn(growth.patches, features.input_size_, features.ignored_, membership)
        except NotFittedError as error:
            if keep:
                raise
            raise ValueError(str(error)) from None  # no more photos will come
        self.photo_statistics_ = growth.photo_statistics()
        if not keep:
            growth.patches = None
        aligner = features.aligner_
        if self.ignore is not None:
            if aligner is None:
                warn_of_aspect(self.ignore, self.photo_statistics_)
            else:
                warn_of_aligned_aspect(self.ignore, features.resized_size_, aligner.aspect_, features.resize_)
        gaussian.calibrate(calibration)
        self.loo_indices_ = gaussian.loo_indices_
        self.pipeline_ = Pipeline([("features", features), ("channels", channels), ("gaussian", gaussian)])


def warn_of_photos(images: Images | ArrivingImages, growth: Growth, since: int = 0) -> None:
    """Warn of photos that use little of their range of values, and of copies among the latest."""
    images.warn_of_range()
    reason = growth.photos.explain_copies(since)
    if reason is not None:
        warnings.warn(reason, UserWarning, stacklevel=6)


def _contents(steps: Steps, images: Images) -> dict[int, bytes]:
    """Return eight bytes of each photo that can be read, by its index."""
    contents: dict[int, bytes] = {}
    for batch in steps.features.batches(images):
        contents.update(zip(batch.indices, pixel_digests(batch.pixels), strict=True))
    return contents


def _features_again(
    steps: Steps, images: Images, found: Sequence[tuple[int, int]], photos: PhotosSeen
) -> Iterator[Leaving]:
    """Yield the features of photos, as they were when these were learned.

    A network's rounding depends on how many photos pass it together: as many do again, some of them more than
    once.
    """
    by_size: dict[int, list[tuple[int, int]]] = {}
    for index, at in found:
        by_size.setdefault(photos.together[at], []).append((index, at))
    for size, members in by_size.items():
        for start in range(0, len(members), size):
            part = members[start : start + size]
            levels = steps.features.again(images, [index for index, _ in part], size, steps.kept())
            yield Leaving([at for _, at in part], levels)

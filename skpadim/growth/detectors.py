"""A detector that grows: photos that come every day, and parts that are merged."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import _fit_context
from sklearn.pipeline import Pipeline

from ..base.callbacks import report_batches, with_callbacks
from ..base.checks import warn_of_defective
from ..base.randomness import draw_seed
from ..base.state import rolls_back
from ..images.collection import Images
from ..images.ignore import warn_of_aspect
from ..kernels.moments import are_finite
from ..stream import FeatureBatch
from .growth import Growth, paths_of
from .identity import identity
from .on_demand import OnDemand, carried, drop_learned
from .parameters import refuse_fixed, refuse_other_parameters

if TYPE_CHECKING:
    from ..channels import RandomChannelSelector
    from ..features import CNNFeatureTransformer
    from ..gaussian import PatchGaussian

#: Parameters that decide nothing of what is accumulated.
FREE = {"batch_size", "device", "false_alarm_rate", "memory", "n_jobs", "on_error"}


class Steps(NamedTuple):
    """The steps of a detector; the last is not fitted before somebody asks for it."""

    features: CNNFeatureTransformer
    channels: RandomChannelSelector
    gaussian: PatchGaussian

    def kept(self) -> list[NDArray[np.int64]]:
        """Return the channels that are kept of every layer."""
        return self.channels.by_layer([shape[0] for shape in self.features.level_shapes_])


@dataclass(frozen=True)
class Growing:
    """What a growing detector carries.

    Attributes
    ----------
    parameters : dict of str to object
        Of the first call.
    steps : Steps
    growth : Growth
    """

    parameters: dict[str, Any]
    steps: Steps
    growth: Growth


def new_growth(steps: Steps) -> Growth:
    """Return the growth of no photo.

    Parameters
    ----------
    steps : Steps
        Features and channels fitted.

    Returns
    -------
    Growth
    """
    gaussian = steps.gaussian
    return Growth(gaussian.n_calibration, draw_seed(gaussian.random_state), identity(steps))


class GrowingDetector:
    """``partial_fit`` of :class:`skpadim.PaDiMDetector`, and what belongs to it."""

    pipeline_: Pipeline = OnDemand()
    photo_statistics_: NDArray[np.float64] = OnDemand()  # type: ignore[assignment]
    loo_indices_: NDArray[np.int64] = OnDemand()  # type: ignore[assignment]

    @_fit_context(prefer_skip_nested_validation=True)
    @rolls_back
    @with_callbacks
    def partial_fit(self: Any, X: Any, y: object = None) -> Any:
        """Learn from more photos: after any number of calls all is as after one ``fit`` on all photos.

        A call costs what its own photos cost, however many came before. The factors are computed when
        something is asked for that needs them, from three photos on.

        Parameters
        ----------
        X : images
            See :meth:`fit`; at least one.
        y : object
            As for :meth:`fit`.

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
            refuse_other_parameters(before.parameters, self.get_params(deep=False), free=FREE)
            steps = before.steps
            steps.features.set_params(batch_size=self.batch_size, n_jobs=self.n_jobs, memory=self.memory)
        images = steps.features.images(X, on_error=self.on_error)
        warn_of_defective(y, len(images))
        if before is None:
            self._fit_network(steps, images)
        growth = new_growth(steps) if before is None else before.growth.copy()
        self._check_room(steps, growth.n_images + len(images))
        since = len(growth.photos)
        self._see(steps, growth, images, X)
        if growth.patches is not None and not are_finite(growth.patches.moments):
            raise ValueError("X gives features that are NaN, infinite, or so large that their squares are.")
        drop_learned(self)
        parameters = self.get_params(deep=False) if before is None else before.parameters
        self._growing = Growing(parameters, steps, growth)
        self.skipped_ = dict(growth.skipped)
        warn_of_photos(images, growth, since)
        return self

    @property
    def growth_bytes(self) -> int:
        """Bytes that are carried to go on growing; 0 after ``fit`` and :meth:`freeze`."""
        growing = carried(self)
        return 0 if growing is None else growing.growth.nbytes

    def freeze(self: Any) -> Any:
        """Let go of what growing needs; scores stay as they are.

        Returns
        -------
        self
        """
        if carried(self) is not None:
            self._catch_up()
            del self._growing
        return self

    def _fit_network(self, steps: Steps, images: Images) -> None:
        """Build the network, and draw the channels."""
        features, channels, _ = steps
        n_channels = [shape[0] for shape in features.fit(images).level_shapes_]
        channels.fit_layers(features.layer_names_, n_channels)

    def _see(self: Any, steps: Steps, growth: Growth, images: Images, X: Any) -> None:
        """Take photos into a growth."""
        n_batches = -(-len(images) // self.batch_size)
        growth.begin()
        batches: Iterable[FeatureBatch] = steps.features.stream(images, steps.kept(), measure=True)
        for batch in report_batches(self, batches, n_batches, X):
            growth.add(batch, paths_of(images, batch.indices))
        images.warn_of_failures()
        growth.end(len(images), images.failures)

    @rolls_back
    def _catch_up(self: Any) -> None:
        """Compute what was learned, as far as that is lacking."""
        if "pipeline_" not in vars(self):
            growing = self._growing
            gaussian = copy.copy(growing.steps.gaussian)
            gaussian.false_alarm_rate = self.false_alarm_rate
            self._learn(growing.steps._replace(gaussian=gaussian), growing.growth, keep=True)

    def _learn(self: Any, steps: Steps, growth: Growth, *, keep: bool) -> None:
        """Set all that is learned; the moments may go while it is laid out."""
        features, channels, gaussian = steps
        calibration = gaussian.learn(growth.patches, features.input_size_, features.ignored_)
        self.photo_statistics_ = growth.photo_statistics()
        if not keep:
            growth.patches = None
        if self.ignore is not None:
            warn_of_aspect(self.ignore, self.photo_statistics_)
        gaussian.calibrate(calibration)
        self.loo_indices_ = gaussian.loo_indices_
        self.pipeline_ = Pipeline([("features", features), ("channels", channels), ("gaussian", gaussian)])


def warn_of_photos(images: Images, growth: Growth, since: int = 0) -> None:
    """Warn of photos that use little of their range of values, and of copies among the latest."""
    images.warn_of_range()
    reason = growth.photos.explain_copies(since)
    if reason is not None:
        warnings.warn(reason, UserWarning, stacklevel=6)

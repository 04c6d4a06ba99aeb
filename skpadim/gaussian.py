"""PatchGaussian: a Gaussian per patch, from moments to factor to Mahalanobis maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .base.available import give_back_freed
from .base.checks import check_size, warn_of_defective
from .base.devices import host_tensor, join_on_host, own_precision, resolve_device
from .base.randomness import draw_seed
from .base.state import Estimator, rolls_back
from .calibration import CalibratedDecisionMixin, Calibration
from .growth.factors import factor_patches, resolve_epsilon
from .growth.gaussians import GrowingGaussian
from .growth.groups import Membership, check_groups
from .growth.patches import PatchGrowth, grow_by_place, refuse_what_teaches_nothing
from .images.hidden import touched_patches
from .kernels.prefix import PrefixTree
from .kernels.scoring import Scorer
from .kernels.whitening import join_rows
from .masked_maps import check_ignored, maps_beside_hidden, maps_beside_ignored
from .pyramid import CoarseToFine, FeaturePyramid, PyramidInputMixin, check_batches, check_pyramid

# Rows are taken so many at a time that their features, or their maps, take about this much memory.
_CHUNK_BYTES = 2**25


class PatchGaussian(PyramidInputMixin, GrowingGaussian, CalibratedDecisionMixin, Estimator):
    """A multivariate Gaussian at every patch position, and the distance of new patches to it.

    Defard et al. (2020), section III-B. The covariance of a patch is ``numpy.cov`` of its embeddings plus
    ``epsilon`` on the diagonal. Neighbouring patches share the features of coarse layers, hence the leading
    blocks of their covariances; these are kept and factored once. Nothing is approximated.

    Parameters
    ----------
    epsilon : float or "auto", default="auto"
        Added to every variance, in the units of the features squared. "auto": 1 % of the mean feature
        variance. 0.01 is the paper's, for features that are scaled like ResNet's.
    sigma : float, default=4.0
        Standard deviation in pixels of the Gaussian that smooths the map. 0: none.
    false_alarm_rate : float, default=0.05
        Share of good images that ``predict`` may call anomalies.
    n_calibration : int, default=500
        Leave-one-out scores are computed for this many training images at most, drawn at random.
    device : str or None, default=None
        A torch device. None: the first GPU, or the CPU without one.
    random_state : int, RandomState instance or None, default=0
        Decides which training images calibrate the threshold where there are more than ``n_calibration``.

    Attributes
    ----------
    location_ : list of ndarray of shape (channels, height, width)
        Mean features, per layer.
    whitening_ : list of ndarray of shape (rows, columns, n_entries)
        Rows of the inverse Cholesky factors, their zeros left out, for every distinct patch of the layers
        coarse to fine: a layer of ``c`` channels adds ``c`` rows to those of the ``p`` coarser channels,
        hence ``c p + c (c + 1) / 2`` entries, row by row.
    epsilon_ : float
        What was added to every variance.
    loo_scores_ : ndarray of shape (n_scores,)
        Anomaly scores of training images against the Gaussians of all *other* training images, with groups
        of all images of other groups; exact. There are min(n_images, n_calibration), or with groups as many
        as whole groups have.
    alone_scores_ : ndarray of shape (n_scores,), or None
        With groups, the scores of the same images with each left out by itself, or with its copies: what good
        images of groups that were learned score. None without groups.
    loo_indices_ : ndarray of shape (n_scores,)
        Which training images these are the scores of, by their place in the stream; of a detector, in `X`.
    n_groups_ : int or None
        How many groups the images of ``loo_scores_`` are of; None without groups.
    offset_ : float
        Minus the conformal quantile of ``loo_scores_``: ``decision_function`` is ``score_samples - offset_``.
    level_shapes_ : list of (int, int, int)
        Channels, height and width of every layer.
    image_size_ : (int, int)
        Height and width in pixels of the maps.
    ignored_ : ndarray of shape (height, width) or None
        Pixels that count for nothing.
    sigma_ : float
        Standard deviation in pixels of the smoothing of the fit.
    n_samples_seen_ : int
        Number of training images; 0 if these were learned elsewhere, see :mod:`skpadim.interop`.
    n_features_in_ : int
        Channels of the embedding.

    Examples
    --------
    >>> import numpy as np
    >>> from skpadim import PatchGaussian
    >>> rng = np.random.default_rng(0)
    >>> gaussian = PatchGaussian().fit(rng.normal(size=(100, 3)))
    >>> gaussian.predict([[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]])
    array([ 1, -1])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "epsilon": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "sigma": [Interval(Real, 0, None, closed="left")],
        "false_alarm_rate": [Interval(Real, 0, 1, closed="neither")],
        "n_calibration": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device, None],
        "random_state": ["random_state"],
    }

    _rebuilt = ("_order", "_scorer", "_growing")
    #: Files of earlier versions have none.
    ignored_: NDArray[np.bool_] | None = None

    def __init__(
        self,
        epsilon: float | str = "auto",
        *,
        sigma: float = 4.0,
        false_alarm_rate: float = 0.05,
        n_calibration: int = 500,
        device: str | torch.device | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.epsilon = epsilon
        self.sigma = sigma
        self.false_alarm_rate = false_alarm_rate
        self.n_calibration = n_calibration
        self.device = device
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    @rolls_back
    def fit(self, X: FeaturePyramid | ArrayLike, y: object = None, groups: ArrayLike | None = None) -> Self:
        """Fit a Gaussian at every patch position.

        Parameters
        ----------
        X : FeaturePyramid, or array of shape (n, channels, h, w) or (n, channels)
            Features of good images, at least three. An array of two dimensions is one patch.
        y : object
            Not learned from. Where it labels images -1, a warning says that they are learned as good.
        groups : array-like of shape (n,), optional
            Labels of what images have in common, such as the day or the batch: numbers, words or dates. Each
            image is then scored against the Gaussians of all images of *other* groups. At least two, none of
            more images than ``n_calibration``, each of which leaves three.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X has fewer than three images, is not finite, or has a covariance without Cholesky factor; or
            if groups are too few or too large, or a label is missing.

        Warns
        -----
        UserWarning
            If y, +1 good and -1 defective, says that defective images are among them.
        """
        pyramid = self._check(X, reset=True)
        warn_of_defective(y, len(pyramid))
        labels, seed = check_groups(groups, len(pyramid)), draw_seed(self.random_state)
        labels.refuse_unfit(self.n_calibration, seed)
        levels = (levels for _, levels in self._chunks(pyramid))
        growth = grow_by_place(levels, self.n_calibration, seed, labels.names)
        calibration = self.learn(growth, pyramid.image_size, None, labels.membership())
        del growth
        return self._settle(calibration)

    @_fit_context(prefer_skip_nested_validation=True)
    @rolls_back
    def fit_stream(
        self,
        batches: Iterable[Sequence[Tensor]],
        image_size: tuple[int, int],
        ignored: NDArray[np.bool_] | None = None,
    ) -> Self:
        """Fit on a stream of batches, in constant memory.

        Parameters
        ----------
        batches : iterable of sequence of Tensor of shape (n, channels, h, w)
            For every batch its features, one tensor per layer, floats on any device. One more, last, of bools
            (n, rows, columns) marks the patches of the finest grid that images do not show: these are
            learned, whatever stands for them, and count for nothing in leave-one-out scores.
        image_size : (int, int)
            Height and width in pixels of the images.
        ignored : ndarray of shape (height, width), bool, optional
            Pixels of all images that count for nothing: maps are 0 there, smoothing takes nothing from there,
            and the maximum is that of the others.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As :meth:`fit`, or if a batch is something else than the first.
        """
        size = check_size("image_size", image_size)
        mask = check_ignored(ignored, size)
        on_device = check_batches(batches, resolve_device(self.device))
        growth = grow_by_place(on_device, self.n_calibration, draw_seed(self.random_state))
        calibration = self.learn(growth, size, mask)
        del growth
        return self._settle(calibration)

    def mahalanobis(self, X: FeaturePyramid | ArrayLike) -> NDArray[np.floating[Any]]:
        """Compute the Mahalanobis distance of every patch to its Gaussian.

        Parameters
        ----------
        X : FeaturePyramid, or array of shape (n, channels, h, w) or (n, channels)

        Returns
        -------
        ndarray of shape (n, h, w)
            On the finest grid of patches; not squared.
        """
        return join_on_host(self._distances(X))

    def anomaly_map(self, X: FeaturePyramid | ArrayLike) -> NDArray[np.floating[Any]]:
        """Compute anomaly maps in pixels: the distances upsampled (bilinear) and smoothed.

        Parameters
        ----------
        X : FeaturePyramid, or array of shape (n, channels, h, w) or (n, channels)

        Returns
        -------
        ndarray of shape (n, height, width)
            Higher = more anomalous.
        """
        return join_on_host(map(self.maps, self._distances(X)))

    def score_samples(self, X: FeaturePyramid | ArrayLike) -> NDArray[np.float64]:
        """Compute the normality of images: minus the maximum of their anomaly maps.

        Parameters
        ----------
        X : FeaturePyramid, or array of shape (n, channels, h, w) or (n, channels)

        Returns
        -------
        ndarray of shape (n,)
            Higher = more normal.
        """
        return -join_on_host(map(self.image_scores, self._distances(X)))

    def segment(self, X: FeaturePyramid | ArrayLike) -> NDArray[np.bool_]:
        """Mark the pixels whose anomaly map exceeds the threshold on the image score.

        An image has a marked pixel exactly if ``predict`` says -1: one rule, one false-alarm rate per image.

        Parameters
        ----------
        X : FeaturePyramid, or array of shape (n, channels, h, w) or (n, channels)

        Returns
        -------
        ndarray of shape (n, height, width)
        """
        return join_on_host(map(self.mark, self._distances(X)))

    def distances(self, levels: Sequence[Tensor]) -> Tensor:
        """Compute the Mahalanobis distances of a batch on the device.

        Parameters
        ----------
        levels : sequence of Tensor of shape (n, channels, h, w)
            One per layer.

        Returns
        -------
        Tensor of shape (n, h, w)
        """
        scorer = self._fitted_scorer()
        ordered = self._order.sort(levels)
        dtype = torch.promote_types(ordered[0].dtype, scorer.dtype)
        if dtype != scorer.dtype:
            scorer = self._build_scorer(dtype)
        with own_precision(ordered[0].device):
            return scorer.distances(ordered)

    def maps(self, distances: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Upsample and smooth the distances of a batch, on the device.

        Parameters
        ----------
        distances : Tensor of shape (n, h, w)
        hidden : Tensor of shape (n, h, w), bool, optional
            Patches that an image does not show: its map is 0 there, and smoothing takes nothing from there.

        Returns
        -------
        Tensor of shape (n, height, width)
        """
        with own_precision(distances.device):
            if hidden is not None and hidden.any():
                return maps_beside_hidden(distances, hidden, self.ignored_, self._fitted_scorer())
            if self.ignored_ is None:
                return self._fitted_scorer().maps(distances)
            return maps_beside_ignored(distances, self.ignored_, self._fitted_scorer())

    def mark(self, distances: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Mark the anomalous pixels of a batch, on the device.

        Parameters
        ----------
        distances : Tensor of shape (n, h, w)
        hidden : Tensor of shape (n, h, w), bool, optional
            As of :meth:`maps`.

        Returns
        -------
        Tensor of shape (n, height, width), bool
        """
        # In float64, as predict compares: a threshold rounded to float32 would disagree with it.
        return self.maps(distances, hidden).double() > self.threshold()

    def image_scores(self, distances: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Compute the anomaly scores of a batch, the maximum of each map, on the device.

        Parameters
        ----------
        distances : Tensor of shape (n, h, w)
        hidden : Tensor of shape (n, h, w), bool, optional
            As of :meth:`maps`.

        Returns
        -------
        Tensor of shape (n,), float64
            Higher = more anomalous.
        """
        height, width = self.image_size_
        n_rows = max(1, _CHUNK_BYTES // (8 * height * width))
        parts = distances.split(n_rows)
        masks = [None] * len(parts) if hidden is None else hidden.split(n_rows)
        maps = (self.maps(part, mask).amax((1, 2)) for part, mask in zip(parts, masks, strict=True))
        return torch.cat(list(maps)).double()

    def get_covariance(self, row: int = 0, column: int = 0) -> NDArray[np.float64]:
        """Compute the covariance of one patch, ``epsilon_`` on its diagonal included.

        Parameters
        ----------
        row, column : int
            The patch on the finest grid.

        Returns
        -------
        ndarray of shape (n_channels, n_channels)
            Channels in the order of the embedding.
        """
        check_is_fitted(self)
        tree = PrefixTree.from_shapes([shape[1:] for shape in self._order.shapes])
        height, width = tree.fine_shape
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(
                f"row={row}, column={column} is no patch: the finest grid has {height} rows and {width} "
                "columns."
            )
        path = tree.path(row, column)
        packed = [
            host_tensor(part).flatten(0, 1)[[node]] for part, node in zip(self.whitening_, path, strict=True)
        ]
        n_channels = [shape[0] for shape in self._order.shapes]
        inverse = join_rows([part.double() for part in packed], n_channels)[0]
        factor = torch.linalg.inv(inverse)
        place = np.argsort(self._order.channels())
        return (factor @ factor.mT).numpy()[np.ix_(place, place)]

    def learn(
        self,
        growth: PatchGrowth | None,
        size: tuple[int, int],
        ignored: NDArray[np.bool_] | None,
        membership: Membership | None = None,
    ) -> Calibration:
        """Take means and factors from what was accumulated; :meth:`calibrate` ends the fit.

        Between the two the caller lets go of the growth: what the scorer takes is laid out only after the
        moments, which take twice as much, are gone.

        Parameters
        ----------
        growth : PatchGrowth or None
            None: no image came.
        size : (int, int)
            Height and width in pixels of the images.
        ignored : ndarray of shape (height, width), bool, or None
        membership : Membership, optional
            Which images are left out together. None: each is left out alone.

        Returns
        -------
        Calibration

        Raises
        ------
        ValueError
            As :meth:`fit`.
        """
        refuse_what_teaches_nothing(growth)
        assert growth is not None
        give_back_freed()
        self._take_shapes(growth, size, ignored)
        # What is ignored hardly varies, and is no measure of what is not.
        counted = None if ignored is None else ~touched_patches(ignored, self._order.shapes[-1][1:]).flatten()
        self.epsilon_ = resolve_epsilon(self.epsilon, growth.moments, counted)
        factored = factor_patches(growth, self.epsilon_, membership)
        self.location_, self.whitening_ = factored.location, factored.whitening
        return factored.calibration

    def calibrate(self, calibration: Calibration) -> Self:
        """Turn leave-one-out distances into scores, and these into a threshold.

        Parameters
        ----------
        calibration : Calibration
            From :meth:`learn`.

        Returns
        -------
        self
        """
        self.loo_indices_ = np.array(calibration.places)
        self.n_groups_ = calibration.n_groups
        self._scorer = self._build_scorer(host_tensor(self.whitening_[0]).dtype)
        self.loo_scores_ = self._scores_in_order(calibration.squared, calibration)
        alone = calibration.alone
        self.alone_scores_ = None if alone is None else self._scores_in_order(alone, calibration)
        self._move_threshold(self.false_alarm_rate)
        return self

    def _scores_in_order(self, squared: Tensor, calibration: Calibration) -> NDArray[np.float64]:
        """Return the scores of images by their squared distances, which go."""
        scores = self.image_scores(squared.sqrt_(), calibration.hidden)
        in_order: NDArray[np.float64] = scores[calibration.order].cpu().numpy()
        return in_order

    def _take_shapes(
        self, growth: PatchGrowth, size: tuple[int, int], ignored: NDArray[np.bool_] | None
    ) -> None:
        self.ignored_ = check_ignored(ignored, size)
        self.level_shapes_ = list(growth.shapes)
        # Layers are sorted where they enter; only what users see by layer goes back.
        self._order = CoarseToFine(self.level_shapes_)
        self.image_size_ = size
        self.n_features_in_ = sum(shape[0] for shape in self.level_shapes_)
        self.sigma_ = float(self.sigma)
        self.n_samples_seen_ = growth.n_images

    def cpu_scorer(self) -> Scorer:
        """Return the Gaussians as tensors of float32 on the CPU, and the matrices that make maps."""
        check_is_fitted(self)
        return self._build_scorer(torch.float32, torch.device("cpu"))

    def _build_scorer(self, dtype: torch.dtype, device: torch.device | None = None) -> Scorer:
        device = resolve_device(self.device) if device is None else device
        means = self._order.sort([host_tensor(mean) for mean in self.location_])
        whitening = [host_tensor(part).to(device, dtype) for part in self.whitening_]
        return Scorer.build(means, whitening, self.image_size_, self.sigma_)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what was saved, and the order of its layers."""
        super().__setstate__(state)
        if hasattr(self, "level_shapes_"):
            self._order = CoarseToFine(self.level_shapes_)

    def _fitted_scorer(self) -> Scorer:
        """Return the scorer, built again where a file was loaded."""
        if not hasattr(self, "_scorer"):
            self._scorer = self._build_scorer(host_tensor(self.whitening_[0]).dtype)
        return self._scorer

    def _distances(self, X: FeaturePyramid | ArrayLike) -> Iterator[Tensor]:
        check_is_fitted(self)
        for _, levels in self._chunks(self._check(X, reset=False)):
            yield self.distances(levels)

    def _check(self, X: Any, *, reset: bool) -> FeaturePyramid:
        pyramid = check_pyramid(self, X, reset=reset)
        if not len(pyramid):
            raise ValueError("Found n_samples=0 image(s) in X, at least 1 is needed.")
        shapes = [level.shape[1:] for level in pyramid.levels]
        if not reset and shapes != self.level_shapes_:
            raise ValueError(
                f"X has levels (channels, height, width) {shapes}, but the fit saw {self.level_shapes_}. "
                "Use the layers and the image size of the fit."
            )
        return pyramid

    def _chunks(self, pyramid: FeaturePyramid) -> Iterator[tuple[slice, list[Tensor]]]:
        """Yield a few images at a time: which rows they are, and their features on the device."""
        device = resolve_device(self.device)
        step = max(1, _CHUNK_BYTES // max(1, sum(level[0].nbytes for level in pyramid.levels)))
        for start in range(0, len(pyramid), step):
            rows = slice(start, start + step)
            yield rows, [host_tensor(level[rows]).to(device) for level in pyramid.levels]

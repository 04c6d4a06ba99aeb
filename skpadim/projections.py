"""Projections to fewer channels: principal components of the embedding, and random ones layer by layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import combinations, combinations_with_replacement
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .base.randomness import fresh_random_state
from .base.state import Estimator, rolls_back
from .channels import resolve_n_channels
from .kernels.prefix import nearest_index
from .pyramid import FeaturePyramid, PyramidInputMixin, check_level_channels, check_pyramid

Array = NDArray[np.floating[Any]]

# Images are taken so many at a time that their embeddings take about this much memory.
_CHUNK_BYTES = 2**25


class _Projection(PyramidInputMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator, ABC):
    """What both projections share: their input, a pyramid or an array, and the form of their output."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_channels": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"}), None],
    }

    n_channels: int | str | None
    _n_features_out: int

    def transform(self, X: FeaturePyramid | ArrayLike) -> FeaturePyramid | Array:
        """Project the embeddings.

        Parameters
        ----------
        X : FeaturePyramid, or array of shape (n, channels, h, w) or (n, channels)

        Returns
        -------
        FeaturePyramid or ndarray
            As X.

        Raises
        ------
        ValueError
            If X has other layers, or other numbers of channels, than in the fit.
        """
        check_is_fitted(self)
        pyramid = self._check(X, reset=False)
        check_level_channels(pyramid, self.level_channels_)
        projected = self._project(pyramid)
        if isinstance(X, FeaturePyramid):
            return projected
        level = projected.levels[0]
        return level[:, :, 0, 0] if np.asarray(X).ndim == 2 else level

    def _check(self, X: Any, *, reset: bool) -> FeaturePyramid:
        pyramid = check_pyramid(self, X, reset=reset)
        if reset:
            self.level_channels_ = pyramid.level_channels
            self._n_features_out = resolve_n_channels(self.n_channels, sum(self.level_channels_))
        return pyramid

    @abstractmethod
    def _project(self, pyramid: FeaturePyramid) -> FeaturePyramid: ...

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class SemiOrthogonalProjection(_Projection):
    """Project every layer onto a random subspace of its channels.

    A layer of ``c`` channels is multiplied by a matrix of shape (c, k) with orthonormal columns, drawn from
    the Haar measure, which favours no subspace [1]_. Each layer gets its share of ``n_channels``, and keeps
    its resolution, so that :class:`PatchGaussian` is as fast as after :class:`RandomChannelSelector`. [1]_
    projects the concatenation of the layers, which would lose this.

    Parameters
    ----------
    n_channels : int, "auto" or None, default="auto"
        Channels to project to, in all layers together; they are shared out in proportion to the channels of
        the layers. "auto": 100, or all where there are fewer. None: all, a rotation.
    random_state : int, RandomState instance or None, default=0
        Decides the subspaces. None draws anew at every fit.

    Attributes
    ----------
    projections_ : list of ndarray of shape (channels, n_kept), float64
        For every layer its matrix, with orthonormal columns.
    level_channels_ : list of int
        Channels of every layer before the projection.
    n_features_in_ : int
        Channels of the embedding before the projection.

    See Also
    --------
    RandomChannelSelector : Keeps some channels as they are.
    PCAChannelReducer : Keeps the directions of largest variance.

    References
    ----------
    .. [1] Kim, Kim, Yi, Lee, "Semi-orthogonal embedding for efficient unsupervised anomaly segmentation",
       arXiv:2105.14737, 2021.
    .. [2] Mezzadri, "How to generate random matrices from the classical compact groups", Notices of the AMS
       54 (5), 2007: the Haar measure from a QR decomposition.

    Examples
    --------
    >>> import numpy as np
    >>> from skpadim import FeaturePyramid, SemiOrthogonalProjection
    >>> pyramid = FeaturePyramid([np.ones((5, 8, 14, 14)), np.ones((5, 24, 7, 7))])
    >>> SemiOrthogonalProjection(n_channels=8).fit_transform(pyramid)
    FeaturePyramid(5 images; level0: 2x14x14, level1: 6x7x7)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_Projection._parameter_constraints,
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_channels: int | str | None = "auto",
        *,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_channels = n_channels
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    @rolls_back
    def fit(self, X: FeaturePyramid | ArrayLike, y: object = None) -> Self:
        """Draw the subspaces.

        Parameters
        ----------
        X : FeaturePyramid, or array of shape (n, channels, h, w) or (n, channels)
            Only the numbers of channels of its layers matter.
        y : object
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X has fewer than ``n_channels`` channels.
        """
        self._check(X, reset=True)
        random_state = fresh_random_state(self.random_state)
        self.projections_ = [
            _draw_orthonormal(n_all, n_kept, random_state)
            for n_all, n_kept in zip(
                self.level_channels_, _share_out(self._n_features_out, self.level_channels_), strict=True
            )
        ]
        return self

    def _project(self, pyramid: FeaturePyramid) -> FeaturePyramid:
        levels = [
            _times(level, projection)
            for level, projection in zip(pyramid.levels, self.projections_, strict=True)
        ]
        return FeaturePyramid(levels, pyramid.layer_names, pyramid.image_size)


class PCAChannelReducer(_Projection):
    """Project the embedding onto the principal components of its patches.

    Defard et al. (2020), section III-B, compare random channels with it. The patches of all positions and
    images are one sample, as :class:`sklearn.decomposition.PCA` would take it, in which coarse layers are
    upsampled (nearest neighbour). Mean and covariance are exact, but neither they nor the projection ever
    see that sample: they are computed at the resolutions of the layers.

    The components mix the layers, so there is one level, at the finest resolution, and
    :class:`PatchGaussian` finds nothing to share: it takes more time and memory than after
    :class:`RandomChannelSelector`. Its leave-one-out scores leave an image out of the Gaussians, not out of
    the components: with a single patch and few images the threshold may be far off.

    Parameters
    ----------
    n_channels : int, "auto" or None, default="auto"
        Components to keep. "auto": 100, or all where there are fewer. None: all.

    Attributes
    ----------
    components_ : ndarray of shape (n_channels, n_features), float64
        Orthonormal rows, in order of decreasing variance; the largest entry of each is positive.
    explained_variance_, explained_variance_ratio_ : ndarray of shape (n_channels,)
        Variance of the patches along each component, and its share of all variance.
    mean_ : ndarray of shape (n_features,)
        Mean of the patches.
    level_channels_ : list of int
        Channels of every layer before the projection.
    n_features_in_ : int
        Channels of the embedding before the projection.

    See Also
    --------
    RandomChannelSelector : Keeps some channels as they are.
    SemiOrthogonalProjection : Random directions, layer by layer.

    Examples
    --------
    >>> import numpy as np
    >>> from skpadim import FeaturePyramid, PCAChannelReducer
    >>> rng = np.random.default_rng(0)
    >>> pyramid = FeaturePyramid([rng.normal(size=(5, 8, 6, 6)), rng.normal(size=(5, 24, 3, 3))])
    >>> PCAChannelReducer(n_channels=10).fit_transform(pyramid)
    FeaturePyramid(5 images; pca: 10x6x6)
    """

    def __init__(self, n_channels: int | str | None = "auto") -> None:
        self.n_channels = n_channels

    @_fit_context(prefer_skip_nested_validation=True)
    @rolls_back
    def fit(self, X: FeaturePyramid | ArrayLike, y: object = None) -> Self:
        """Find the principal components.

        Parameters
        ----------
        X : FeaturePyramid, or array of shape (n, channels, h, w) or (n, channels)
            Features of good images.
        y : object
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X has fewer than ``n_channels`` channels, fewer than two patches, or is not finite.
        """
        pyramid = self._check(X, reset=True)
        n_patches = len(pyramid) * pyramid.shape[2] * pyramid.shape[3]
        if n_patches < 2:
            raise ValueError(f"Found n_samples={n_patches} patch(es); principal components need at least 2.")
        # scikit-learn's PCA wants all patches in memory. Its IncrementalPCA truncates after each batch: where
        # variances decay slowly it ends in another subspace, and takes ten times as long.
        self.mean_, covariance = _pooled_moments(pyramid)
        n_all = len(covariance)
        variances, vectors = eigh(covariance, subset_by_index=(n_all - self._n_features_out, n_all - 1))
        # Rounding makes variances of zero slightly negative.
        self.explained_variance_ = np.maximum(variances[::-1], 0)
        total = np.trace(covariance)
        self.explained_variance_ratio_ = self.explained_variance_ / (total if total > 0 else 1)
        components = vectors.T[::-1]
        largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
        self.components_ = components * np.sign(largest)
        return self

    def _project(self, pyramid: FeaturePyramid) -> FeaturePyramid:
        """Project every layer at its own resolution, upsample, and add."""
        edges = np.cumsum(self.level_channels_)[:-1]
        components, means = np.split(self.components_, edges, axis=1), np.split(self.mean_, edges)
        result = np.zeros((len(pyramid), self._n_features_out, *pyramid.shape[2:]), pyramid.dtype)
        for rows in _chunks(pyramid):
            for level, component, mean in zip(pyramid.levels, components, means, strict=True):
                centred = level[rows] - mean.astype(level.dtype)[:, None, None]
                result[rows] += _upsampled(_times(centred, component.T), pyramid.shape[2:])
        return FeaturePyramid([result], ["pca"], pyramid.image_size)


def _pooled_moments(pyramid: FeaturePyramid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and covariance (``numpy.cov``) of the patches of all positions and images.

    Two passes, in float64, at the layers' own resolutions. A cell counts as often as upsampling repeats it; a
    cell of one layer meets a cell of another as often as both are repeated at the same place.
    """
    levels, size = pyramid.levels, pyramid.shape[2:]
    n_patches = len(pyramid) * size[0] * size[1]
    down = [_repeats(level.shape[2], size[0]) for level in levels]
    across = [_repeats(level.shape[3], size[1]) for level in levels]
    means = [
        np.einsum("chw,h,w->c", level.sum(0, dtype=np.float64), d.sum(0), a.sum(0)) / n_patches
        for level, d, a in zip(levels, down, across, strict=True)
    ]
    coarse_to_fine = np.argsort([level.shape[2] * level.shape[3] for level in levels])
    scatter = [[np.zeros((len(own), len(other))) for other in means] for own in means]
    for images in _chunks(pyramid):
        centred = [level[images] - mean[:, None, None] for level, mean in zip(levels, means, strict=True)]
        for i, j in combinations_with_replacement(coarse_to_fine, 2):
            met = (down[i].T @ down[j]) @ centred[j] @ (across[j].T @ across[i])
            scatter[i][j] += np.tensordot(centred[i], met, axes=([0, 2, 3], [0, 2, 3]))
    for i, j in combinations(coarse_to_fine, 2):
        scatter[j][i] = scatter[i][j].T
    return np.concatenate(means), np.block(scatter) / (n_patches - 1)


def _repeats(n_cells: int, n_fine: int) -> NDArray[np.float64]:
    """Return the matrix (n_fine, n_cells) that upsamples one axis by nearest neighbour."""
    return np.eye(n_cells)[nearest_index(n_cells, n_fine).numpy()]


def _upsampled(level: Array, size: tuple[int, int]) -> Array:
    """Upsample (n, channels, h, w) by nearest neighbour."""
    rows, columns = (nearest_index(a, b).numpy() for a, b in zip(level.shape[2:], size, strict=True))
    return level[:, :, rows[:, None], columns]


def _chunks(pyramid: FeaturePyramid) -> Iterator[slice]:
    """Yield a few images at a time."""
    _, n_channels, height, width = pyramid.shape
    step = max(1, _CHUNK_BYTES // (8 * n_channels * height * width))
    for start in range(0, len(pyramid), step):
        yield slice(start, start + step)


def _times(level: Array, matrix: NDArray[np.float64]) -> Array:
    """Multiply the channels of (n, channels, h, w) by a matrix (channels, k), in the level's precision."""
    n_images, n_channels, height, width = level.shape
    flat = level.reshape(n_images, n_channels, height * width)
    return (matrix.T.astype(level.dtype) @ flat).reshape(n_images, matrix.shape[1], height, width)


def _share_out(n_kept: int, n_channels: list[int]) -> list[int]:
    """Share out ``n_kept`` in proportion to ``n_channels``: largest remainders, earlier layers first."""
    shares, remainders = np.divmod(n_kept * np.array(n_channels), sum(n_channels))
    by_remainder = np.argsort(-remainders, kind="stable")
    shares[by_remainder[: n_kept - shares.sum()]] += 1
    return [int(share) for share in shares]


def _draw_orthonormal(
    n_rows: int, n_columns: int, random_state: np.random.RandomState
) -> NDArray[np.float64]:
    """Draw a matrix with orthonormal columns from the Haar measure (Mezzadri, 2007)."""
    q, r = np.linalg.qr(random_state.standard_normal((n_rows, n_columns)))
    # The QR decomposition fixes signs by its own convention, which is not uniform.
    return q * np.sign(np.diag(r))

"""RandomChannelSelector: a random subset of the channels, the paper's dimension reduction."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context
from sklearn.feature_selection import SelectorMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_n_features, check_is_fitted, validate_data

from .base.checks import check_layer_names
from .base.randomness import fresh_random_state
from .base.state import Estimator, rolls_back
from .pyramid import FeaturePyramid, PyramidInputMixin, check_level_channels

#: The paper's choice for ResNet-18.
_AUTO_CHANNELS = 100


class RandomChannelSelector(PyramidInputMixin, SelectorMixin, Estimator):
    """Keep a random subset of the channels of an embedding.

    Defard et al. (2020), section III-B: of the concatenated channels of all layers, a random subset
    localises anomalies better than as many principal components, at a fraction of the cost.

    Parameters
    ----------
    n_channels : int, "auto" or None, default="auto"
        Channels to keep. "auto" keeps 100, the paper's choice for ResNet-18, or all where there are fewer;
        None keeps all.
    layers : sequence of str or None, default=None
        Names of the layers to draw from; the others are dropped. None draws from all. The outcome is that
        of a :class:`CNNFeatureTransformer` with these layers alone, but for the order, which stays the
        pyramid's: a search over layers computes the features once.
    random_state : int, RandomState instance or None, default=0
        Decides which channels are kept. None draws anew at every fit.

    Attributes
    ----------
    channel_indices_ : ndarray of shape (n_channels,), int64
        The channels kept, ascending; they index the concatenated embedding, layers in the order given.
    n_features_in_ : int
        Channels before the selection.
    layer_names_in_ : tuple of str or None
        The layers of the pyramid of the fit; None for an array.
    level_channels_ : list of int or None
        Channels of every layer before the selection; None for an array.
    layers_ : tuple of str or None
        Those kept, in the same order; None: all.

    See Also
    --------
    SemiOrthogonalProjection, PCAChannelReducer : Other ways to fewer channels.

    Examples
    --------
    >>> import numpy as np
    >>> from skpadim import FeaturePyramid, RandomChannelSelector
    >>> embedding = np.zeros((5, 8, 14, 14), dtype=np.float32)
    >>> RandomChannelSelector(n_channels=3).fit_transform(embedding).shape
    (5, 3, 14, 14)
    >>> pyramid = FeaturePyramid([embedding, np.zeros((5, 16, 7, 7))], ["layer1", "layer2"])
    >>> RandomChannelSelector(layers=["layer2"]).fit_transform(pyramid)
    FeaturePyramid(5 images; layer2: 16x7x7)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_channels": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"}), None],
        "layers": ["array-like", str, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_channels: int | str | None = "auto",
        *,
        layers: Sequence[str] | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_channels = n_channels
        self.layers = layers
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    @rolls_back
    def fit(self, X: FeaturePyramid | ArrayLike, y: object = None) -> Self:
        """Choose the channels.

        Parameters
        ----------
        X : FeaturePyramid, or array of shape (n, channels, h, w) or (n, channels)
            Only its layers and their numbers of channels matter.
        y : object
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X has fewer than ``n_channels`` channels, or ``layers`` names none, one twice, or one that
            X does not have; X has none where it is an array.
        TypeError
            If ``layers`` does not hold names.
        """
        checked = self._check(X, reset=True)
        if isinstance(checked, FeaturePyramid):
            return self.fit_layers(checked.layer_names, checked.level_channels)
        self.layer_names_in_: tuple[str, ...] | None = None
        self.level_channels_: list[int] | None = None
        self.layers_ = self._check_layers()
        return self._choose(np.arange(checked.shape[1]))

    @_fit_context(prefer_skip_nested_validation=True)
    @rolls_back
    def fit_layers(self, layer_names: Sequence[str], n_channels: Sequence[int]) -> Self:
        """Choose the channels of layers of which no features are there yet.

        Parameters
        ----------
        layer_names : sequence of str
        n_channels : sequence of int
            Channels of each layer.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As :meth:`fit`.
        """
        self.layer_names_in_, self.level_channels_ = tuple(layer_names), list(n_channels)
        self.n_features_in_ = sum(n_channels)
        self.layers_ = self._check_layers()
        of_layer = np.repeat(layer_names, n_channels)
        return self._choose(np.flatnonzero(np.isin(of_layer, self.layers_ or layer_names)))

    def _choose(self, kept: NDArray[np.int64]) -> Self:
        """Draw the channels of those that may be kept."""
        n_kept = resolve_n_channels(self.n_channels, len(kept))
        drawn = fresh_random_state(self.random_state).choice(len(kept), n_kept, replace=False)
        self.channel_indices_: NDArray[np.int64] = kept[np.sort(drawn)]
        return self

    def transform(self, X: FeaturePyramid | ArrayLike) -> FeaturePyramid | NDArray[Any]:
        """Keep the chosen channels.

        Parameters
        ----------
        X : FeaturePyramid, or array of shape (n, channels, h, w) or (n, channels)

        Returns
        -------
        FeaturePyramid or ndarray
            As X. A pyramid keeps all its levels, or those of ``layers``, some perhaps without channels:
            they define its patches.

        Raises
        ------
        ValueError
            If X has other numbers of channels than in the fit, or lacks a layer of ``layers``.
        """
        check_is_fitted(self)
        checked = self._check(X, reset=False)
        if not isinstance(checked, FeaturePyramid):
            return checked[:, self.channel_indices_]
        names, levels = checked.layer_names, checked.levels
        if self.layers_ is not None and names != self.layer_names_in_:
            raise ValueError(
                f"X has the layers {names}, but the fit saw {self.layer_names_in_}. Use those of the fit."
            )
        if self.level_channels_ is not None:
            check_level_channels(checked, self.level_channels_)
        chosen = self.by_layer(checked.level_channels)
        kept = [
            (name, level[:, keep])
            for name, level, keep in zip(names, levels, chosen, strict=True)
            if self.layers_ is None or name in self.layers_
        ]
        return FeaturePyramid([level for _, level in kept], [name for name, _ in kept], checked.image_size)

    def by_layer(self, n_channels: Sequence[int]) -> list[NDArray[np.int64]]:
        """Return the chosen channels layer by layer.

        Parameters
        ----------
        n_channels : sequence of int
            Channels of each layer of the embedding.

        Returns
        -------
        list of ndarray
            For each layer the chosen channels, counted within the layer.
        """
        check_is_fitted(self)
        starts = np.cumsum([0, *n_channels])
        edges = np.searchsorted(self.channel_indices_, starts)
        return [
            self.channel_indices_[first:end] - start
            for first, end, start in zip(edges[:-1], edges[1:], starts[:-1], strict=True)
        ]

    def _check_layers(self) -> tuple[str, ...] | None:
        """Return the layers to keep, in the order of the pyramid."""
        if self.layers is None:
            return None
        wanted, known = check_layer_names(self.layers), self.layer_names_in_
        if known is None:
            raise ValueError(
                f"layers={self.layers!r} needs a FeaturePyramid, whose layers have names; X is an array. "
                "Pass layers=None."
            )
        if unknown := [layer for layer in wanted if layer not in known]:
            raise ValueError(f"layers: X has no layer {unknown[0]!r}; it has {list(known)}.")
        return tuple(name for name in known if name in wanted)

    def _check(self, X: Any, *, reset: bool) -> Any:
        if isinstance(X, FeaturePyramid):
            _check_n_features(self, X, reset=reset)
            return X
        dtypes = [np.float64, np.float32]
        return validate_data(self, X, reset=reset, dtype=dtypes, allow_nd=True)

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        mask = np.zeros(self.n_features_in_, dtype=bool)
        mask[self.channel_indices_] = True
        return mask


def resolve_n_channels(n_channels: int | str | None, n_all: int) -> int:
    """Return the number of channels that ``n_channels`` asks for, of ``n_all``: "auto" is 100, None all."""
    if n_channels is None:
        return n_all
    if n_channels == "auto":
        return min(_AUTO_CHANNELS, n_all)
    if int(n_channels) > n_all:
        raise ValueError(
            f"n_channels={n_channels} is out of range: the embedding has {n_all} channels. "
            f"Choose n_channels between 1 and {n_all}, or add layers."
        )
    return int(n_channels)

"""RandomChannelSelector: a random subset of the channels, the paper's dimension reduction."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_n_features, check_is_fitted, validate_data
from torch import Tensor

from .features import FeaturePyramid
from .randomness import fresh_random_state
from .state import Estimator, rolls_back

#: The paper's choice for ResNet-18.
_AUTO_CHANNELS = 100


class RandomChannelSelector(SelectorMixin, Estimator):
    """Keep a random subset of the channels of an embedding.

    Defard et al. (2020), section III-B: of the concatenated channels of all layers, a random subset serves
    as well as principal components, at a fraction of the cost.

    Parameters
    ----------
    n_channels : int, "auto" or None, default="auto"
        Channels to keep. "auto" keeps 100, the paper's choice for ResNet-18, or all where there are fewer;
        None keeps all.
    random_state : int, RandomState instance or None, default=0
        Decides which channels are kept. None draws anew at every fit.

    Attributes
    ----------
    channel_indices_ : ndarray of shape (n_channels,), int64
        The channels kept, ascending; they index the concatenated embedding, layers in the order given.
    n_features_in_ : int
        Channels before the selection.

    Examples
    --------
    >>> import numpy as np
    >>> from skpadim import RandomChannelSelector
    >>> embedding = np.zeros((5, 8, 14, 14), dtype=np.float32)
    >>> RandomChannelSelector(n_channels=3).fit_transform(embedding).shape
    (5, 3, 14, 14)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_channels": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"}), None],
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
        """Choose the channels.

        Parameters
        ----------
        X : FeaturePyramid, or array of shape (n, channels, h, w) or (n, channels)
            Only its number of channels matters.
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
        n_all = self._check(X, reset=True).shape[1]
        n_kept = n_all if self.n_channels is None else self.n_channels
        n_kept = min(_AUTO_CHANNELS, n_all) if n_kept == "auto" else int(n_kept)
        if n_kept > n_all:
            raise ValueError(
                f"n_channels={n_kept} is out of range: the embedding has {n_all} channels. "
                f"Choose n_channels between 1 and {n_all}, or add layers."
            )
        random_state = fresh_random_state(self.random_state)
        self.channel_indices_: NDArray[np.int64] = np.sort(random_state.choice(n_all, n_kept, replace=False))
        return self

    def transform(self, X: FeaturePyramid | ArrayLike) -> FeaturePyramid | NDArray[Any]:
        """Keep the chosen channels.

        Parameters
        ----------
        X : FeaturePyramid, or array of shape (n, channels, h, w) or (n, channels)

        Returns
        -------
        FeaturePyramid or ndarray
            As X. A pyramid keeps all its levels, some perhaps without channels: they define its patches.
        """
        check_is_fitted(self)
        if isinstance(X, FeaturePyramid):
            self._check(X, reset=False)
            chosen = self._split([level.shape[1] for level in X.levels])
            levels = [level[:, keep] for level, keep in zip(X.levels, chosen, strict=True)]
            return FeaturePyramid(levels, X.layer_names, X.image_size)
        return self._check(X, reset=False)[:, self.channel_indices_]

    def select(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Keep the chosen channels of a batch, on its device.

        Parameters
        ----------
        levels : sequence of Tensor of shape (n, channels, h, w)
            One per layer.

        Returns
        -------
        list of Tensor
        """
        chosen = self._split([level.shape[1] for level in levels])
        return [
            level.index_select(1, torch.from_numpy(keep).to(level.device))
            for level, keep in zip(levels, chosen, strict=True)
        ]

    def _split(self, n_channels: list[int]) -> list[NDArray[np.int64]]:
        """Return the chosen channels of each layer, counted within the layer."""
        starts = np.cumsum([0, *n_channels])
        edges = np.searchsorted(self.channel_indices_, starts)
        parts = np.split(self.channel_indices_, edges[1:-1])
        return [part - start for part, start in zip(parts, starts[:-1], strict=True)]

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

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

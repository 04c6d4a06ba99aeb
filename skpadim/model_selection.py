"""Splits for estimators that learn from good images alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import BaseCrossValidator, KFold
from sklearn.utils import indexable
from sklearn.utils.validation import column_or_1d

from .base.randomness import fresh_random_state


class OneClassKFold(BaseCrossValidator):
    """K-fold cross-validation that trains on good images only.

    The good images are cut into ``n_splits`` folds. Each split trains on all folds but one, and tests on that
    fold and on all defective images, which are never trained on.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    shuffle : bool, default=False
        Shuffle the good images before they are cut. Photos taken one after the other resemble each other:
        without shuffling, a fold holds a stretch of the line that no other fold has seen.
    random_state : int, RandomState instance or None, default=0
        Decides the shuffling. None draws anew at every call of ``split``.

    Examples
    --------
    >>> import numpy as np
    >>> from skpadim.model_selection import OneClassKFold
    >>> y = np.array([1, 1, -1, 1, 1])
    >>> for train, test in OneClassKFold(n_splits=2).split(np.zeros(5), y):
    ...     print(train, test)
    [3 4] [0 1 2]
    [0 1] [2 3 4]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        shuffle: bool = False,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state

    def split(
        self, X: Any, y: ArrayLike | None = None, groups: object = None
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the indices of every split.

        Parameters
        ----------
        X : sequence of n_images
            Only its length matters.
        y : array-like of shape (n_images,)
            +1 good, -1 defective.
        groups : object
            Ignored.

        Yields
        ------
        train : ndarray of int
            Good images.
        test : ndarray of int
            Other good images, and all defective ones.

        Raises
        ------
        ValueError
            If y is missing, has other labels, or has fewer good images than folds; as
            `sklearn.model_selection.KFold`, if a parameter is of no use.
        """
        folds = KFold(
            self.n_splits,
            shuffle=self.shuffle,
            random_state=fresh_random_state(self.random_state) if self.shuffle else None,
        )
        good, defective = self._labelled(X, y)
        for train, test in folds.split(good):
            yield good[train], np.sort(np.concatenate([good[test], defective]))

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups : object
            Ignored.

        Returns
        -------
        int
        """
        return self.n_splits

    def _labelled(self, X: Any, y: ArrayLike | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        if y is None:
            raise ValueError("y is missing: OneClassKFold needs labels, +1 good and -1 defective.")
        X, y = indexable(X, y)
        labels = column_or_1d(y)
        unknown = sorted(set(labels.tolist()) - {1, -1}, key=str)
        if unknown:
            raise ValueError(f"y holds the labels {unknown}; expected +1 for good, -1 for defective.")
        good, defective = np.flatnonzero(labels == 1), np.flatnonzero(labels == -1)
        if len(good) < self.n_splits:
            raise ValueError(
                f"n_splits={self.n_splits} is greater than the number of good images, {len(good)}; choose "
                "fewer folds."
            )
        return good, defective

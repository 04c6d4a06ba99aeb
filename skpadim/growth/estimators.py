"""What all growing estimators have in common: what they carry, its file, and how to let go of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from .files import load_growth, save_growth
from .growth import Growth
from .on_demand import carried, drop_learned
from .parameters import refuse_fixed


@dataclass(frozen=True)
class Growing:
    """What a growing estimator carries.

    Attributes
    ----------
    parameters : dict of str to object
        Of the first call.
    growth : Growth
    fitted : object
        What else is needed to learn from it: the steps of a detector, or the size of a Gaussian's images.
    """

    parameters: dict[str, Any]
    growth: Growth
    fitted: Any


class GrowingEstimator(BaseEstimator):
    """An estimator with ``partial_fit``, whose results are worked out when they are asked for."""

    @property
    def growth_bytes(self) -> int:
        """Bytes that are carried to go on growing; 0 after ``fit`` and :meth:`freeze`."""
        growing = carried(self)
        return 0 if growing is None else growing.growth.nbytes

    def freeze(self: Any) -> Any:
        """Let go of what growing needs; scores stay as they are, and it grows no more.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            If fewer than three photos were learned.
        """
        if carried(self) is not None:
            self._catch_up()
            del self._growing
        return self

    def save_growth(self, path: str | os.PathLike[str]) -> None:
        """Write what is carried into a file, whole or not at all, to go on growing another day.

        Parameters
        ----------
        path : str or path
            Of a file of numpy's, ``.npz`` by convention, which holds numbers and text alone. An earlier one
            is replaced in the end.

        Raises
        ------
        ValueError
            If nothing is carried, or the file cannot be written.
        """
        refuse_fixed(self)
        growing = carried(self)
        if growing is None:
            raise ValueError("There is nothing to save: learn photos by partial_fit first.")
        save_growth(growing.growth, path)

    def load_growth(self: Any, path: str | os.PathLike[str]) -> Any:
        """Go on from what :meth:`save_growth` wrote, in place of what was learned before.

        Parameters
        ----------
        path : str or path

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no such file, it is damaged, or it was written with another network, other channels,
            sizes or parameters. The estimator is left as it was.
        """
        self._validate_params()
        self._resume(lambda device: load_growth(path, device))
        return self

    def __getstate__(self: Any) -> dict[str, Any]:
        """Return what is learned, without what is carried."""
        if carried(self) is not None:
            try:
                self._catch_up()
            except NotFittedError as error:
                raise NotFittedError(
                    f"{error} Copies and files of an estimator hold what it scores with; save_growth keeps "
                    "what was learned so far."
                ) from None
        return super().__getstate__()

    def _carry(self: Any, growing: Growing) -> None:
        """Take what is carried; what was learned before is no longer up to date."""
        drop_learned(self)
        self._growing = growing

"""What an estimator's state may hold: a format version in files, no live tensors, nothing half fitted."""

from __future__ import annotations

import copy
import functools
import inspect
import os
from collections.abc import Callable
from typing import Any

import joblib
import torch
from sklearn.base import BaseEstimator

#: (major, minor): a reader refuses files of a newer major version and reads all others.
FORMAT_VERSION = (2, 1)

_FORMAT_KEY = "_skpadim_format"


class Estimator(BaseEstimator):
    """BaseEstimator whose pickles carry a format version and leave rebuildable objects behind."""

    #: Names of private attributes that are rebuilt from the fitted ones when needed.
    _rebuilt: tuple[str, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        kept = super().__getstate__().items()
        state = {name: _portable(value) for name, value in kept if name not in self._rebuilt}
        return state | {_FORMAT_KEY: FORMAT_VERSION}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = state.copy()
        version = state.pop(_FORMAT_KEY, (0, 0))
        if not (isinstance(version, tuple | list) and [*map(type, version)] == [int, int]):
            raise ValueError(f"This {type(self).__name__} is damaged: its format is {version!r}.")
        if version[0] > FORMAT_VERSION[0]:
            raise ValueError(
                f"This {type(self).__name__} was saved in format {version[0]}.{version[1]}; this version "
                f"of skpadim reads formats up to {FORMAT_VERSION[0]}. Upgrade skpadim to load it."
            )
        # A file of an earlier version lacks parameters that came since; their defaults do what it did.
        super().__setstate__(self._defaults() | state)

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        parameters = inspect.signature(cls.__init__).parameters.values()
        return {each.name: each.default for each in parameters if each.default is not each.empty}


def _portable(value: Any) -> Any:
    """Return paths, memories and devices by name, and networks on the CPU, so that files load anywhere.

    Windows loads no PosixPath, skops trusts neither type, and a network on a GPU would ask for one.
    """
    if isinstance(value, torch.nn.Module) and any(p.device.type != "cpu" for p in value.parameters()):
        return copy.deepcopy(value).cpu()
    if isinstance(value, joblib.Memory):  # Loaded, it would make its folder anew.
        return os.fspath(value.location)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return str(value) if isinstance(value, torch.device) else value


def rolls_back(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Make a failed fit leave the estimator as it was before."""

    @functools.wraps(fit)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = vars(self).copy()
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return guarded

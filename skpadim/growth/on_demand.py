"""What a growing estimator works out only when somebody asks for it."""

from __future__ import annotations

from typing import Any

from ..base.locks import ForkSafeLock

# Threads that score with one detector let one of them work it out.
_CATCHING_UP = ForkSafeLock()


class OnDemand:
    """An attribute that a growing estimator lacks until it is asked for.

    An estimator's own value comes first, as this has no ``__set__``. The estimator's ``_catch_up()`` sets it.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, estimator: Any, owner: type | None = None) -> Any:
        if estimator is None:
            return self
        values = vars(estimator)
        with _CATCHING_UP:
            if self._name not in values and "_growing" in values:
                estimator._catch_up()
        if self._name not in values:
            raise AttributeError(f"{type(estimator).__name__!r} object has no attribute {self._name!r}")
        return values[self._name]


def learned_names(kind: type) -> set[str]:
    """Return the names of what estimators of a type work out on demand."""
    return {
        name for each in kind.__mro__ for name, value in vars(each).items() if isinstance(value, OnDemand)
    }


def drop_learned(estimator: Any) -> None:
    """Take away all that is worked out on demand: it is no longer up to date."""
    for name in learned_names(type(estimator)):
        vars(estimator).pop(name, None)


def carried(estimator: Any) -> Any:
    """Return what a growing estimator carries, or None."""
    return vars(estimator).get("_growing")


def drop_carried(estimator: Any) -> None:
    """Let go of what an estimator carries, if it does."""
    vars(estimator).pop("_growing", None)

"""scikit-learn's callback API, which is experimental: all that skpadim knows of it stands here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self, TypeVar

import sklearn.callback
from sklearn.callback import ScoringMonitor, with_callbacks

__all__ = ["CallbackSupportMixin", "report_batches", "with_callbacks"]

T = TypeVar("T")


class CallbackSupportMixin(sklearn.callback.CallbackSupportMixin):
    """scikit-learn's mixin, for estimators that have nothing to score before their fit ends."""

    def set_callbacks(self, *callbacks: Any) -> Self:
        """Set callbacks, which see the fit and its batches begin and end.

        Parameters
        ----------
        *callbacks : callback instances
            None: take off those that are set.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If one is no callback of scikit-learn's protocol, or a ``ScoringMonitor``: it scores the estimator
            after each step of a fit, and there is none to score before the last photo is seen.
        """
        if any(isinstance(callback, ScoringMonitor) for callback in callbacks):
            raise TypeError(
                f"ScoringMonitor would record nothing: {type(self).__name__} cannot score before its fit has "
                "seen the last photo, nor judge itself by the photos that it learned. Score other photos "
                "after the fit."
            )
        super().set_callbacks(*callbacks)
        return self


def report_batches(
    estimator: CallbackSupportMixin, batches: Iterable[T], n_batches: int | None, X: Any, name: str = "batch"
) -> Iterator[T]:
    """Yield the batches of a fit, each a task of this name that callbacks of the estimator see begin and end.

    A callback that asks to stop ends the stream: the fit goes on with the batches seen. Where nobody knows
    how many there are, ``n_batches`` is None.
    """
    context = estimator._init_callback_context(max_subtasks=n_batches)
    context.call_on_fit_task_begin(estimator=estimator, X=X)
    for batch in batches:
        task = context.subcontext(task_name=name)
        task.call_on_fit_task_begin(estimator=estimator)
        yield batch
        if task.call_on_fit_task_end(estimator=estimator):
            break
    context.call_on_fit_task_end(estimator=estimator, X=X)

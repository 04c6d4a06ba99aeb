"""scikit-learn's callback API, which is experimental: all that skpadim knows of it stands here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from sklearn.callback import CallbackSupportMixin, with_callbacks

__all__ = ["CallbackSupportMixin", "report_batches", "with_callbacks"]

T = TypeVar("T")


def report_batches(
    estimator: CallbackSupportMixin, batches: Iterable[T], n_batches: int, X: Any
) -> Iterator[T]:
    """Yield the batches of a fit, each a task that the estimator's callbacks see begin and end.

    A callback that asks to stop ends the stream: the fit goes on with the batches seen.
    """
    context = estimator._init_callback_context(max_subtasks=n_batches)
    context.call_on_fit_task_begin(estimator=estimator, X=X)
    for batch in batches:
        task = context.subcontext(task_name="batch")
        task.call_on_fit_task_begin(estimator=estimator)
        yield batch
        if task.call_on_fit_task_end(estimator=estimator):
            break
    context.call_on_fit_task_end(estimator=estimator, X=X)

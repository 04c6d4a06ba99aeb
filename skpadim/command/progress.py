"""How far a command is: a bar on a terminal, a line at every tenth elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

from .messages import say


class Progress:
    """Counts photos; to be used in a ``with``.

    Parameters
    ----------
    what : str
        What is being done, in a word or two.
    total : int
        Of photos.
    silent : bool, default=False
        Whether to say nothing, where results are printed one by one.
    """

    def __init__(self, what: str, total: int, *, silent: bool = False) -> None:
        self._what, self._total, self._done = what, total, 0
        self._silent = silent
        self._bar: Any = _bar() if not silent and sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        """Begin."""
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=self._total)
        return self

    def advance(self, n_photos: int = 1) -> None:
        """Count photos that are done."""
        before, self._done = self._done, min(self._done + n_photos, self._total)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
        elif not self._silent and 10 * self._done // self._total > 10 * before // self._total:
            say(f"{self._what}: {self._done} of {self._total} photos")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, whatever the reason."""
        if self._bar is not None:
            self._bar.stop()


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    # Results on stdout go where the caller sends them.
    return RichProgress(*columns, console=Console(stderr=True), redirect_stdout=False)


class FitProgress:
    """A callback of scikit-learn's that tells a `Progress` of every batch of a fit.

    Parameters
    ----------
    progress : Progress
    batch_size : int
    """

    def __init__(self, progress: Progress, batch_size: int) -> None:
        self._progress, self._batch_size = progress, batch_size

    def setup(self, estimator: Any, context: Any) -> None:
        """Do nothing before the fit."""

    def teardown(self, estimator: Any, context: Any) -> None:
        """Do nothing after it."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing before a batch."""

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Count a batch."""
        if context.parent is not None:
            self._progress.advance(self._batch_size)

"""Tasks over joblib's active backend, done again where a worker died with them."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from itertools import chain, islice
from typing import Any, TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import get_active_backend

from .delivery import InMemory, Parcel, delivered, refuse_workers_without

Task = TypeVar("Task")
Result = TypeVar("Result")

# So many deaths in a row, without a task done in between, and a task is what kills them.
_DEATHS = 3
# Where results come when all of a round are done, so many tasks for every job make one.
_ROUND = 4


def jobs_at_hand(n_jobs: int | None) -> int:
    """Return how many jobs a parameter ``n_jobs`` stands for in joblib's active context.

    Parameters
    ----------
    n_jobs : int or None

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If it is 0.
    """
    if n_jobs == 0:
        raise ValueError("n_jobs=0 has no meaning; pass a positive number of jobs, -1 or None.")
    return int(joblib.effective_n_jobs(n_jobs))


def run_tasks(
    function: Callable[[Any, Task], Result],
    shared: Any,
    tasks: Iterable[Task],
    n_jobs: int,
    *,
    in_rounds: bool = False,
) -> Iterator[tuple[int, Result]]:
    """Yield ``function(shared, task)`` of every task, with its number, as they are done.

    A task counts once, though it may be worked on again: if a worker dies, whatever was not done yet.

    Parameters
    ----------
    function : callable
        Of a module, without side effects.
    shared : object
        What all tasks need. It reaches each worker once.
    tasks : iterable
        They are begun as workers get free.
    n_jobs : int
        As ``jobs_at_hand`` says.
    in_rounds : bool, default=False
        Whether not to begin more than a few tasks for every job before what is done was taken.

    Yields
    ------
    (int, object)

    Raises
    ------
    ImportError
        If workers lack skpadim, or what it needs.
    RuntimeError
        If workers die again and again.
    """
    backend, _ = get_active_backend()
    refuse_workers_without("skpadim", backend)
    in_rounds = in_rounds or not backend.supports_return_generator
    begun: dict[int, Task] = {}
    fresh = enumerate(tasks)
    deaths = 0

    def begin() -> Iterator[tuple[int, Task]]:
        yield from list(begun.items())
        for number, task in fresh:
            begun[number] = task
            yield number, task

    while True:
        try:
            with delivered(shared, backend) as (parcel, place):
                calls = (
                    joblib.delayed(_run)(function, parcel, place, number, task) for number, task in begin()
                )
                for number, result in _results(calls, n_jobs, in_rounds):
                    del begun[number]
                    deaths = 0
                    yield number, result
            return
        except Exception as error:
            deaths += 1
            if not _is_death(error):
                raise
            if deaths == _DEATHS:
                raise RuntimeError(
                    f"{_DEATHS} times workers died and nothing was done in between: they may lack memory. "
                    "Lower n_jobs or batch_size, or give them more."
                ) from error


def _run(
    function: Callable[[Any, Task], Result], parcel: InMemory | Parcel, place: Any, number: int, task: Task
) -> tuple[int, Result]:
    try:
        return number, function(parcel.take(place), task)
    except ValueError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise ValueError(
            f"{error} So it is on {platform.node()}, whose part it is: pass paths that all machines know, or "
            "a PhotoLoader, which loads photos where they are wanted."
        ) from error.__cause__


def _results(calls: Iterator[Any], n_jobs: int, in_rounds: bool) -> Iterator[Any]:
    """Yield the results of calls: as they are done, or all of a round when its last is."""
    if not in_rounds:
        yield from joblib.Parallel(n_jobs, batch_size=1, return_as="generator_unordered")(calls)
        return
    with joblib.Parallel(n_jobs, batch_size=1) as parallel:
        for first in calls:
            yield from parallel(chain([first], islice(calls, _ROUND * n_jobs - 1)))


def _is_death(error: Exception) -> bool:
    """Whether an engine says that workers, or data that they held, are gone."""
    if isinstance(error, TerminatedWorkerError | CancelledError):
        return True
    ray = sys.modules.get("ray")
    return ray is not None and isinstance(
        error,
        ray.exceptions.RayActorError | ray.exceptions.WorkerCrashedError | ray.exceptions.ObjectLostError,
    )

"""Work done in threads a little ahead of whoever takes the results: files are read while a network runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], ahead: int, n_threads: int
) -> Generator[Result]:
    """Map in threads, in order, with at most `ahead` results under way or waiting to be taken.

    No thread outlives its work: each pool ends with its `ahead` items. One pool for all would wait for
    more as long as this generator is suspended, and the traceback of an interrupted caller keeps it so.

    Parameters
    ----------
    function : callable
        Called once for every item, in any thread.
    items : iterable
    ahead : int
        How many items are begun before the first of their results is taken.
    n_threads : int
        How many items are under way at once.

    Yields
    ------
    object
        ``function(item)`` for every item. Its exceptions are raised here, in the order of the items.

    Examples
    --------
    >>> list(map_ahead(str.upper, ["a", "b", "c"], ahead=2, n_threads=2))
    ['A', 'B', 'C']
    """
    remaining = iter(items)

    def start() -> tuple[ThreadPoolExecutor, deque[Future[Result]]]:
        pool = ThreadPoolExecutor(n_threads, thread_name_prefix="skpadim")
        results = deque(pool.submit(function, item) for item in islice(remaining, ahead))
        pool.shutdown(wait=False)
        return pool, results

    pool, results = start()
    try:
        while results:
            result = results.popleft().result()
            if not results:
                pool, results = start()
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

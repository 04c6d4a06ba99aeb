"""Functions timed in turns, so that a slow moment of the machine meets all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

N_WARM_UP = 2


def timed(function: Callable[[], object]) -> float:
    """Return seconds."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def interleaved(*functions: Callable[[], object], repeats: int) -> list[float]:
    """Return the median seconds of every function."""
    turns = [[timed(function) for function in functions] for _ in range(N_WARM_UP + repeats)]
    return [statistics.median(times) for times in zip(*turns[N_WARM_UP:], strict=True)]

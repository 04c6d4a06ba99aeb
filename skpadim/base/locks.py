"""Locks that a forked child does not inherit as held."""

from __future__ import annotations

import os
import threading
from typing import Any


class ForkSafeLock:
    """A reentrant lock that a forked child gets anew, free.

    A child has the thread that forked and no other: a lock that another thread held would stay held there.

    Examples
    --------
    >>> lock = ForkSafeLock()
    >>> with lock, lock:
    ...     pass
    """

    def __init__(self) -> None:
        self._held: list[Any] = []  # by the one thread that is inside
        self._renew()
        if hasattr(os, "register_at_fork"):  # Windows does not fork.
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        lock = self._lock
        lock.acquire()
        self._held.append(lock)

    def __exit__(self, *_: object) -> None:
        self._held.pop().release()  # In a child, what its parent acquired.

"""Digests of contents: what is the same has the same, whatever its name."""

from __future__ import annotations

import functools
import hashlib
import os
import time
from typing import Any

import numpy as np

_DIGESTS_KEPT = 65_536  # about 20 MB
_TICK_NS = 2_000_000_000


def digest(*parts: object) -> str:
    """Return a digest of bytes, arrays, and values that their ``repr`` tells apart.

    Parameters
    ----------
    *parts : object

    Returns
    -------
    str
    """
    sha = hashlib.sha256()
    for part in parts:
        content: Any = part
        if isinstance(part, np.ndarray):
            sha.update(digest(part.dtype.str, part.shape).encode())
            content = np.ascontiguousarray(part).reshape(-1).view(np.uint8)
        elif not isinstance(part, bytes):
            content = repr(part).encode()
        sha.update(len(content).to_bytes(8, "little"))
        sha.update(content)
    return sha.hexdigest()


def file_digest(path: str | os.PathLike[str]) -> str:
    """Return a digest of a file's content; a file is read again when its state says that it changed.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    str
    """
    stat = os.stat(path)
    state = (os.fspath(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    # What is written twice within a tick of the clock has one state and two contents.
    if time.time_ns() - max(state[3:]) < _TICK_NS:
        return _read_digest.__wrapped__(*state)
    return _read_digest(*state)


@functools.lru_cache(maxsize=_DIGESTS_KEPT)
def _read_digest(path: str, *state: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""What all tasks need, taken to each worker once, however many tasks it works on."""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from ..base.locks import ForkSafeLock
from ..images.digests import digest

# What a worker keeps at hand: a fit and a fitted detector, or two detectors that take turns.
_N_KEPT = 2
_kept: OrderedDict[str, Any] = OrderedDict()
_UNPACKING = ForkSafeLock()
# What this process delivers: joblib works here where a cluster has shrunk to one job.
_delivering: dict[str, Any] = {}


@dataclass(frozen=True)
class InMemory:
    """What lies in the memory that threads share."""

    content: Any

    def take(self, _: Any) -> Any:
        """Return it."""
        return self.content


@dataclass(frozen=True)
class Parcel:
    """What lies elsewhere, packed: a worker that has it at hand does not fetch it again.

    Attributes
    ----------
    key : str
        Digest of its content.
    """

    key: str

    def take(self, place: Any) -> Any:
        """Return what is packed.

        Parameters
        ----------
        place : str, ndarray, or reference of Ray
            A file, the content, or where it lies.
        """
        if self.key in _delivering:
            return _delivering[self.key]
        with _UNPACKING:
            if self.key not in _kept:
                _kept[self.key] = pickle.loads(_content(place))
                while len(_kept) > _N_KEPT:
                    _kept.popitem(last=False)
            _kept.move_to_end(self.key)
            return _kept[self.key]


def _content(place: Any) -> Any:
    if isinstance(place, str):
        with open(place, "rb") as file:
            return file.read()
    if isinstance(place, np.ndarray):
        return place.data
    return sys.modules["ray"].get(place).data


@contextmanager
def delivered(content: Any, backend: Any) -> Iterator[tuple[InMemory | Parcel, Any]]:
    """Lay something out where all workers of a backend of joblib can take it.

    Parameters
    ----------
    content : object
    backend : joblib.parallel.ParallelBackendBase

    Yields
    ------
    parcel : InMemory or Parcel
    place : object
        To be an argument of every task, and passed to ``parcel.take``.
    """
    if getattr(backend, "supports_sharedmem", False):
        yield InMemory(content), None
        return
    # By value what a plain pickle would look up by name: functions and networks of a notebook.
    blob = np.frombuffer(cloudpickle.dumps(content), dtype=np.uint8)
    parcel = Parcel(digest(blob))
    with _laid_out(blob, backend) as place:
        _delivering[parcel.key] = content
        try:
            yield parcel, place
        finally:
            _delivering.pop(parcel.key, None)


@contextmanager
def _laid_out(blob: NDArray[np.uint8], backend: Any) -> Iterator[Any]:
    if is_dask(backend):
        # To all of them: data that only one worker has is lost with it.
        yield backend.client.scatter(blob, broadcast=True, hash=False)
    elif is_ray(backend):
        yield sys.modules["ray"].put(blob)
    elif type(backend).__module__.startswith("joblib."):
        # Its other processes are on this machine.
        with tempfile.TemporaryDirectory(prefix="skpadim-", ignore_cleanup_errors=True) as folder:
            path = os.path.join(folder, "shared")
            blob.tofile(path)
            yield path
    else:
        yield blob


def is_dask(backend: Any) -> bool:
    """Whether tasks run in the workers of a Dask cluster."""
    return type(backend).__name__ == "DaskDistributedBackend"


def is_ray(backend: Any) -> bool:
    """Whether tasks run in the actors of a Ray cluster."""
    return type(backend).__module__.startswith("ray.")


def refuse_workers_without(package: str, backend: Any) -> None:
    """Raise if workers lack a package: Dask's would end at the first task, and only their log would say why.

    Parameters
    ----------
    package : str
    backend : joblib.parallel.ParallelBackendBase

    Raises
    ------
    ImportError
        It names the workers.
    """
    if not is_dask(backend):
        return
    found = backend.client.run(find_spec, package, on_error="return")
    lacking = sorted(worker for worker, spec in found.items() if spec is None)
    if lacking:
        raise ImportError(
            f"{len(lacking)} of {len(found)} workers of the Dask cluster lack the package {package}: "
            f"{', '.join(lacking[:5])}{', ...' if len(lacking) > 5 else ''}. Install the same version there."
        )

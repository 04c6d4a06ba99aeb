"""Files of other programs that are pickles, read without running anything that they ask for."""

from __future__ import annotations

import collections
import functools
import os
import pickle
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

# An array's pickle names the function that makes an empty one, or, from protocol 5 on, one around bytes.
# numpy 2 renamed the module that they are in.
_ARRAY_PARTS = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy.core.numeric", "_frombuffer"): np.empty(0).__reduce_ex__(5)[0],
    ("numpy._core.numeric", "_frombuffer"): np.empty(0).__reduce_ex__(5)[0],
}
_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def read_arrays(path: str | os.PathLike[str]) -> Any:
    """Read a pickle of NumPy arrays, in lists, tuples and dicts; anything else in it is refused.

    Raises
    ------
    ValueError
        If there is no such file, or it asks for something else, or is damaged.
    """
    _refuse_absent(path)
    with open(path, "rb") as file:
        try:
            return _ArrayUnpickler(file).load()
        except _ForeignError as error:
            raise ValueError(
                f"{os.fspath(path)!r} asks for {error}, and only NumPy arrays are read. Nothing of the file "
                "was run. If you trust it, load it with pickle and save its arrays alone."
            ) from error
        except Exception as error:  # On other files pickle raises almost anything.
            raise ValueError(f"{os.fspath(path)!r} is no pickle, or damaged ({error}).") from error


def _refuse_absent(path: str | os.PathLike[str]) -> None:
    if os.path.isdir(path):
        raise ValueError(f"{os.fspath(path)!r} cannot be read: it is a folder; pass a file in it.")
    if not os.path.exists(path):
        raise ValueError(f"{os.fspath(path)!r} cannot be read: there is no such file.")


class _ForeignError(Exception):
    """A pickle asks for what it must not have."""


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ARRAY_PARTS[module, name]
        except KeyError:
            raise _ForeignError(f"{module}.{name}") from None


class StandIn:
    """Stands for an object of a type that is not built: its own type has the other's name.

    Attributes
    ----------
    arguments : tuple
        Of which the object was made.
    state : dict
        The attributes that it had.
    """

    arguments: tuple[Any, ...] = ()
    state: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        """Take an item as a dict would, and forget it."""

    def append(self, item: object) -> None:
        """Take an item as a list would, and forget it."""


@functools.cache
def _stand_in(name: str) -> type[StandIn]:
    return type(name, (StandIn,), {})


def read_torch_file(path: str | os.PathLike[str]) -> Any:
    """Read what ``torch.save`` wrote: tensors, plain values, and a :class:`StandIn` for each other object.

    Raises
    ------
    ValueError
        If there is no such file, or it is none of torch's, older than torch 1.6, or damaged.
    """
    _refuse_absent(path)
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{os.fspath(path)!r} is no file of torch.save, or one from before torch 1.6, or damaged. Pass "
            "a checkpoint (.ckpt), a saved state dict or an exported model (.pt)."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(pickled) as file:
                return _TorchUnpickler(file, archive, pickled.removesuffix("data.pkl")).load()
    except Exception as error:  # On other files zipfile, pickle and torch raise almost anything.
        raise ValueError(
            f"{os.fspath(path)!r} cannot be read as a file of torch.save ({type(error).__name__}: {error}): "
            "it is damaged, or holds something else."
        ) from error


def child(module: Any, name: str) -> StandIn | None:
    """Return a module that another holds, both stand-ins; None if there is none."""
    held = module.state.get("_modules", {}) if isinstance(module, StandIn) else {}
    found = held.get(name) if isinstance(held, Mapping) else None
    return found if isinstance(found, StandIn) else None


def module_tensors(module: StandIn, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the entries of the state dict of a module that a stand-in stands for."""
    for kind in ("_parameters", "_buffers"):
        for name, value in module.state.get(kind, {}).items():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value
    for name in module.state.get("_modules", {}):
        held = child(module, name)
        if held is not None:
            yield from module_tensors(held, f"{prefix}{name}.")


class _TorchUnpickler(pickle.Unpickler):
    """Builds tensors and dicts; of each other type named in the file a stand-in is made."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._archive = archive
        self._folder = folder
        self._read = functools.cache(self._read_storage)  # tensors may share one

    def find_class(self, module: str, name: str) -> Any:
        built = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): _parameter,
        }
        return built.get((module, name)) or _stand_in(name)

    def persistent_load(self, pid: Any) -> Tensor:
        _, kind, key, *_ = pid
        return self._read(kind.__name__, str(key))

    def _read_storage(self, kind: str, key: str) -> Tensor:
        names = self._archive.namelist()
        order = f"{self._folder}byteorder"
        if order in names and self._archive.read(order).decode() != sys.byteorder:
            raise ValueError("its numbers are stored in the byte order of another processor")
        content = bytearray(self._archive.read(f"{self._folder}data/{key}"))
        dtype = _STORAGES[kind]
        return torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)


def _tensor(storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_: object) -> Tensor:
    """Make a view of a storage; torch refuses one that reaches beyond it."""
    return storage.as_strided(size, stride, offset)


def _parameter(data: Tensor, *_: object) -> Tensor:
    return data

"""Features that are computed once: kept in a folder by the content of each image.

The entry of an image stands where its content, and all else that decides its features, say: renamed files
and reordered lists find it, changed ones do not. It is a folder with one file for each output of the
network, channels last, inside the store of a joblib.Memory, so that ``memory.clear()`` and
``memory.reduce_size()`` see it. Reading maps a file into memory and copies the channels that are wanted:
joblib's own reading of a whole result takes several times as long, which a search over many candidates would
feel.
"""

from __future__ import annotations

import mmap
import os
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_memory
from torch import Tensor

from ..base.locks import ForkSafeLock
from ..images.digests import digest

Built = TypeVar("Built")

# Raised when the same key would mean other features.
_FORMAT = 5
# The end of a file names its dtype: half a file of float64 must not pass for one of float32.
_DTYPES: dict[bytes, np.dtype[Any]] = {b"<f4": np.dtype("<f4"), b"<f8": np.dtype("<f8")}
_NETWORKS_KEPT = 3
_BUILDING = ForkSafeLock()
_BUILT: OrderedDict[str, Any] = OrderedDict()


class FeatureStore:
    """Features of single images, in a folder.

    Parameters
    ----------
    memory : joblib.Memory, str or path
    source : str
        Whatever decides the features beside the image: see :func:`digest`.
    """

    def __init__(self, memory: joblib.Memory | str | os.PathLike[str], source: str) -> None:
        self._folder = store_folder(memory, make=False) / "skpadim"
        self._source = digest(_FORMAT, source)

    def read(
        self,
        images: Sequence[str],
        layer: str,
        shape: tuple[int, int, int],
        channels: NDArray[np.int64] | None = None,
    ) -> Tensor | None:
        """Return the features of some images, or None if those of one are missing or broken.

        Parameters
        ----------
        images : sequence of str
            Digests of their contents.
        layer : str
        shape : (int, int, int)
            Its channels, height and width.
        channels : ndarray, optional
            The channels to read. Default: all.

        Returns
        -------
        Tensor of shape (n_images, channels, height, width), in channels_last memory, or None
        """
        n_channels, height, width = shape
        kept = np.arange(n_channels) if channels is None else channels
        features: NDArray[Any] | None = None
        for position, image in enumerate(images):
            mapped = _map(self._file(image, layer, shape), (height * width, n_channels))
            if mapped is None or (features is not None and mapped.dtype != features.dtype):
                return None
            if features is None:
                features = np.empty((len(images), height * width, len(kept)), mapped.dtype)
            np.take(mapped, kept, axis=1, out=features[position], mode="clip")
        assert features is not None
        return torch.from_numpy(features).unflatten(1, (height, width)).permute(0, 3, 1, 2)

    def has(self, image: str, layers: Mapping[str, tuple[int, int, int]]) -> bool:
        """Return whether the outputs of some layers for an image are there, and whole.

        Parameters
        ----------
        image : str
            Digest of its content.
        layers : mapping of str to (int, int, int)
            Channels, height and width of every layer's output.

        Returns
        -------
        bool
        """
        return all(
            _map(self._file(image, layer, (channels, height, width)), (height * width, channels)) is not None
            for layer, (channels, height, width) in layers.items()
        )

    def write(self, images: Sequence[str], layer: str, features: Tensor) -> None:
        """Keep the features (n_images, channels, height, width) of some images."""
        for image, single in zip(images, features.permute(0, 2, 3, 1).cpu().numpy(), strict=True):
            height, width, channels = single.shape
            path = self._file(image, layer, (channels, height, width))
            _write(Path(path), np.ascontiguousarray(single).tobytes() + single.dtype.str.encode())

    def _file(self, image: str, layer: str, shape: tuple[int, int, int]) -> str:
        channels, height, width = shape
        return f"{self._entry(image)}/{layer}.{channels}x{height}x{width}"

    def _entry(self, image: str) -> str:
        # joblib knows its entries by names of 32 hexadecimal digits.
        return f"{self._folder}/{digest(self._source, image)[:32]}"


def store_folder(memory: joblib.Memory | str | os.PathLike[str], *, make: bool) -> Path:
    """Return the folder of a memory.

    Parameters
    ----------
    memory : joblib.Memory, str or path
    make : bool
        Whether to make it where it is missing.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If it has none, or there is none and none can be made.
    """
    given = memory if isinstance(memory, joblib.Memory) else os.fspath(memory)
    location = given.location if isinstance(given, joblib.Memory) else given
    reason = "has no folder to keep features in"
    if location and not make and not os.path.isdir(location):
        reason = "is not there"
    elif location:
        try:
            store = getattr(check_memory(given), "store_backend", None)
        except OSError as error:
            reason = f"cannot be made a folder ({error.strerror})"
        else:
            if store is not None:
                return Path(store.location)
    raise ValueError(
        f"memory={memory!r} {reason}. Pass the path of a folder, a joblib.Memory with a location, or None."
    )


def _map(path: str, shape: tuple[int, int]) -> NDArray[Any] | None:
    """Map a file into memory as an array of this shape, or return None if it is missing or broken."""
    # numpy.memmap resolves the path as well, which takes longer than all the rest.
    try:
        with open(path, "rb", buffering=0) as file:
            raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # Not there, or empty.
        return None
    dtype, size = _DTYPES.get(raw[-3:]), shape[0] * shape[1]
    if dtype is None or len(raw) != size * dtype.itemsize + 3:  # Not whole, or by something else.
        return None
    return np.frombuffer(raw, dtype, size).reshape(shape)


def _write(path: Path, content: bytes) -> None:
    """Write a file so that nobody, not another process either, ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def built_once(key: str, build: Callable[[], Built]) -> Built:
    """Return what ``build`` gives, the same for the same key; the last few are kept in this process."""
    with _BUILDING:
        if key not in _BUILT:
            _BUILT[key] = build()
        _BUILT.move_to_end(key)
        if len(_BUILT) > _NETWORKS_KEPT:
            _BUILT.popitem(last=False)
        return _BUILT[key]

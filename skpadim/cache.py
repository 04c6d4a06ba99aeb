"""Features that are computed once: kept in a folder by the content of each image.

The entry of an image stands where its content, and all else that decides its features, say: renamed files
and reordered lists find it, changed ones do not. It is a folder with one file for each output of the
network, channels last, inside the store of a joblib.Memory, so that ``memory.clear()`` and
``memory.reduce_size()`` see it. Reading maps a file into memory and copies the channels that are wanted:
joblib's own reading of a whole result takes several times as long, which a search over many candidates would
feel.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import mmap
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_memory
from torch import Tensor, nn

from .backbones import trunk_arrays

# Raised when the same key would mean other features.
_FORMAT = 1
_DTYPES: dict[int, np.dtype[Any]] = {4: np.dtype(np.float32), 8: np.dtype(np.float64)}
_NETWORKS_KEPT = 3


class FeatureCache:
    """Features of single images, in a folder.

    Parameters
    ----------
    memory : joblib.Memory, str or path
    source : str
        Whatever decides the features beside the image: see :func:`digest`.
    """

    def __init__(self, memory: joblib.Memory | str | os.PathLike[str], source: str) -> None:
        self._folder = _store(memory) / "skpadim"
        self._source = source

    def read(
        self,
        images: Sequence[str],
        output: str,
        shape: tuple[int, int, int],
        channels: NDArray[np.int64] | None = None,
    ) -> Tensor | None:
        """Return the features of some images, or None if those of one are missing or broken.

        Parameters
        ----------
        images : sequence of str
            Digests of their contents.
        output : str
            Which output of the network.
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
            mapped = _map(self._file(image, output, shape), (height * width, n_channels))
            if mapped is None or (features is not None and mapped.dtype != features.dtype):
                return None
            if features is None:
                features = np.empty((len(images), height * width, len(kept)), mapped.dtype)
            np.take(mapped, kept, axis=1, out=features[position], mode="clip")
        assert features is not None
        return torch.from_numpy(features).unflatten(1, (height, width)).permute(0, 3, 1, 2)

    def outputs(self, image: str) -> dict[str, tuple[int, int, int]]:
        """Return the outputs that are kept of an image, with their channels, height and width."""
        shapes = {}
        for name in os.listdir(self._entry(image)) if os.path.isdir(self._entry(image)) else []:
            output, _, sides = name.rpartition(".")
            if re.fullmatch(r"\d+x\d+x\d+", sides):
                channels, height, width = map(int, sides.split("x"))
                shapes[output] = channels, height, width
        return shapes

    def write(self, images: Sequence[str], output: str, features: Tensor) -> None:
        """Keep the features (n_images, channels, height, width) of some images."""
        for image, single in zip(images, features.permute(0, 2, 3, 1).cpu().numpy(), strict=True):
            height, width, channels = single.shape
            path = self._file(image, output, (channels, height, width))
            _write(Path(path), np.ascontiguousarray(single).tobytes())

    def _file(self, image: str, output: str, shape: tuple[int, int, int]) -> str:
        channels, height, width = shape
        return f"{self._entry(image)}/{output}.{channels}x{height}x{width}"

    def _entry(self, image: str) -> str:
        # joblib knows its entries by names of 32 hexadecimal digits.
        return f"{self._folder}/{digest(self._source, image)[:32]}"


def _store(memory: joblib.Memory | str | os.PathLike[str]) -> Path:
    """Return the folder of a memory, made where it is missing."""
    memory = check_memory(os.fspath(memory) if isinstance(memory, os.PathLike) else memory)
    location = getattr(getattr(memory, "store_backend", None), "location", None)
    if location is None:
        raise ValueError(
            f"memory={memory!r} has no folder to keep features in. Pass the path of a folder, a "
            "joblib.Memory with a location, or None."
        )
    return Path(location)


def _map(path: str, shape: tuple[int, int]) -> NDArray[Any] | None:
    """Map a file into memory as an array of this shape, or return None if it is missing or broken."""
    # numpy.memmap resolves the path as well, which takes longer than all the rest.
    try:
        with open(path, "rb", buffering=0) as file:
            raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # Not there, or empty.
        return None
    itemsize, rest = divmod(len(raw), shape[0] * shape[1])
    if itemsize not in _DTYPES or rest:  # Not written to the end, or by something else.
        return None
    return np.frombuffer(raw, _DTYPES[itemsize]).reshape(shape)


def _write(path: Path, content: bytes) -> None:
    """Write a file so that nobody, not another process either, ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(content)
            file.close()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


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


def network_digest(backbone: str | nn.Module, weights: str | os.PathLike[str] | None, seed: int) -> str:
    """Return a digest of all that decides a network, without building it.

    Parameters
    ----------
    backbone, weights, seed
        See :func:`skpadim.backbones.build_trunk`.

    Returns
    -------
    str
    """
    parts: list[object] = [_FORMAT, torch.__version__, version("torchvision")]
    if isinstance(backbone, nn.Module):
        parts += [repr(backbone), _source_code(type(backbone))]
        parts += [item for name, array in trunk_arrays(backbone).items() for item in (name, array)]
    else:
        parts += [backbone, seed if weights is None else None]
    if weights is not None and Path(weights).is_file():
        stat = os.stat(weights)
        parts.append(_file_digest(os.fspath(weights), stat.st_mtime_ns, stat.st_size, stat.st_ino))
    else:
        parts.append(weights)
    return digest(*parts)


def _source_code(kind: type) -> str:
    """Return what a class says, as far as Python knows: two classes of one name may compute differently."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # Typed into a console, or built in.
        return kind.__qualname__


@functools.lru_cache(maxsize=8)
def _file_digest(path: str, *state: int) -> str:
    """Return the digest of a large file, which is read again when its state says that it changed."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def built_once(key: str, build: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what ``build`` gives, the same for the same key; the last few are kept in this process."""
    kept = _kept(key)
    if not kept:
        kept.update(build())
    return kept


@functools.lru_cache(maxsize=_NETWORKS_KEPT)
def _kept(key: str) -> dict[str, Any]:
    return {}

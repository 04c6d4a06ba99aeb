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
import inspect
import mmap
import operator
import os
import re
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_memory
from torch import Tensor, nn

from ..images.digests import digest, file_digest
from ..network.tracing import calls_forward_alone, trace_network
from ..network.weights import copied

# Raised when the same key would mean other features.
_FORMAT = 3
# The end of a file names its dtype: half a file of float64 must not pass for one of float32.
_DTYPES: dict[bytes, np.dtype[Any]] = {b"<f4": np.dtype("<f4"), b"<f8": np.dtype("<f8")}
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
        self._folder = store_folder(memory) / "skpadim"
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

    def has(self, image: str, outputs: Mapping[str, tuple[int, int, int]]) -> bool:
        """Return whether some outputs of an image are there, and whole.

        Parameters
        ----------
        image : str
            Digest of its content.
        outputs : mapping of str to (int, int, int)
            Channels, height and width of every output.

        Returns
        -------
        bool
        """
        return all(
            _map(self._file(image, output, (channels, height, width)), (height * width, channels)) is not None
            for output, (channels, height, width) in outputs.items()
        )

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
            _write(Path(path), np.ascontiguousarray(single).tobytes() + single.dtype.str.encode())

    def _file(self, image: str, output: str, shape: tuple[int, int, int]) -> str:
        channels, height, width = shape
        return f"{self._entry(image)}/{output}.{channels}x{height}x{width}"

    def _entry(self, image: str) -> str:
        # joblib knows its entries by names of 32 hexadecimal digits.
        return f"{self._folder}/{digest(self._source, image)[:32]}"


def store_folder(memory: joblib.Memory | str | os.PathLike[str]) -> Path:
    """Return the folder of a memory, made where it is missing.

    Raises
    ------
    ValueError
        If it has none, or none can be made.
    """
    given = os.fspath(memory) if isinstance(memory, os.PathLike) else memory
    try:
        store = getattr(check_memory(given or None), "store_backend", None)
    except OSError as error:
        reason = f"cannot be made a folder ({error.strerror})"
    else:
        if store is not None:
            return Path(store.location)
        reason = "has no folder to keep features in"
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


class UnknownNetworkError(ValueError):
    """Nobody can tell a network from others without running it."""


def network_digest(backbone: str | nn.Module, weights: str | os.PathLike[str] | None, seed: int) -> str:
    """Return a digest of all that decides a network, without building it.

    Parameters
    ----------
    backbone, weights, seed
        See :func:`skpadim.network.weights.build_trunk`.

    Returns
    -------
    str

    Raises
    ------
    UnknownNetworkError
        If parts of the network are code that is not torch's and that torch.fx does not see.
    ValueError
        If it cannot be copied or traced.
    """
    parts: list[object] = [_FORMAT, *map(version, ("torch", "torchvision", "pillow"))]
    parts.append(torch.get_default_dtype())  # in which a network is made
    if isinstance(backbone, nn.Module):
        parts += _module_parts(backbone)
    else:
        _refuse_registered_by_others(backbone)
        parts += [backbone, seed if weights is None else None]
    if weights is not None and Path(weights).is_file():
        parts.append(file_digest(weights))
    else:
        parts.append(weights)
    return digest(*parts)


def _refuse_registered_by_others(name: str) -> None:
    from torchvision.models import get_model_builder, list_models

    # A name that is not known is explained where the network is built.
    if name in list_models() and not _is_torchs(get_model_builder(name)):
        raise UnknownNetworkError(f"{name!r} is not torchvision's own")


def _module_parts(module: nn.Module) -> Iterator[object]:
    """Yield what decides a module's results: its graph, what torch's modules in it are, all its tensors."""
    model = copied(module).eval()
    # What a forward method does is in the graph; what torch's own modules do, in their attributes.
    graph, _ = trace_network(model)
    yield str(graph)
    called: dict[str, nn.Module] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            called |= dict(model.get_submodule(str(node.target)).named_modules(prefix=str(node.target)))
        elif node.op == "call_function" and not _is_torchs(node.target):
            raise UnknownNetworkError(f"it calls {getattr(node.target, '__name__', node.target)}")
    for name, each in model.named_modules():
        if not calls_forward_alone(each) or hasattr(each, "parametrizations"):
            raise UnknownNetworkError(f"{name!r} has hooks, parametrizations or a forward of its own")
    every_module_has = vars(nn.Module()).keys()
    for name, each in called.items():
        if not _is_torchs(type(each)):
            raise UnknownNetworkError(f"what {name!r} does is not torch's")
        yield name, type(each).__module__, type(each).__qualname__
        for attribute in sorted(vars(each).keys() - every_module_has):
            yield attribute
            yield _content(vars(each)[attribute], f"{name}.{attribute}")
    # Of tied tensors each place counts: it matters which are tied.
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    constants = [str(node.target) for node in graph.nodes if node.op == "get_attr"]
    tensors += [(name, operator.attrgetter(name)(model)) for name in constants]
    for name, tensor in tensors:
        yield name, tensor.dtype, tuple(tensor.shape)
        yield _content(tensor, name)


def _is_torchs(code: object) -> bool:
    """Whether a function or class is torch's, torchvision's or Python's: there under its name."""
    module = getattr(code, "__module__", None) or "torch"
    if module.startswith("torch._ops."):
        return module in ("torch._ops.aten", "torch._ops.prims", "torch._ops.torchvision")
    library = module.partition(".")[0]
    known = library in ("torch", "torchvision", "_operator", "math", "builtins")
    # A method of somebody's class names the module of the class that it inherits from.
    return known and getattr(sys.modules.get(module), getattr(code, "__name__", ""), None) is code


def _content(value: object, name: str) -> object:
    """Return all of a tensor, of which a ``repr`` shows some numbers, and the name of a function."""
    if isinstance(value, Tensor):
        return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    if inspect.isroutine(value) and _is_torchs(value):
        return value.__module__, value.__name__
    if isinstance(value, tuple | list):
        return tuple(_content(each, name) for each in value)
    # Of anything else a ``repr`` may hide what it does.
    if not isinstance(value, int | float | complex | str | bytes | torch.dtype | torch.device | None):
        raise UnknownNetworkError(f"nobody knows what its attribute {name!r} does")
    return value


def built_once(key: str, build: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what ``build`` gives, the same for the same key; the last few are kept in this process."""
    kept = _kept(key)
    if not kept:
        kept.update(build())
    return kept


@functools.lru_cache(maxsize=_NETWORKS_KEPT)
def _kept(key: str) -> dict[str, Any]:
    return {}

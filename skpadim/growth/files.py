"""What is carried as plain arrays: for files, for checkpoints, and on the way between machines."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from ..base.whole_files import beside
from ..images.statistics import STATISTICS
from ..kernels.moments import Blocks, Moments, empty_moments
from ..kernels.prefix import PrefixTree
from ..pyramid import CoarseToFine
from ..reservoir import Rank, Reservoir, SampleState
from .growth import Growth, refuse_unfinished
from .identity import Identity
from .patches import PatchGrowth
from .photos import PhotosSeen

#: What `pack` writes; others are refused.
FORMAT = 1

Arrays = dict[str, NDArray[Any]]
T = TypeVar("T")

_NONE = np.empty(0)


class Row(NamedTuple):
    """What a sample holds of a photo."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


_STATISTICS_ROW = Row((len(STATISTICS),), np.dtype(np.float64))
# What features may be of, by names that numpy knows as well.
_DTYPES = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}


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
        If these are none, do not go together, or are of another version. The message goes on from a name.
    """
    if "format" not in arrays:
        raise ValueError("holds something else")
    written = number(arrays, "format")
    if written != FORMAT:
        raise ValueError(
            f"is of format {written}, and this version of skpadim reads format {FORMAT}: use the version "
            "that wrote it"
        )
    photos = _photos(arrays)
    growth = Growth(
        number(arrays, "n_calibration", least=1),
        number(arrays, "seed", least=None),
        identity=_identity(arrays),
        photos=photos,
        spare=number(arrays, "spare"),
    )
    empty = growth.statistics
    growth.statistics = _sample("statistics", arrays, empty, [_STATISTICS_ROW], photos, "cpu")
    growth.skipped = reasons_of(arrays, "skipped", "skipped_reasons")
    if "n_images" in arrays:
        growth.patches = _patches(arrays, growth, torch.device(device))
    if growth.n_images != len(photos):
        raise ValueError(f"has features of {growth.n_images} images, and digests of {len(photos)}")
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
    if not os.path.isfile(path):
        what = "it is a folder" if os.path.isdir(path) else "there is no such file"
        raise ValueError(f"{os.fspath(path)!r}: {what}; expected one that save_growth wrote.")

    def take(arrays: Arrays) -> Growth:
        if "n_done" in arrays:
            raise ValueError(
                "is a checkpoint of a fit under way: call that fit again, with its folder as checkpoint"
            )
        growth = unpack(arrays, device)
        refuse_unfinished(growth)
        return growth

    return read(path, take, "Expected a file that save_growth wrote.")


def read(path: str | os.PathLike[str], take: Callable[[Arrays], T], hint: str) -> T:
    """Return what is made of the arrays of a file; what is no such file is refused in words.

    Parameters
    ----------
    path : str or path
        Of a file that is there.
    take : callable
        Makes something of the arrays. What it raises as a ValueError goes on from the name of the file.
    hint : str
        The way out.
    """
    try:
        return take(_arrays_of(path))
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)!r} {error}. {hint}") from error


def _arrays_of(path: str | os.PathLike[str]) -> Arrays:
    try:
        # Opened here: numpy leaves open what it cannot read.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as opened:
            arrays = {name: opened[name] for name in opened.files}
    except Exception as error:  # Whatever numpy, zipfile and zlib raise at what is none of theirs.
        raise ValueError("is cut off, damaged, or holds something else") from error
    # Of other members of an archive numpy gives the bytes.
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ValueError("holds something else")
    return arrays


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


def _patches(arrays: Mapping[str, NDArray[Any]], growth: Growth, device: torch.device) -> PatchGrowth:
    shapes = [(channels, height, width) for channels, height, width in _shapes(arrays)]
    dtypes = _dtypes(arrays, len(shapes))
    order = CoarseToFine(shapes)
    # What a fit would begin with, without memory.
    like = empty_moments(order.shapes, torch.device("meta"))

    def part(name: str, like: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(array_of(arrays, name, np.float64, tuple(like.shape)).copy()).to(device)

    moments = Moments(
        PrefixTree.from_shapes([shape[1:] for shape in order.shapes]).to(device),
        number(arrays, "n_images"),
        [part(f"mean_{depth}", mean) for depth, mean in enumerate(like.means)],
        [
            Blocks(part(f"cross_{depth}", blocks.cross), part(f"own_{depth}", blocks.own))
            for depth, blocks in enumerate(like.comoments)
        ],
    )
    rows = [
        Row((height, width, channels), np.dtype(str(dtype).removeprefix("torch.")))
        for (channels, height, width), dtype in zip(order.shapes, order.sort(dtypes), strict=True)
    ]
    if f"sample_rows_{len(rows)}" in arrays:  # which patches photos that were moved do not show
        rows.append(Row(moments.tree.fine_shape, np.dtype(bool)))
    empty = Reservoir(growth.n_calibration, growth.seed, growth.spare)
    sample = _sample("sample", arrays, empty, rows, growth.photos, device)
    return PatchGrowth(shapes, moments, sample, dtypes)


def _shapes(arrays: Mapping[str, NDArray[Any]]) -> list[list[int]]:
    shapes: list[list[int]] = array_of(arrays, "shapes", np.int64, (None, 3)).tolist()
    if not shapes or min(map(min, shapes)) < 1:
        raise ValueError(f"has features of the shapes {shapes}")
    # Looked at before anything is made of this size.
    n_patches = len(array_of(arrays, f"mean_{len(shapes) - 1}", np.float64, (None, None)))
    if max(height for _, height, _ in shapes) * max(width for _, _, width in shapes) > n_patches:
        raise ValueError(f"has features of the shapes {shapes}, and means of {n_patches} patches")
    return shapes


def _dtypes(arrays: Mapping[str, NDArray[Any]], n_levels: int) -> list[torch.dtype]:
    names = texts(arrays, "dtypes", n_levels)
    if not set(names) <= _DTYPES.keys():
        raise ValueError(f"has features of the dtypes {names}, expected {[*_DTYPES]}")
    return [_DTYPES[name] for name in names]


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


def _sample(
    name: str,
    arrays: Mapping[str, NDArray[Any]],
    empty: Reservoir,
    rows: Sequence[Row],
    photos: PhotosSeen,
    device: torch.device | str,
) -> Reservoir:
    """Return a sample of photos, of the size, seed and spare rows of an empty one."""
    size = tuple(array_of(arrays, f"{name}_size", np.int64, (3,)).tolist())
    expected = empty.size, empty.seed, empty.spare
    if size != expected:
        raise ValueError(f"has a {name} of size, seed and spare rows {size}, expected {expected}")

    def ranks(keys: str, places: str) -> list[Rank]:
        column = array_of(arrays, f"{name}_{keys}", np.uint64, (None,)).tolist()
        place = array_of(arrays, f"{name}_{places}", np.int64, (len(column),)).tolist()
        return [*zip(column, place, strict=True)]

    kept, cut = ranks("keys", "places"), ranks("cut_key", "cut_place")
    known = len(kept) <= size[0] + size[2] and {place for _, place in kept} <= set(photos.places)
    if not known or len(set(kept)) < len(kept) or len(cut) > 1 or (cut and kept and max(kept) >= cut[0]):
        raise ValueError(f"has a {name} of photos that are not those learned")
    tensors = []
    for depth, row in enumerate(rows if kept else []):
        level = array_of(arrays, f"{name}_rows_{depth}", row.dtype, (len(kept), *row.shape))
        tensors.append(torch.from_numpy(level.copy()).to(device))
    return Reservoir.from_state(SampleState(*expected, kept, cut[0] if cut else None, tensors))


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
    places = array_of(arrays, "places", np.int64, (None,))
    n = len(places)
    together = array_of(arrays, "together", np.int32, (n,))
    starts = array_of(arrays, "starts", np.int64, (None,))
    groups = array_of(arrays, "groups", np.uint8, (8 * n if arrays.get("groups", _NONE).size else 0,))
    photos = PhotosSeen(
        bytearray(array_of(arrays, "contents", np.uint8, (8 * n,)).tobytes()),
        array("q", places.tobytes()),
        array("i", together.tobytes()),
        texts(arrays, "paths", n),
        starts.tolist(),
        number(arrays, "n_given"),
        bytearray(groups.tobytes()),
    )
    ascend = (np.diff(places) > 0).all() and (np.diff(starts) >= 0).all()
    if not ascend or (places[:1] < 0).any() or (starts[:1] < 0).any() or (together < 1).any():
        raise ValueError("has photos in no order")
    return photos


def _identity(arrays: Mapping[str, NDArray[Any]]) -> Identity:
    try:
        identity = json.loads(texts(arrays, "identity", 1)[0])
    except (json.JSONDecodeError, RecursionError):
        identity = None
    if not isinstance(identity, dict) or not all(isinstance(value, str) for value in identity.values()):
        raise ValueError("does not tell by what parameters it was learned")
    return identity


def array_of(
    arrays: Mapping[str, NDArray[Any]], name: str, dtype: DTypeLike, shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """Return an array of that dtype and shape, of which None is any length; others are refused in words."""
    if name not in arrays:
        raise ValueError(f"lacks {name!r}")
    found = arrays[name]
    fits = len(found.shape) == len(shape) and all(
        expected in (None, length) for expected, length in zip(shape, found.shape, strict=True)
    )
    if not fits or found.dtype != np.dtype(dtype):
        wanted = str(shape).replace("None", "any")
        raise ValueError(
            f"has {name!r} of {found.dtype} and shape {found.shape}, expected {np.dtype(dtype)} and {wanted}"
        )
    return found


def number(arrays: Mapping[str, NDArray[Any]], name: str, least: int | None = 0) -> int:
    """Return an int that is not smaller; anything else is refused in words."""
    found = int(array_of(arrays, name, np.int64, ()))
    if least is not None and found < least:
        raise ValueError(f"has {name!r} of {found}, expected at least {least}")
    return found


def texts(arrays: Mapping[str, NDArray[Any]], name: str, n: int) -> list[str]:
    """Return so many texts; anything else is refused in words."""
    found = texts_of(array_of(arrays, name, np.uint8, (None,)))
    if len(found) != n:
        raise ValueError(f"has {len(found)} texts in {name!r}, expected {n}")
    return found


def reasons_of(arrays: Mapping[str, NDArray[Any]], name: str, reasons: str) -> dict[int, str]:
    """Return what was wrong with photos, by the number of each; anything else is refused in words."""
    found = array_of(arrays, name, np.int64, (None,)).tolist()
    return dict(zip(found, texts(arrays, reasons, len(found)), strict=True))


def of_texts(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Return texts as bytes of UTF-8, a zero behind each; names of files may hold what UTF-8 has not."""
    joined = "".join(text + "\0" for text in texts)
    return np.frombuffer(joined.encode("utf-8", "surrogatepass"), dtype=np.uint8)


def texts_of(content: NDArray[np.uint8]) -> list[str]:
    """Return what `of_texts` was given, now or by earlier versions, which wrote the bytes of such names."""
    joined = content.tobytes()
    try:
        texts = joined.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        texts = joined.decode("utf-8", "surrogateescape")
    return texts.split("\0")[:-1]

"""``skpadim evaluate``: how good a model is, by a folder that says what its photos show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.bunches import Photo
from ..datasets.masks import read_mask
from ..datasets.own import read_tested
from .messages import say, show
from .progress import Progress

if TYPE_CHECKING:
    from ..model_file import Model

_GOOD = "good"
_MAX_FPR = 0.3


def evaluate(model: Model, folder: Path) -> dict[str, Any]:
    """Judge the photos to test on, and compare with what is known of them.

    Parameters
    ----------
    model : Model
        Set up.
    folder : Path
        In the layout of MVTec AD, or its part ``test``.

    Returns
    -------
    dict
        Plain values. What cannot be computed, without masks, say, is None.
    """
    photos = read_tested(folder)[0]
    by_pixels = all(photo.mask is not None for photo in photos if photo.defect != _GOOD)
    with TemporaryDirectory() as folder_of_maps:
        # The metrics go through all maps twice: they wait on disk.
        spool = {photo.path: Path(folder_of_maps, f"{place}.npy") for place, photo in enumerate(photos)}
        scores = _scores(model, photos, spool if by_pixels else {})
        is_read = np.isfinite(scores)
        for photo, could in zip(photos, is_read, strict=True):
            if not could:
                say(f"Not read, and left out: {photo.path}")
        read = [photo for photo, could in zip(photos, is_read, strict=True) if could]
        found = _by_image(read, scores[is_read], -model.detector.offset_)
        found["pixels"] = _by_pixels(read, spool) if by_pixels else None
    found["unreadable"] = int((~is_read).sum())
    return {"model": model.digest, "folder": str(folder)} | found


def tell(found: dict[str, Any]) -> None:
    """Print an evaluation as a person reads it."""
    show(f"{found['good']} good photos and {found['defective']} with defects.")
    show(f"{'Image ROC AUC':<24}{_number(found['image_roc_auc'])}")
    show(f"{'Average precision':<24}{_number(found['average_precision'])}")
    pixels = found["pixels"]
    if pixels is None:
        show("Pixels: not without masks of all defects, in a folder 'ground_truth'.")
    else:
        show(f"{'Pixel ROC AUC':<24}{_number(pixels['roc_auc'])}")
        show(f"{f'PRO up to {_MAX_FPR}':<24}{_number(pixels['pro'])}")
    show(f"At the threshold {found['threshold']:.4g}:")
    show(f"  false alarms  {found['false_alarms']:>4} of {found['good']} good photos")
    show(f"  misses        {found['misses']:>4} of {found['defective']} defects")
    if found["kinds"]:
        width = max(map(len, found["kinds"]))
        show("By kind of defect:")
        for kind, of_kind in found["kinds"].items():
            auc = _number(of_kind["roc_auc"])
            show(f"  {kind:<{width}}  found {of_kind['found']:>4} of {of_kind['photos']:<4}  ROC AUC {auc}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _scores(model: Model, photos: Sequence[Photo], spool: Mapping[Path, Path]) -> NDArray[np.float64]:
    """Return the score of each photo, NaN where one cannot be read; save maps where the spool says."""
    scores = np.full(len(photos), np.nan)
    inspections = model.detector.iter_inspect(
        [str(photo.path) for photo in photos], maps=bool(spool), original_size=True
    )
    with Progress("Evaluating", len(photos)) as progress:
        for found in inspections:
            scores[found.index] = found.score
            if found.map is not None:
                np.save(spool[photos[found.index].path], found.map)
            progress.advance()
    return scores


def _by_image(photos: Sequence[Photo], scores: NDArray[np.float64], threshold: float) -> dict[str, Any]:
    kinds = np.array([photo.defect for photo in photos], dtype=str)
    is_defective, is_alarm = kinds != _GOOD, scores > threshold
    of_kinds = {
        str(kind): {
            "photos": int((kinds == kind).sum()),
            "found": int(is_alarm[kinds == kind].sum()),
            "roc_auc": _roc_auc(kinds == kind, scores, among=(kinds == kind) | ~is_defective),
        }
        for kind in np.unique(kinds[is_defective])
    }
    return {
        "threshold": threshold,
        "good": int((~is_defective).sum()),
        "defective": int(is_defective.sum()),
        "image_roc_auc": _roc_auc(is_defective, scores, among=np.full(len(scores), True)),
        "average_precision": _average_precision(is_defective, scores),
        "false_alarms": int((is_alarm & ~is_defective).sum()),
        "misses": int((~is_alarm & is_defective).sum()),
        "kinds": of_kinds,
    }


def _roc_auc(
    is_positive: NDArray[np.bool_], scores: NDArray[np.float64], among: NDArray[np.bool_]
) -> float | None:
    from sklearn.metrics import roc_auc_score

    # Of one kind of photos alone there is no order to speak of.
    labels = is_positive[among]
    return float(roc_auc_score(labels, scores[among])) if len(set(labels.tolist())) == 2 else None


def _average_precision(is_defective: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(is_defective, scores)) if is_defective.any() else None


def _by_pixels(photos: Sequence[Photo], spool: Mapping[Path, Path]) -> dict[str, float] | None:
    """Return the metrics of maps against masks, both at the size of the photo, where the network looked."""
    from ..metrics import pixel_roc_auc_score, pro_score

    if all(photo.defect == _GOOD for photo in photos):
        return None

    def pairs() -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float32]]]:
        """Yield the mask and the map of each photo, where the network looked."""
        for photo in photos:
            scores = np.load(spool[photo.path])
            mask = np.zeros(scores.shape, bool) if photo.mask is None else _mask_of(photo, scores.shape)
            # What was cut away, or lies out of sight once the photo is moved, was not looked at, and is NaN.
            seen = np.isfinite(scores)
            if not seen.any():
                continue
            rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
            window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            # Of a moved photo it is no rectangle: what is beside it counts as good, and as nothing found.
            yield (mask & seen)[window], np.where(seen, scores, 0)[window]

    return {
        "roc_auc": pixel_roc_auc_score((mask for mask, _ in pairs()), (scores for _, scores in pairs())),
        "pro": pro_score((mask for mask, _ in pairs()), (scores for _, scores in pairs()), max_fpr=_MAX_FPR),
        "pro_max_fpr": _MAX_FPR,
    }


def _mask_of(photo: Photo, size: tuple[int, ...]) -> NDArray[np.bool_]:
    mask: Any = photo.mask if not isinstance(photo.mask, Path) else str(photo.mask)
    marked = np.asarray(read_mask(mask), dtype=bool)
    if marked.shape != size:
        raise ValueError(
            f"the mask of {str(photo.path)!r} is {marked.shape[1]} x {marked.shape[0]} pixels, the photo "
            f"{size[1]} x {size[0]}; expected the same."
        )
    return marked

"""What the photos of a report come to, in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..decisions import decisions, decisions_in_words
from .parts import Entry

GOOD = "good"


@dataclass(frozen=True)
class Counts:
    """Verdicts on some photos.

    Attributes
    ----------
    photos, good, anomalies, errors : int
        All photos, and those of each verdict.
    unusual : int
        Photos that do not look as good ones do, as photos.
    defective, missed : int
        Photos of known defects that could be read, and those of them with the verdict good.
    known_good, false_alarms : int
        Photos that are known to be good, and those of them with the verdict anomaly.
    """

    photos: int
    good: int
    anomalies: int
    errors: int
    unusual: int
    defective: int
    missed: int
    known_good: int
    false_alarms: int


def count_verdicts(entries: Sequence[Entry], threshold: float) -> Counts:
    """Count what a threshold makes of photos: those that score higher are anomalies."""
    read = [entry for entry in entries if entry.error is None]
    defective = [entry for entry in read if entry.kind not in (None, GOOD)]
    known_good = [entry for entry in read if entry.kind == GOOD]
    n_anomalies = _n_above(read, threshold)
    return Counts(
        photos=len(entries),
        good=len(read) - n_anomalies,
        anomalies=n_anomalies,
        errors=len(entries) - len(read),
        unusual=sum(bool(entry.outside) for entry in entries),
        defective=len(defective),
        missed=len(defective) - _n_above(defective, threshold),
        known_good=len(known_good),
        false_alarms=_n_above(known_good, threshold),
    )


def _n_above(entries: Sequence[Entry], threshold: float) -> int:
    return sum(entry.score > threshold for entry in entries)


@dataclass(frozen=True)
class Kind:
    """Photos of one kind of defect, or good ones.

    Attributes
    ----------
    name : str
    photos : int
        Those that could be read.
    above : int
        Those of them that score above the threshold.
    median : float
        Of their scores.
    """

    name: str
    photos: int
    above: int
    median: float


def kinds(entries: Sequence[Entry], threshold: float) -> list[Kind]:
    """Return what is known of each kind, good first, then by name; photos of no known kind are left out."""
    scores: dict[str, list[float]] = {}
    for entry in entries:
        if entry.kind is not None and entry.error is None:
            scores.setdefault(entry.kind, []).append(entry.score)
    return [
        Kind(name, len(found), sum(score > threshold for score in found), median(found))
        for name, found in sorted(scores.items(), key=lambda item: (item[0] != GOOD, item[0]))
    ]


def expected_false_alarm_rate(loo_scores: NDArray[np.float64], threshold: float) -> float:
    """Return with which probability a new good photo scores above a threshold, at most.

    Of ``n`` leave-one-out scores ``k`` lie above the threshold: ``(k + 1) / (n + 1)``, as by split conformal
    prediction (see :func:`skpadim.calibration.conformal_threshold`).

    Examples
    --------
    >>> expected_false_alarm_rate(np.arange(1.0, 20.0), 18.0)
    0.1
    """
    return (int(np.sum(loo_scores > threshold)) + 1) / (len(loo_scores) + 1)


@dataclass(frozen=True)
class Unusual:
    """Something of photos that lies outside of what good ones show.

    Attributes
    ----------
    name : str
        One of `skpadim.camera.LOOKED_AT`, or "score".
    low, high : float
        Between which it was expected.
    indices : list of int
        Of the entries, the first photo first.
    values : list of float
        Of each of them.
    """

    name: str
    low: float
    high: float
    indices: list[int]
    values: list[float]


def camera_checks(entries: Sequence[Entry]) -> list[Unusual]:
    """Return what is unusual about photos as photos, that of the most photos first."""
    found: dict[str, Unusual] = {}
    for index, entry in enumerate(entries):
        for name, (value, low, high) in entry.outside.items():
            row = found.setdefault(name, Unusual(name, low, high, [], []))
            row.indices.append(index)
            row.values.append(value)
    return sorted(found.values(), key=lambda row: (-len(row.indices), row.name))


@dataclass(frozen=True)
class Outlier:
    """A training photo that the others do not explain.

    Attributes
    ----------
    name : str
    score : float
        Leave-one-out.
    thumbnail : bytes or None
        JPEG.
    """

    name: str
    score: float
    thumbnail: bytes | None


def training_outliers(
    card: Mapping[str, Any], detector: Any, thumbnails: Mapping[str, bytes], n_shown: int = 12
) -> list[Outlier]:
    """Return the training photos with the highest leave-one-out scores, by the card or by their numbers."""
    rows = card.get("training")
    if rows is None:
        numbers = getattr(detector, "loo_indices_", range(len(detector.loo_scores_)))
        rows = [
            {"index": number, "loo_score": float(score)}
            for number, score in zip(numbers, detector.loo_scores_, strict=True)
        ]
    highest = sorted(rows, key=lambda row: -row["loo_score"])[:n_shown]
    return [
        Outlier(
            name=row.get("path") or f"training photo {row.get('index', '')}".strip(),
            score=row["loo_score"],
            thumbnail=thumbnails.get(row.get("thumbnail") or ""),
        )
        for row in highest
    ]


def model_facts(card: Mapping[str, Any], detector: Any) -> list[tuple[str, str]]:
    """Return what is known of a model, as names and values to show; the card wins over the detector."""
    features = detector.pipeline_["features"]
    gaussian = detector.pipeline_["gaussian"]
    backbone = detector.backbone
    known: dict[str, Any] = {
        "network": backbone if isinstance(backbone, str) else type(backbone).__name__,
        "layers": features.layer_names_,
        "image_size": features.input_size_,
        "n_photos": gaussian.n_samples_seen_,
        "false_alarm_rate": detector.false_alarm_rate,
        "skipped": dict(getattr(detector, "skipped_", {})),
        "versions": _versions(),
    } | {key: value for key, value in card.items() if value is not None or key == "false_alarm_rate"}
    threshold = -detector.offset_
    expected = expected_false_alarm_rate(detector.loo_scores_, threshold)
    facts = {
        "name": known.get("name"),
        "made": known.get("created"),
        "photos learned": known["n_photos"],
        "left out of the fit": len(known["skipped"]) or None,
        "folder": known.get("folder"),
        "network": known["network"],
        "layers": ", ".join(map(str, known["layers"])),
        "channels": len(detector.channel_indices_),
        "input size": _size(known["image_size"]),
        **decisions_in_words(card if "align" in card else decisions(detector)),
        "threshold": f"{threshold:.6g}",
        "false-alarm rate asked for": _rate(known["false_alarm_rate"]),
        "expected at this threshold": f"at most {100 * expected:.3g} %",
        "leave-one-out scores": len(detector.loo_scores_),
        "versions": ", ".join(f"{name} {version}" for name, version in known["versions"].items()),
        "digest": known.get("digest"),
    }
    return [(name, str(value)) for name, value in facts.items() if value not in (None, "")]


def _size(size: Any) -> str:
    height, width = size if isinstance(size, Sequence) else (size, size)
    return f"{height} by {width} pixels"


def _rate(rate: float | None) -> str:
    return "none, the threshold was set" if rate is None else f"{100 * rate:.3g} %"


def _versions() -> dict[str, str]:
    import sklearn
    import torch

    from .. import __version__

    return {"skpadim": __version__, "torch": str(torch.__version__), "scikit-learn": sklearn.__version__}

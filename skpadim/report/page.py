"""From the parts of a report to one HTML file that needs nothing but itself."""

from __future__ import annotations

import math
import os
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from .parts import Entry, Parts, Pictures
from .plot import HEIGHT, LENGTH, Axis, dots, make_axis
from .summaries import (
    GOOD,
    camera_checks,
    count_verdicts,
    expected_false_alarm_rate,
    kinds,
    model_facts,
    training_outliers,
)

if TYPE_CHECKING:
    from jinja2 import Environment, Template

#: The most bytes that a page has.
PAGE_BYTES = 15_000_000
# Estimates from above: of what does not grow with the photos; around the pictures of a photo; of its row in
# the table; and of its numbers for the script. Paths come on top, several times each.
_FIXED_BYTES = 400_000
_CARD_BYTES, _PATHS_PER_CARD = 2000, 6
_ROW_BYTES, _PATHS_PER_ROW = 300, 2
_NUMBER_BYTES = 40
#: The table of all photos, and the list of those that could not be read, end here.
MOST_ROWS, MOST_FAILURES = 5000, 300
# Of what there is room for, this share shows a sample of all the photos that do not score highest.
_SAMPLE_SHARE = 0.2


def require_jinja() -> None:
    """Refuse to go on without Jinja2.

    Raises
    ------
    ImportError
    """
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise ImportError('A report needs Jinja2: pip install "skpadim[report]".') from error


@dataclass(frozen=True)
class Source:
    """All that a page is made of.

    Attributes
    ----------
    parts : Parts
    card : mapping
        What is known of the model.
    detector : PaDiMDetector
    thumbnails : mapping of str to bytes
        Of training photos, by their names in the card.
    title : str
    """

    parts: Parts
    card: Mapping[str, Any]
    detector: Any
    thumbnails: Mapping[str, bytes]
    title: str


def render(source: Source) -> Iterator[str]:
    """Yield the page piece by piece; no more than one photo's pictures are held at a time."""
    entries, threshold = source.parts.entries, float(-source.detector.offset_)
    loo_scores = np.asarray(source.detector.loo_scores_, dtype=np.float64)
    ranks = ranked(entries)
    outliers = training_outliers(source.card, source.detector, source.thumbnails)
    shown = choose(source.parts, threshold, PAGE_BYTES)
    axis = make_axis([*loo_scores.tolist(), *(entry.score for entry in entries)], threshold)
    found_kinds = kinds(entries, threshold)
    rows = _rows(entries, loo_scores, threshold, axis)
    folder, names = short_names([entry.path for entry in entries])
    content = {
        "title": source.title,
        "made": datetime.now(UTC),
        "counts": count_verdicts(entries, threshold),
        "threshold": threshold,
        "expected": expected_false_alarm_rate(loo_scores, threshold),
        "loo_above": int(np.sum(loo_scores > threshold)),
        "n_loo": len(loo_scores),
        "axis": axis,
        "rows": rows,
        "plot_length": LENGTH,
        "plot_height": HEIGHT,
        "kinds": found_kinds,
        "cards": (
            _card(number, entries[number], source.parts.pictures(number), threshold)
            for number in ranks
            if number in shown
        ),
        "n_shown": len(shown),
        "names": names,
        "folder": folder,
        "listed": [(number, entries[number]) for number in ranks[:MOST_ROWS]],
        "checks": camera_checks(entries),
        "entries": entries,
        "shown": shown,
        "failures": [(number, entry) for number, entry in enumerate(entries) if entry.error is not None][
            :MOST_FAILURES
        ],
        "outliers": outliers,
        "facts": model_facts(source.card, source.detector),
        "data": _data(entries, loo_scores, threshold, axis, rows),
    }
    yield from _template().generate(**content)


def ranked(entries: list[Entry]) -> list[int]:
    """Return the numbers of entries by score, the highest first, and those that could not be read last."""
    return sorted(
        range(len(entries)),
        key=lambda number: (entries[number].error is not None, -_or_lowest(entries[number].score)),
    )


def _or_lowest(score: float) -> float:
    return -math.inf if math.isnan(score) else score


def choose(parts: Parts, threshold: float, n_bytes: int) -> set[int]:
    """Return the numbers of the entries whose pictures are shown, so that the page is small enough.

    All, if there is room. Otherwise the defective ones that are missed come first, then by score, the highest
    first; a share of the room is left for photos at even steps down the rest.
    """
    entries = parts.entries
    ranks = ranked(entries)
    lengths = [len(entry.path) for entry in entries]
    rows = sum(_ROW_BYTES + _PATHS_PER_ROW * lengths[number] for number in ranks[:MOST_ROWS])
    room = float(n_bytes - _FIXED_BYTES - rows - _NUMBER_BYTES * len(entries))
    costs = [
        size + _CARD_BYTES + _PATHS_PER_CARD * length
        for size, length in zip(parts.n_bytes, lengths, strict=True)
    ]
    readable = [number for number in ranks if entries[number].error is None]
    if sum(costs) <= room:
        return set(range(len(entries)))
    missed = [n for n in readable if entries[n].kind not in (None, GOOD) and entries[n].score <= threshold]
    first = list(dict.fromkeys([*missed, *readable]))
    shown, left = _take(first, costs, room * (1 - _SAMPLE_SHARE))
    rest = [number for number in readable if number not in shown]
    # At even steps, for which the mean costs of the rest tell how many there is room for.
    room = left + room * _SAMPLE_SHARE
    share = room / max(1, sum(costs[number] for number in rest))
    n_sampled = int(np.clip(share, 0, 1) * len(rest))
    steps = np.linspace(0, len(rest) - 1, n_sampled).round().astype(int).tolist()
    sampled, _ = _take([rest[step] for step in steps], costs, room)
    return shown | sampled


def _take(numbers: list[int], costs: list[int], room: float) -> tuple[set[int], float]:
    """Return as many of the first numbers as there is room for, and the room that is left."""
    taken: set[int] = set()
    for number in numbers:
        if costs[number] > room:
            break
        room -= costs[number]
        taken.add(number)
    return taken, room


def _rows(entries: list[Entry], loo_scores: Any, threshold: float, axis: Axis) -> list[dict[str, Any]]:
    """Return the rows of the plot: leave-one-out scores, then each kind, then photos of no known kind."""
    groups: dict[str | None, list[float]] = {}
    for entry in entries:
        if entry.error is None:
            groups.setdefault(entry.kind, []).append(entry.score)
    names = [found.name for found in kinds(entries, threshold)]
    labelled = [("loo", "training, leave-one-out", loo_scores.tolist())]
    labelled += [("good" if name == GOOD else "defect", name, groups[name]) for name in names]
    if None in groups:
        labelled.append(("unknown", "not labelled" if names else "inspected photos", groups[None]))
    return [
        {
            "role": role,
            "name": name,
            "n": len(scores),
            "above": sum(score > threshold for score in scores),
            "dots": dots(scores, axis),
        }
        for role, name, scores in labelled
    ]


def _card(number: int, entry: Entry, pictures: Pictures | None, threshold: float) -> dict[str, Any]:
    found = verdict(entry, threshold)
    mistakes = {("good", False): "missed", ("anomaly", True): "false alarm"}
    mistake = "" if entry.kind is None else mistakes.get((found, entry.kind == GOOD), "")
    return {"number": number, "entry": entry, "pictures": pictures, "verdict": found, "mistake": mistake}


def short_names(paths: list[str]) -> tuple[str, list[str]]:
    """Return the folder that all paths share, and the rest of each; "" and the paths, if there is none.

    Examples
    --------
    >>> short_names(["line3/good/1.png", "line3/bad/1.png"])
    ('line3', ['good/1.png', 'bad/1.png'])
    >>> short_names(["X[0]", "X[1]"])
    ('', ['X[0]', 'X[1]'])
    """
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # absolute and relative ones, or on several drives, or none at all
        return "", paths
    # That all lie on one drive says nothing.
    if folder == os.path.dirname(folder):
        return "", paths
    return folder, [os.path.relpath(path, folder) for path in paths]


def verdict(entry: Entry, threshold: float) -> str:
    """Return "error", "anomaly" or "good"."""
    if entry.error is not None:
        return "error"
    return "anomaly" if entry.score > threshold else "good"


def _data(
    entries: list[Entry], loo_scores: Any, threshold: float, axis: Axis, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return what the script counts with; kinds are numbers of rows of the plot."""
    by_kind = {row["name"]: number for number, row in enumerate(rows) if row["role"] in ("good", "defect")}
    unknown = next((number for number, row in enumerate(rows) if row["role"] == "unknown"), -1)
    return {
        "threshold": threshold,
        "axis": {"low": axis.low, "high": axis.high, "isLog": axis.is_log},
        "loo": [_as_number(score) for score in loo_scores.tolist()],
        "roles": [row["role"] for row in rows],
        # Of a kind without a readable photo there is no row.
        "rows": [unknown if entry.kind is None else by_kind.get(entry.kind, -1) for entry in entries],
        "scores": [None if entry.error is not None else _as_number(entry.score) for entry in entries],
        "unusual": [int(bool(entry.outside)) for entry in entries],
    }


def _as_number(score: float) -> float | str:
    """Return a number as JSON has it, which knows no infinity."""
    return score if math.isfinite(score) else str(score).replace("inf", "Infinity").replace("nan", "NaN")


def _range(ends: tuple[float, float]) -> str:
    low, high = ends
    return f"at least {low:.4g}" if math.isinf(high) else f"{low:.4g} to {high:.4g}"


@cache
def _template() -> Template:
    return _environment().get_template("report.html.jinja")


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("skpadim.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    folder = files("skpadim.report") / "templates"
    environment.globals |= {
        "style": Markup((folder / "style.css").read_text(encoding="utf-8")),
        "script": Markup((folder / "script.js").read_text(encoding="utf-8")),
        "verdict": verdict,
    }
    environment.filters |= {
        "number": lambda value: f"{value:.4g}",
        "p": lambda value: f"{value:.2g}",
        "percent": lambda share: f"{100 * share:.3g}",
        "base64": lambda content: b64encode(content).decode("ascii"),
        "range": _range,
        "basename": lambda path: PurePath(path).name or path,
    }
    return environment

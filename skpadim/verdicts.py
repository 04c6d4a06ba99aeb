"""Verdicts: what the line's other software reads of every photo, as lines of JSON or as CSV.

The fields, their units and how versions change are a contract: docs/verdict_file.md.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inspection import Inspection

__all__ = ["CSV_COLUMNS", "FIELDS", "VERSION", "read_verdicts", "reason", "to_csv", "to_json", "verdict_of"]

#: Of the contract, "major.minor": fields are added with a minor version; a major one may change them.
VERSION = "1.0"

#: The fields of a verdict, in their order.
FIELDS = (
    "version",
    "path",
    "verdict",
    "score",
    "p_value",
    "threshold",
    "height",
    "width",
    "regions",
    "checks",
    "error",
    "model",
    "inspected_at",
)

#: Those of a CSV: regions and checks are JSON in their cells, and how many regions there are stands beside.
CSV_COLUMNS = (*FIELDS[:9], "n_regions", "largest_area", *FIELDS[9:])

_NUMBERS = {"score": float, "p_value": float, "threshold": float, "height": int, "width": int}
_AS_JSON = ("regions", "checks")


def verdict_of(found: Inspection, model: str, inspected_at: datetime | None = None) -> dict[str, Any]:
    """Return the verdict on a photo.

    Parameters
    ----------
    found : Inspection
        What a detector found.
    model : str
        The digest of the model file; see `skpadim.model_file.Model`.
    inspected_at : datetime, optional
        With a time zone. Default: now.

    Returns
    -------
    dict
        Plain values by `FIELDS`, which can be written as JSON.

    Examples
    --------
    >>> from skpadim import PaDiMDetector
    >>> from skpadim.datasets import make_inspection_images
    >>> photos = make_inspection_images(n_train=20, n_good=1, n_defective=1, image_size=64)
    >>> detector = PaDiMDetector(image_size=64).fit(photos.X_train)
    >>> verdicts = [verdict_of(found, "5f2c") for found in detector.inspect(photos.X_test, regions=True)]
    >>> [verdict["verdict"] for verdict in verdicts]
    ['good', 'anomaly']
    """
    height, width = found.size or (None, None)
    word = "error" if found.error is not None else "anomaly" if found.is_anomaly else "good"
    when = (inspected_at or datetime.now(UTC)).astimezone(UTC)
    return {
        "version": VERSION,
        "path": found.path,
        "verdict": word,
        "score": _finite(found.score),
        "p_value": _finite(found.p_value),
        "threshold": float(found.threshold),
        "height": height,
        "width": width,
        "regions": None if found.regions is None else [asdict(region) for region in found.regions],
        "checks": None if found.check is None else _checks(found),
        "error": reason(found),
        "model": model,
        "inspected_at": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def to_json(verdict: dict[str, Any]) -> str:
    """Return a verdict as a line of JSON."""
    # ASCII alone: names of files that are no Unicode come back as they were.
    return json.dumps(verdict, allow_nan=False) + "\n"


def to_csv(verdict: dict[str, Any] | None) -> str:
    """Return a verdict as a row of CSV by `CSV_COLUMNS`; of None, their names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    if verdict is None:
        writer.writerow(CSV_COLUMNS)
    else:
        regions = verdict["regions"]
        cells: dict[str, Any] = dict(verdict)
        # Empty lists say that there was a look; None is an empty cell.
        cells |= {name: json.dumps(verdict[name]) for name in _AS_JSON if verdict[name] is not None}
        if regions is not None:
            cells["n_regions"] = len(regions)
            cells["largest_area"] = max((region["area"] for region in regions), default=0)
        writer.writerow([cells.get(name) for name in CSV_COLUMNS])
    return text.getvalue()


def read_verdicts(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Yield the verdicts of a file, lines of JSON or CSV, in their order.

    A last line that was cut off, as by a power failure, is passed over.

    Parameters
    ----------
    path : str or path

    Yields
    ------
    dict
        By `FIELDS`. Fields that a later minor version added are left out.

    Raises
    ------
    ValueError
        If the file is of another major version, or holds something else.
    """
    content = Path(path).read_bytes().decode("utf-8", "surrogateescape")
    is_json = content.startswith("{")
    read = _read_json if is_json else _read_csv
    for number, record in enumerate(read(content, os.fspath(path)), start=1):
        yield _checked(record, f"{os.fspath(path)!r}, verdict {number}")


def _read_json(content: str, name: str) -> Iterator[Any]:
    whole, _, _ = content.rpartition("\n")
    for number, line in enumerate(whole.split("\n") if whole else (), start=1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise ValueError(f"{name!r}, line {number} is no JSON: {error}.") from error


def _read_csv(content: str, name: str) -> Iterator[dict[str, Any]]:
    rows = csv.reader(io.StringIO(_whole_rows(content), newline=""), strict=True)
    header = next(rows, None)
    if header is None:
        return
    if not set(FIELDS) <= set(header):
        raise ValueError(f"{name!r} is no verdict file: expected lines of JSON, or CSV with {FIELDS}.")
    for cells in rows:
        yield _from_cells(dict(zip(header, cells, strict=False)), name)


def _whole_rows(content: str) -> str:
    """Return a CSV up to the last end of a line that is not within quotes."""
    end = len(content)
    while (end := content.rfind("\n", 0, end)) >= 0:
        if content.count('"', 0, end) % 2 == 0:
            return content[: end + 1]
    return ""


def _from_cells(cells: dict[str, str], name: str) -> dict[str, Any]:
    try:
        record: dict[str, Any] = {field: cells[field] or None for field in FIELDS}
        for field, kind in _NUMBERS.items():
            record[field] = None if record[field] is None else kind(record[field])
        for field in _AS_JSON:
            record[field] = None if record[field] is None else json.loads(record[field])
    except (KeyError, ValueError) as error:
        raise ValueError(f"{name!r} holds a row that is no verdict: {error}.") from error
    return record


def _checked(record: Any, name: str) -> dict[str, Any]:
    """Return what a verdict says by `FIELDS`; refuse what is none, and other major versions."""
    version = str(record.get("version")) if isinstance(record, dict) else "nothing"
    if version.split(".")[0] != VERSION.split(".")[0]:
        raise ValueError(f"{name} is of version {version}; expected version {VERSION.split('.')[0]}.x.")
    lacking = [field for field in FIELDS if field not in record]
    if lacking:
        raise ValueError(f"{name} lacks {', '.join(lacking)}.")
    return {field: record[field] for field in FIELDS}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _checks(found: Inspection) -> dict[str, dict[str, float | None]]:
    assert found.check is not None
    return {
        name: {"value": _finite(out.value), "low": _finite(out.low), "high": _finite(out.high)}
        for name, out in found.check.outside.items()
    }


def reason(found: Inspection) -> str | None:
    """Return why a photo could not be read, without its index and path: they are of one call, or said.

    Parameters
    ----------
    found : Inspection

    Returns
    -------
    str or None
    """
    if found.error is None:
        return None
    return found.error.removeprefix(f"X[{found.index}] ").removeprefix(f"({found.path!r}) ")

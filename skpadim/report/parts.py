"""What a report is made of, kept in a file as it comes: a line for each photo, its pictures among it.

A line is written whole or not at all, as far as a reader is concerned: one that was cut off is left out when
the file is opened again, so that a run which was interrupted goes on where it was.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any, Self

_FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """A photo of the report, without its pictures.

    Attributes
    ----------
    path : str
        Its path, or ``X[3]`` if it is no file.
    score, p_value : float
        NaN if it could not be read.
    kind : str or None
        "good", the kind of its defect, or None if nobody knows.
    error : str or None
        Why it could not be read.
    outside : dict of str to (float, float, float)
        By name, what is unusual about it as a photo: value, and the ends of the range of good photos.
    """

    path: str
    score: float
    p_value: float
    kind: str | None = None
    error: str | None = None
    outside: dict[str, tuple[float, float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Pictures:
    """What is shown of a photo.

    Attributes
    ----------
    height, width : int
        Of the photo, in its own pixels.
    photo, map : str
        JPEG and PNG, in base64.
    marked, truth : dict or None
        Outlines of what the detector marked, and of the defect; see `Outline`.
    regions : list of dict
        The connected marked regions; see `Region`.
    n_regions : int
        How many there are, those that are not listed among them.
    """

    height: int
    width: int
    photo: str
    map: str
    marked: dict[str, Any] | None
    truth: dict[str, Any] | None
    regions: list[dict[str, Any]]
    n_regions: int


class Parts:
    """The file; entries are held in memory, pictures are read from it when they are wanted.

    Make one with :meth:`new` or :meth:`reopen`.

    Attributes
    ----------
    path : str
    entries : list of Entry
    n_bytes : list of int
        Of each entry's line.
    paths : set of str
        Of all entries.
    """

    def __init__(self, path: str, header: dict[str, Any]) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self.n_bytes: list[int] = []
        self.paths: set[str] = set()
        self._header = {"format": _FORMAT, **header}
        self._starts: list[int] = []

    @classmethod
    def new(cls, path: str, header: dict[str, Any]) -> Self:
        """Begin a file; one that is there is replaced."""
        parts = cls(path, header)
        with open(path, "wb") as file:
            file.write(_line(parts._header))
        return parts

    @classmethod
    def reopen(cls, path: str, header: dict[str, Any]) -> Self:
        """Go on with a file.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ValueError
            If it was begun with another header, or is no such file.
        """
        parts = cls(path, header)
        end = 0
        with open(path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                if end == 0:
                    parts._check_header(line)
                else:
                    parts._note(_entry(_read(line, path)["entry"]), end, len(line))
                end += len(line)
        if end == 0:
            raise ValueError(f"{path!r} holds no parts of a report; delete it.")
        os.truncate(path, end)
        return parts

    def add(self, entry: Entry, pictures: Pictures | None) -> None:
        """Append a photo."""
        line = _line({"entry": asdict(entry), "pictures": None if pictures is None else asdict(pictures)})
        with open(self.path, "ab") as file:
            start = file.tell()
            file.write(line)
        self._note(entry, start, len(line))

    def pictures(self, index: int) -> Pictures | None:
        """Return the pictures of an entry; None if it could not be read."""
        with open(self.path, "rb") as file:
            file.seek(self._starts[index])
            found = _read(file.readline(), self.path)["pictures"]
        return None if found is None else Pictures(**found)

    def _note(self, entry: Entry, start: int, n_bytes: int) -> None:
        self.entries.append(entry)
        self.paths.add(entry.path)
        self._starts.append(start)
        self.n_bytes.append(n_bytes)

    def _check_header(self, line: bytes) -> None:
        found = _read(line, self.path)
        if found != self._header:
            differing = sorted(key for key in self._header if found.get(key) != self._header[key])
            raise ValueError(
                f"{self.path!r} holds parts of a report by another model or threshold (differing in "
                f"{', '.join(differing) or 'what it says'}): delete it, or go on with that one."
            )


def _entry(found: dict[str, Any]) -> Entry:
    # JSON knows no tuples.
    return Entry(**{**found, "outside": {name: tuple(numbers) for name, numbers in found["outside"].items()}})


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n"


def _read(line: bytes, path: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path!r} holds no parts of a report: {error}; delete it.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path!r} holds no parts of a report; delete it.")
    return found

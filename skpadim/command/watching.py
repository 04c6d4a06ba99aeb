"""``skpadim watch``: judge new files of a folder as they come, and say when the line drifts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.whole_files import refuse_absent_folder
from ..verdicts import read_verdicts, to_json, verdict_of
from .inspecting import can_check
from .messages import Stopped, say, show
from .outputs import Verdict, in_a_line, refuse_another_model
from .photos import photos_below

if TYPE_CHECKING:
    from ..inspection import Inspection
    from ..model_file import Model

# Size and time of the last change: both stand still when a file is whole.
Stamp = tuple[int, int]


@dataclass(frozen=True)
class Watch:
    """How to watch.

    Attributes
    ----------
    json : Path or None
        The verdict file, which grows. None: verdicts are printed.
    interval : float
        Seconds between two looks.
    once : bool
        Whether to look until a file has stood still once, and then to end.
    min_area : int
        Of regions, in pixels of the photo.
    """

    json: Path | None
    interval: float
    once: bool
    min_area: int = 1


class Arrivals:
    """Files that have come into a folder, told once each, when they stand still from one look to the next.

    Parameters
    ----------
    folder : Path
    known : set of str
        Paths that were told before.
    """

    def __init__(self, folder: Path, known: set[str]) -> None:
        self._folder, self._known = folder, set(known)
        self._stamps: dict[str, Stamp] = {}

    def look(self) -> list[str]:
        """Return the files that are whole, by name."""
        stamps = {
            str(path): _stamp(path) for path in photos_below(self._folder) if str(path) not in self._known
        }
        whole = sorted(
            path for path, stamp in stamps.items() if stamp and stamp[0] and stamp == self._stamps.get(path)
        )
        self._known.update(whole)
        self._stamps = {path: stamp for path, stamp in stamps.items() if stamp and path not in self._known}
        return whole

    @property
    def n_growing(self) -> int:
        """How many files are there that are empty, or did not stand still yet."""
        return len(self._stamps)


def _stamp(path: Path) -> Stamp | None:
    """Return size and time of a file; None of one that is gone since it was seen."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def watch(model: Model, folder: Path, how: Watch) -> dict[str, int]:
    """Judge the photos of a folder as they come, until Ctrl-C or, with ``once``, those that are there.

    Parameters
    ----------
    model : Model
        Set up.
    folder : Path
    how : Watch

    Returns
    -------
    dict
        How many photos are "good", "anomaly" and "error", of this run alone.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r} to watch.")
    log = Log(how.json, model)
    drift = Drift(model, how.json, log.judged)
    arrivals = Arrivals(folder, {verdict["path"] for verdict in log.judged})
    counts = {"good": 0, "anomaly": 0, "error": 0}
    if not how.once:
        say(f"Watching {folder}. Ctrl-C ends it.")
    try:
        for paths in _looks(arrivals, how):
            for verdict, found in _judged(model, paths, how.min_area):
                log.write(verdict)
                drift.take(found)
                counts[verdict["verdict"]] += 1
            if paths:
                drift.keep()
    except KeyboardInterrupt:
        drift.keep()
        n_judged = sum(counts.values())
        where = f" Their verdicts are in {how.json}." if n_judged and how.json is not None else ""
        raise Stopped(f"{n_judged} photos were judged.{where}") from None
    finally:
        log.close()
    if arrivals.n_growing:
        say(f"{arrivals.n_growing} file(s) are empty or still being written, and are not judged.")
    return counts


def _looks(arrivals: Arrivals, how: Watch) -> Iterator[list[str]]:
    yield arrivals.look()
    if how.once:
        time.sleep(how.interval)
        yield arrivals.look()
        return
    while True:
        time.sleep(how.interval)
        yield arrivals.look()


def _judged(model: Model, paths: Sequence[str], min_area: int) -> Iterator[tuple[Verdict, Inspection]]:
    if not paths:
        return
    found = model.detector.iter_inspect(paths, regions=True, checks=can_check(model), min_area=min_area)
    for one in found:
        yield verdict_of(one, model.digest), one


class Log:
    """The verdict file of a line, which only grows; or stdout.

    Parameters
    ----------
    path : Path or None
    model : Model

    Attributes
    ----------
    judged : list of dict
        The verdicts that were there.
    """

    def __init__(self, path: Path | None, model: Model) -> None:
        self._file: Any = None
        self.judged: list[Verdict] = []
        if path is None:
            return
        refuse_absent_folder(path)
        if path.is_file():
            self.judged = list(read_verdicts(path))
            for verdict in self.judged:
                refuse_another_model(verdict, path, model.digest, -model.detector.offset_)
            _cut_off_rest(path)
            say(f"{path}: {len(self.judged)} photos are judged already.")
        # Without a buffer: a line is in the file, whole, before the next photo is judged.
        self._file = path.open("ab", buffering=0)

    def write(self, verdict: Verdict) -> None:
        """Append a verdict, and print it."""
        if self._file is not None:
            self._file.write(to_json(verdict).encode())
        show(in_a_line(verdict))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _cut_off_rest(path: Path) -> None:
    """Cut off a last line that a power failure left unfinished."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with open(path, "r+b") as file:
            file.truncate(whole)


class Drift:
    """Says when the line has drifted, by `skpadim.monitoring`; a restart goes on where it stood.

    The monitor is kept beside the verdict file, as ``FILE.monitor``.

    Parameters
    ----------
    model : Model
    log : Path or None
        The verdict file.
    judged : sequence of dict
        The verdicts in it.
    """

    def __init__(self, model: Model, log: Path | None, judged: Sequence[Verdict]) -> None:
        from ..monitoring import LineMonitor

        self._said = False
        self._path = None if log is None else log.with_name(f"{log.name}.monitor")
        if self._path is not None and self._path.is_file() and judged:
            self._monitor = LineMonitor.load(self._path, model.detector)
        else:
            self._monitor = LineMonitor(model.detector)
        # Verdicts that came after it was kept: of these the scores are known, not what the photos look like.
        for verdict in judged[self._monitor.state.n_photos :]:
            self._monitor.update(float("nan") if verdict["score"] is None else verdict["score"])
        self._tell()

    def take(self, found: Inspection) -> None:
        """Take what was found of the next photo."""
        self._monitor.update(found.score, found.check)
        self._tell()

    def keep(self) -> None:
        """Write down where it stands."""
        if self._path is not None:
            self._monitor.save(self._path)

    def _tell(self) -> None:
        state = self._monitor.state
        if state.drifted and not self._said:
            self._said = True
            say(f"The line has changed: {state}. Look at light, camera and parts.")

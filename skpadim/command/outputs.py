"""Files that grow photo by photo: verdicts and pictures. Nothing that is written is lost."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..base.whole_files import beside, refuse_absent_folder
from ..verdicts import read_verdicts, to_csv, to_json
from .messages import say, show

Verdict = dict[str, Any]

_STDOUT = "-"


class Output(Protocol):
    """Something that takes verdicts, one after the other."""

    def begin(self, kept: Sequence[Verdict]) -> None:
        """Begin with the verdicts that are kept of an earlier run."""

    def write(self, verdict: Verdict) -> None:
        """Take the next verdict."""

    def finish(self) -> None:
        """End, as there are no more."""

    def close(self) -> None:
        """End, wherever it is."""


class VerdictFile:
    """A verdict file: it grows as ``FILE.part``, a photo at a time, and is moved into place in the end.

    Parameters
    ----------
    path : Path
    to_text : callable
        From a verdict to its line; of None, the header.
    """

    def __init__(self, path: Path, to_text: Callable[[Verdict | None], str]) -> None:
        refuse_absent_folder(path)
        self.path, self._to_text = path, to_text
        self.part = path.with_name(path.name + ".part")
        self._file: Any = None

    @property
    def source(self) -> Path:
        """Where the verdicts of an earlier run are: in the part, unless it was finished."""
        return self.part if self.part.is_file() else self.path

    def judged(self) -> list[Verdict]:
        """Return the verdicts of an earlier run, finished or not."""
        return list(read_verdicts(self.source)) if self.source.is_file() else []

    def begin(self, kept: Sequence[Verdict]) -> None:
        """Write what is kept, whole or not at all, and get ready for more."""
        with beside(self.part) as new:
            new.write_bytes(b"".join(map(self._bytes, [None, *kept])))
        # Without a buffer, so that a line is in the file, whole, before the next photo is judged.
        self._file = self.part.open("ab", buffering=0)

    def write(self, verdict: Verdict) -> None:
        """Append a line."""
        self._file.write(self._bytes(verdict))

    def finish(self) -> None:
        """Move the file into place."""
        self.close()
        os.replace(self.part, self.path)

    def close(self) -> None:
        """Leave the part as it is."""
        if self._file is not None:
            self._file.close()

    def _bytes(self, verdict: Verdict | None) -> bytes:
        return self._to_text(verdict).encode("utf-8", "surrogateescape")


class VerdictStream:
    """Verdicts on stdout."""

    def __init__(self, to_text: Callable[[Verdict | None], str]) -> None:
        self._to_text = to_text

    def begin(self, kept: Sequence[Verdict]) -> None:
        """Print the header, if there is one."""
        for verdict in [None, *kept]:
            self.write(verdict)

    def write(self, verdict: Verdict | None) -> None:
        """Print a line."""
        text = self._to_text(verdict)
        # As it is, on every system: print would turn the ends of lines of a CSV.
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()

    def finish(self) -> None:
        """Do nothing more."""

    def close(self) -> None:
        """Do nothing more."""


class VerdictList:
    """Verdicts on stdout as a person reads them."""

    def begin(self, kept: Sequence[Verdict]) -> None:
        """Print nothing: what is kept was seen."""

    def write(self, verdict: Verdict) -> None:
        """Print a line."""
        show(in_a_line(verdict))

    def finish(self) -> None:
        """Do nothing more."""

    def close(self) -> None:
        """Do nothing more."""


def in_a_line(verdict: Verdict) -> str:
    """Return a verdict as a person reads it."""
    # Names may hold ends of lines, and commands to the terminal.
    word, path = (
        verdict["verdict"],
        "".join(c if c.isprintable() else ascii(c)[1:-1] for c in verdict["path"]),
    )
    if word == "error":
        return f"{word:<8}{'':>19}  {path}: {verdict['error']}"
    unusual = f"  (unusual: {', '.join(verdict['checks'])})" if verdict["checks"] else ""
    return f"{word:<8}{verdict['score']:9.4g}  p={verdict['p_value']:<8.3g}  {path}{unusual}"


def json_line(verdict: Verdict | None) -> str:
    """Return a line of JSON; there is no header."""
    return "" if verdict is None else to_json(verdict)


def refuse_shared_names(named: Mapping[str, str | Path | None], read: Path) -> None:
    """Raise if one output would be written over another, or over the model file that is read.

    Parameters
    ----------
    named : mapping of str to str, path or None
        Files and folders to write, by the options that name them; "-" is stdout.
    read : Path
        The model file.
    """
    taken = {os.path.realpath(read): "MODEL"}
    for option, name in named.items():
        if name is None or str(name) == _STDOUT:
            continue
        other = taken.setdefault(os.path.realpath(name), option)
        if other != option:
            raise ValueError(f"{other} and {option} name the same, {str(name)!r}: name another for {option}.")


def verdict_outputs(csv: str | None, json: str | None, *, listed: bool) -> list[Output]:
    """Return what takes the verdicts: the files that are named, or "-" for stdout.

    Without any, and if `listed`, they are printed as a person reads them.
    """
    wanted = [(name, to_text) for name, to_text in ((csv, to_csv), (json, json_line)) if name is not None]
    if [name for name, _ in wanted].count(_STDOUT) > 1:
        raise ValueError("--csv - and --json - cannot both go to stdout: name a file for one of them.")
    named: list[Output] = [
        VerdictStream(to_text) if name == _STDOUT else VerdictFile(Path(name), to_text)
        for name, to_text in wanted
    ]
    return named or ([VerdictList()] if listed else [])


def kept_files(outputs: Sequence[Output]) -> list[VerdictFile]:
    """Return those of the outputs that are files, with which a later run can go on."""
    return [output for output in outputs if isinstance(output, VerdictFile)]


def kept_verdicts(outputs: Sequence[Output], resume: bool, model: str, threshold: float) -> list[Verdict]:
    """Return the verdicts of an earlier run to go on with, those that all its files hold.

    Parameters
    ----------
    outputs : sequence of Output
    resume : bool
        Whether to go on. If not, a run that was interrupted is not overwritten.
    model : str
        The digest of the model file.
    threshold : float

    Raises
    ------
    ValueError
        If the verdicts are of another model or threshold, or there is an interrupted run and `resume` is
        False.
    """
    files = kept_files(outputs)
    if not resume:
        left = [file.part for file in files if file.part.exists()]
        if left:
            raise ValueError(
                f"{str(left[0])!r} holds the verdicts of a run that was interrupted: go on with --resume, or "
                "delete it to begin anew."
            )
        return []
    if not files:
        raise ValueError("--resume needs a file to go on with: name it by --csv or --json.")
    judged = [file.judged() for file in files]
    in_all = set.intersection(*({verdict["path"] for verdict in verdicts} for verdicts in judged))
    kept = [verdict for verdict in judged[0] if verdict["path"] in in_all]
    for verdict in kept:
        refuse_another_model(verdict, files[0].source, model, threshold)
    say(f"Going on: {len(kept)} photos are judged already." if kept else "Nothing is judged yet.")
    return kept


def refuse_another_model(verdict: Verdict, name: Path, model: str, threshold: float) -> None:
    """Raise if a verdict, of a file of this name, is not of this model and threshold."""
    if verdict["model"] != model:
        raise ValueError(
            f"{str(name)!r} holds verdicts of another model, {verdict['model'][:12]}...; this one is "
            f"{model[:12]}.... Name another file, or delete it."
        )
    if verdict["threshold"] != threshold:
        raise ValueError(
            f"{str(name)!r} holds verdicts at the threshold {verdict['threshold']:.6g}, and now it is "
            f"{threshold:.6g}. Ask for the same, or name another file."
        )

"""What the command says: errors and warnings in one line on stderr, and how it ends."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

# The status with which a command ends.
GOOD, ANOMALIES, ERRORS, STOPPED = 0, 1, 2, 130

# The library warns of photos that it skipped; the command names each of them.
_SAID_ELSEWHERE = "could not be read and are skipped"


class Stopped(KeyboardInterrupt):
    """Ctrl-C, and what it left behind, in words."""


def say(text: str) -> None:
    """Say something to the person at the terminal, apart from results."""
    print(text, file=sys.stderr, flush=True)


def show(text: str = "") -> None:
    """Print a result."""
    print(text, flush=True)


def status_of(counts: dict[str, int]) -> int:
    """Return the status for so many verdicts "good", "anomaly" and "error"."""
    return ERRORS if counts["error"] else ANOMALIES if counts["anomaly"] else GOOD


@contextmanager
def in_words(debug: bool) -> Iterator[None]:
    """Say what a person can mend in a line, without a traceback, and end with the status for it.

    Parameters
    ----------
    debug : bool
        Let errors through, with their tracebacks.
    """
    try:
        with _warnings_in_words():
            yield
    except KeyboardInterrupt as stop:
        if debug:
            raise
        say(f"Stopped. {stop}".strip())
        raise typer.Exit(STOPPED) from None
    except (ValueError, TypeError, ImportError, OSError, MemoryError) as error:
        if debug:
            raise
        say(f"Error: {_one_line(error)}")
        raise typer.Exit(ERRORS) from None


@contextmanager
def _warnings_in_words() -> Iterator[None]:
    said: set[str] = set()

    def tell(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        text = _one_line(message)
        if issubclass(category, UserWarning) and _SAID_ELSEWHERE not in text and text not in said:
            said.add(text)
            say(f"Warning: {text}")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = tell
        yield


def _one_line(message: object) -> str:
    return " ".join(str(message).split()) or type(message).__name__

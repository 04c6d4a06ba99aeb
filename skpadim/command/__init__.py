"""The command `skpadim`: from a folder of photos to verdicts, without Python.

Nothing but Typer is imported before a command runs: help and completion come at once.
"""

from __future__ import annotations

import io
import sys
import traceback
from importlib.util import find_spec

_NEEDED = ("typer", "rich", "skops")


def main() -> None:
    """Run the command; see ``skpadim --help``."""
    lacking = [name for name in _NEEDED if find_spec(name) is None]
    if lacking:
        print(f"Error: the command needs {', '.join(lacking)}: pip install 'skpadim[cli]'.", file=sys.stderr)
        sys.exit(2)
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal cannot show is no reason to lose the photos after it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    from .app import app

    try:
        app(prog_name="skpadim")
    except Exception:
        # Python would end with 1, which means that there are anomalies.
        traceback.print_exc()
        sys.exit(2)

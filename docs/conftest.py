"""Run the Python of every page: the blocks of a page share their names, and outputs after >>> are checked."""

from __future__ import annotations

import doctest
import os
from contextlib import ExitStack, chdir
from tempfile import TemporaryDirectory

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

# Before pyplot is imported: pictures go to files.
os.environ["MPLBACKEND"] = "agg"


def _enter_empty_folder(namespace):
    """Let a page write its files where they disturb nobody."""
    namespace["_left_at_the_end"] = stack = ExitStack()
    stack.enter_context(chdir(stack.enter_context(TemporaryDirectory())))


def _leave_folder(namespace):
    namespace["_left_at_the_end"].close()


collect_ignore_glob = ["*.py"]  # of Sphinx, and copies of the examples
pytest_collect_file = Sybil(
    parsers=[
        PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE),
        SkipParser(),
    ],
    pattern="*.md",
    setup=_enter_empty_folder,
    teardown=_leave_folder,
).pytest()

"""Run the Python of the README and of every page of docs/.

The blocks of a page share their names, and outputs after >>> are checked. Each page runs in a folder of its
own; the README finds there the photos that it speaks of.
"""

from __future__ import annotations

import doctest
import os
from contextlib import ExitStack, chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

# Before pyplot is imported: pictures go to files.
os.environ["MPLBACKEND"] = "agg"


def _enter_empty_folder(namespace):
    """Let a page write its files where they disturb nobody."""
    namespace["_left_at_the_end"] = stack = ExitStack()
    stack.enter_context(chdir(stack.enter_context(TemporaryDirectory())))


def _enter_folder_with_photos(namespace):
    """Draw the photos of the README."""
    from skpadim.datasets import make_inspection_images

    _enter_empty_folder(namespace)
    drawn = make_inspection_images(n_train=20, n_good=1, n_defective=2, image_size=64, folder="drawn")
    for name, photos in {"good": drawn.X_train, "new": drawn.X_test}.items():
        Path("photos", name).mkdir(parents=True)
        for number, photo in enumerate(photos):
            Path(photo).rename(Path("photos", name, f"{number:03}.png"))


def _leave_folder(namespace):
    namespace["_left_at_the_end"].close()


def _pages(path, pattern, setup):
    return Sybil(
        parsers=[
            PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE),
            SkipParser(),
        ],
        path=str(Path(__file__).parent / path),
        pattern=pattern,
        setup=setup,
        teardown=_leave_folder,
    )


collect_ignore_glob = ["docs/*.py"]  # of Sphinx, and copies of the examples
pytest_collect_file = (
    _pages(".", "README.md", _enter_folder_with_photos) + _pages("docs", "*.md", _enter_empty_folder)
).pytest()

"""What the tests of reports share: made-up inspections, and a page as a parser sees it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from skpadim.camera import Outside, PhotoCheck
from skpadim.inspection import Inspection
from skpadim.regions import Region

VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """All elements of a page: (tag, attributes, text of all within)."""

    def __init__(self, path):
        super().__init__()
        self.elements = []
        self._open = []
        self.feed(Path(path).read_text(encoding="utf-8"))
        self.close()
        assert not self._open, f"never closed: {[element[0] for element in self._open]}"

    def handle_starttag(self, tag, attrs):
        element = [tag, dict(attrs), ""]
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append([tag, dict(attrs), ""])

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        for element in self._open:
            element[2] += data

    def all(self, tag=None, **attributes):
        """Return the elements with a tag and attributes; a class is one of several."""
        wanted = {name.strip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            (attrs, text.strip())
            for name, attrs, text in self.elements
            if tag in (None, name)
            and all(
                value in (attrs.get(key) or "").split() if key == "class" else attrs.get(key) == value
                for key, value in wanted.items()
            )
        ]

    def count(self, name):
        """Return a number of the tiles."""
        ((_, text),) = self.all(data_count=name)
        return float(text)


def inspection(index, score, threshold, *, path=None, size=(40, 60), error=None, outside=(), rng=None):
    """Return what might have been found of a photo, whose map has its peak in the middle."""
    if error is not None:
        return Inspection(index, path, None, np.nan, np.nan, -1, threshold, error)
    found = np.full(size, threshold / 4, dtype=np.float32)
    row, column = size[0] // 2, size[1] // 2
    found[row - 5 : row + 5, column - 8 : column + 8] = score
    if rng is not None:
        found += rng.random(size, dtype=np.float32) * np.float32(threshold / 4)
    mask = found > threshold
    regions = (Region(row - 5, column - 8, 10, 16, 160, score, row, column),) if mask.any() else ()
    check = PhotoCheck(index, {name: Outside(*numbers) for name, numbers in outside})
    label = -1 if score > threshold else 1
    return Inspection(index, path, size, score, 0.25, label, threshold, None, found, mask, regions, check)


def plain_photo(size=(40, 60)):
    """Return a photo of one colour."""
    return np.full((*size, 3), 120, dtype=np.uint8)

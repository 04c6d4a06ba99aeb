"""The file that a report grows in."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from skpadim.report.parts import Entry, Parts, Pictures

HEADER = {"threshold": 2.5, "model": "abc"}


def entry(number):
    return Entry(
        f"p\udce9{number}\n.png", number / 3, 0.1, kind="dént", outside={"white": (0.1, 0.0, math.inf)}
    )


def pictures(number):
    return Pictures(4, 6, f"photo{number}", "map", {"path": "M0 0h1z", "height": 4, "width": 6}, None, [], 0)


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "report.parts")
    parts = Parts.new(path, HEADER)
    for number in range(3):
        parts.add(entry(number), pictures(number))
    parts.add(Entry("broken", math.nan, math.nan, error="It is."), None)
    return path


def check(parts):
    assert parts.entries[:3] == [entry(number) for number in range(3)]
    assert [parts.pictures(number) for number in range(3)] == [pictures(number) for number in range(3)]


def test_what_was_added_is_there_when_it_is_opened_again(path):
    parts = Parts.reopen(path, HEADER)
    check(parts)
    assert math.isnan(parts.entries[3].score)
    assert parts.pictures(3) is None
    assert sum(parts.n_bytes) < Path(path).stat().st_size
    parts.add(entry(4), pictures(4))
    assert Parts.reopen(path, HEADER).pictures(4) == pictures(4)
    assert parts.paths == {one.path for one in parts.entries}


@pytest.mark.parametrize("n_cut", [1, 20])
def test_a_line_that_was_cut_off_is_left_out_and_replaced(path, n_cut):
    content = Path(path).read_bytes()
    last = content.rindex(b'{"entry"')
    Path(path).write_bytes(content[:-n_cut])
    parts = Parts.reopen(path, HEADER)
    check(parts)
    assert len(parts.entries) == 3
    assert Path(path).stat().st_size == last
    parts.add(entry(3), pictures(3))
    assert Parts.reopen(path, HEADER).pictures(3) == pictures(3)


def test_parts_of_another_model_are_refused_and_left(path):
    before = Path(path).read_bytes()
    with pytest.raises(ValueError, match=r"another model or threshold \(differing in threshold\)"):
        Parts.reopen(path, HEADER | {"threshold": 2.6})
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"\x89PNG\n", b"[1]\n", b'{"format": 1'])
def test_what_holds_no_parts_is_refused(tmp_path, content):
    path = tmp_path / "report.parts"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"holds no parts of a report.*[Dd]elete it"):
        Parts.reopen(str(path), HEADER)
    assert path.read_bytes() == content

"""Files are written whole or not at all."""

from __future__ import annotations

import os

import pytest

from skpadim.base.whole_files import all_beside, beside, refuse_absent_folder


def test_a_file_is_moved_into_place(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("before")
    with beside(target) as part:
        part.write_text("after")
        assert part.parent == tmp_path and target.read_text() == "before"
    assert target.read_text() == "after"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_was_there_stays(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("before")
    with pytest.raises(error), beside(target) as part:
        part.write_text("half")
        raise error
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_there_must_be_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse_absent_folder(tmp_path / "a.txt")
    with pytest.raises(ValueError, match="there is no folder 'nowhere'"), beside("nowhere/a.txt"):
        pass
    with pytest.raises(ValueError, match="it is a folder"), beside(tmp_path):
        pass
    with beside("a.txt") as part:
        part.write_text("here")
    assert (tmp_path / "a.txt").read_text() == "here"


def test_a_folder_that_nobody_may_write_to_is_named_before_anything_is_computed(tmp_path, monkeypatch):
    # As for a person who may not: the superuser may write anywhere.
    monkeypatch.setattr(os, "access", lambda folder, mode: not (folder == tmp_path and mode & os.W_OK))
    with pytest.raises(ValueError, match="is read-only, for you at least"):
        refuse_absent_folder(tmp_path / "a.txt")


def test_several_files_are_moved_together(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("before")
    with all_beside(target) as part:
        part.write_text("after")
        part.with_name("a.data").write_text("data")
        assert target.read_text() == "before" and not (tmp_path / "a.data").exists()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a.txt": "after",
        "a.data": "data",
    }


def test_several_files_or_none(tmp_path):
    (tmp_path / "a.data").mkdir()
    refused = pytest.raises(ValueError, match=r"a\.data' cannot be written: it is a folder")
    with refused, all_beside(tmp_path / "a.txt") as part:
        part.write_text("after")
        part.with_name("a.data").write_text("data")
        part.with_name("a.bin").write_text("data")
    with pytest.raises(KeyboardInterrupt), all_beside(tmp_path / "a.txt") as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["a.data"]

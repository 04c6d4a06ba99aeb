"""Errors and warnings in one line, and the status with which a command ends."""

from __future__ import annotations

import warnings

import pytest
import typer

from skpadim.command.messages import Stopped, in_words, status_of


def test_status():
    assert status_of({"good": 3, "anomaly": 0, "error": 0}) == 0
    assert status_of({"good": 0, "anomaly": 0, "error": 0}) == 0
    assert status_of({"good": 3, "anomaly": 1, "error": 0}) == 1
    assert status_of({"good": 3, "anomaly": 1, "error": 1}) == 2


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (ValueError("of two\n  lines"), 2, "Error: of two lines\n"),
        (OSError(28, "No space left on device"), 2, "Error: [Errno 28] No space left on device\n"),
        (MemoryError(), 2, "Error: MemoryError\n"),
        (KeyboardInterrupt(), 130, "Stopped.\n"),
        (Stopped("3 photos are judged."), 130, "Stopped. 3 photos are judged.\n"),
    ],
)
def test_what_a_person_can_mend_is_said_in_a_line(capsys, error, status, words):
    with pytest.raises(typer.Exit) as end, in_words(debug=False):
        raise error
    assert end.value.exit_code == status
    assert capsys.readouterr() == ("", words)
    with pytest.raises(type(error)), in_words(debug=True):
        raise error


def test_what_is_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), in_words(debug=False):
        1 / 0  # noqa: B018


def test_warnings_are_said_once(capsys):
    with in_words(debug=False):
        for _ in range(2):
            warnings.warn("light is\nlow", UserWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        warnings.warn("3 of 4 images in X could not be read and are skipped, the first", stacklevel=1)
    assert capsys.readouterr().err == "Warning: light is low\n"

"""How far a command is, in lines."""

from __future__ import annotations

import numpy as np

from skpadim.command.progress import FitProgress, Progress
from small import small


def test_a_line_at_every_tenth(capsys):
    with Progress("Inspecting", 40) as progress:
        for _ in range(40):
            progress.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"Inspecting: {n} of 40 photos" for n in range(4, 41, 4)]


def test_silence(capsys):
    with Progress("Inspecting", 4, silent=True) as progress:
        progress.advance(4)
    assert capsys.readouterr().err == ""


def test_a_fit_tells_of_its_batches(capsys):
    photos = np.random.default_rng(0).integers(0, 256, (25, 64, 64), dtype=np.uint8)
    with Progress("Learning", 25) as progress:
        detector = small(batch_size=10, false_alarm_rate=0.2)
        detector.set_callbacks(FitProgress(progress, 10)).fit(photos)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"Learning: {n} of 25 photos" for n in (10, 20, 25)]


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress("Inspecting", 4) as progress:
        progress.advance(4)
    out, err = capsys.readouterr()
    assert "4/4" in err and "Inspecting" in err and out == ""

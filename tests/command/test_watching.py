"""skpadim watch: files are judged once, when they are whole, and a restart goes on."""

from __future__ import annotations

import os
import shutil
import sys
import types

import pytest

from commands import json_lines, run, without_time
from skpadim.command import watching
from skpadim.command.watching import Arrivals, Drift
from skpadim.verdicts import verdict_of
from trees import write_image, write_text


@pytest.fixture
def line(tmp_path):
    folder = tmp_path / "line"
    folder.mkdir()
    return folder


@pytest.fixture
def photos(drawn):
    return sorted((drawn / "test").rglob("*.png"))


def deliver(photo, folder, name):
    return shutil.copy(photo, folder / name)


def test_files_arrive_when_they_stand_still(tmp_path):
    write_image(tmp_path / "b.png")
    (tmp_path / "empty.png").touch()
    write_text(tmp_path / "notes.txt")
    arrivals = Arrivals(tmp_path, set())
    assert arrivals.look() == [] and arrivals.n_growing == 2
    write_image(tmp_path / "a.png")
    assert arrivals.look() == [str(tmp_path / "b.png")]
    with (tmp_path / "a.png").open("ab") as file:
        file.write(b"more")
    assert arrivals.look() == []
    os.utime(tmp_path / "a.png", (1, 1))
    assert arrivals.look() == [] and arrivals.n_growing == 2
    assert arrivals.look() == [str(tmp_path / "a.png")]
    assert arrivals.look() == [] and arrivals.n_growing == 1, "the empty one is told, and never whole"
    assert Arrivals(tmp_path, {str(tmp_path / "a.png")}).look() == []


def test_verdicts_are_those_of_inspect(model_path, photos, line, tmp_path):
    for number, photo in enumerate(photos):
        deliver(photo, line, f"{number:02}.png")
    (line / "bad.png").write_text("no photo")
    log = tmp_path / "w.jsonl"
    result = run("watch", model_path, line, "--once", "--interval", "0.05", "--json", log, status=2)
    run("inspect", model_path, line, "--json", tmp_path / "v.jsonl", status=2)
    assert without_time(json_lines(log)) == without_time(json_lines(tmp_path / "v.jsonl"))
    assert "14 photos" in result.stderr and len(result.stdout.splitlines()) == 14


def test_a_restart_judges_what_is_new(model_path, photos, line, tmp_path):
    log = tmp_path / "w.jsonl"
    arguments = ["watch", model_path, line, "--once", "--interval", "0.05", "--json", log]
    deliver(photos[-1], line, "0.png")
    run(*arguments, "--threshold", "0", status=1)
    before = log.read_bytes()
    deliver(photos[-2], line, "1.png")
    with log.open("ab") as file:
        file.write(b'{"version": "1.0", "pa')  # a power failure
    result = run(*arguments, "--threshold", "0", status=1)
    assert f"{log}: 1 photos are judged already." in result.stderr and "1 photos: 0 good" in result.stderr
    assert log.read_bytes().startswith(before)
    assert [verdict["path"] for verdict in json_lines(log)] == [str(line / f"{n}.png") for n in range(2)]
    whole = log.read_bytes()
    assert "at the threshold 0" in run(*arguments, status=2).stderr and log.read_bytes() == whole


def test_without_a_file_verdicts_are_printed(model_path, photos, line):
    deliver(photos[0], line, "0.png")
    result = run("watch", model_path, line, "--once", "--interval", "0.05", status=1)
    assert result.stdout.split()[0] == "anomaly"


def test_it_watches_until_ctrl_c(model_path, photos, line, tmp_path, monkeypatch):
    """A camera that delivers a photo between looks, and a person who ends it."""
    log, looks = tmp_path / "w.jsonl", []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) > 4:
            raise KeyboardInterrupt
        deliver(photos[len(looks)], line, f"{len(looks)}.png")

    monkeypatch.setattr(watching.time, "sleep", sleep)
    result = run("watch", model_path, line, "--interval", "7", "--json", log, status=130)
    assert looks == [7.0] * 5
    assert [verdict["path"] for verdict in json_lines(log)] == [str(line / f"{n}.png") for n in (1, 2, 3)]
    assert "Stopped. 3 photos were judged." in result.stderr


def test_files_that_still_grow_are_told(model_path, photos, line, monkeypatch):
    photo = deliver(photos[0], line, "0.png")
    monkeypatch.setattr(watching.time, "sleep", lambda _: photo.open("ab").write(b"more") and None)
    result = run("watch", model_path, line, "--once", status=0)
    assert "1 file(s) are empty or still being written" in result.stderr and result.stdout == ""


def test_there_must_be_a_folder(model_path, tmp_path):
    assert "to watch" in run("watch", model_path, tmp_path / "nowhere", status=2).stderr


class _Monitor:
    """Stands for skpadim.monitoring.LineMonitor: the line has drifted at the third photo."""

    def __init__(self, detector, taken=()):
        self.taken = list(taken)

    def update(self, score, check=None):
        self.taken.append((score, check))

    @property
    def state(self):
        drifted = len(self.taken) >= 3
        return _State(n_photos=len(self.taken), drifted=drifted)

    def save(self, path):
        path.write_text(str(len(self.taken)))

    @classmethod
    def load(cls, path, detector):
        return cls(detector, [("kept", None)] * int(path.read_text()))


class _State(types.SimpleNamespace):
    def __str__(self):
        return "scores are higher"


@pytest.fixture
def monitored(monkeypatch):
    module = types.ModuleType("skpadim.monitoring")
    module.LineMonitor = _Monitor
    module.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "skpadim.monitoring", module)


@pytest.mark.usefixtures("monitored")
def test_drift_is_said_once_and_a_restart_goes_on_where_it_stood(model, photos, tmp_path, capsys):
    found = model.detector.inspect([str(photo) for photo in photos[:6]], checks=True)
    verdicts = [verdict_of(one, model.digest) for one in found]
    drift = Drift(model, tmp_path / "w", [])
    for one in found[:2]:
        drift.take(one)
    drift.keep()
    assert drift._monitor.taken == [(one.score, one.check) for one in found[:2]]
    assert capsys.readouterr().err == ""
    drift = Drift(model, tmp_path / "w", verdicts[:3])
    drift.take(found[3])
    kept = [("kept", None)] * 2
    assert drift._monitor.taken == [*kept, (found[2].score, None), (found[3].score, found[3].check)]
    assert capsys.readouterr().err.count("The line has changed: scores are higher") == 1


@pytest.mark.usefixtures("monitored")
def test_a_new_verdict_file_begins_a_new_monitor(model, model_path, photos, line, tmp_path):
    log = tmp_path / "w.jsonl"
    log.with_name("w.jsonl.monitor").write_text("9")
    assert Drift(model, log, [])._monitor.taken == []
    deliver(photos[0], line, "0.png")
    run("watch", model_path, line, "--once", "--interval", "0.05", "--json", log, status=1)
    assert log.with_name("w.jsonl.monitor").read_text() == "1"


def test_the_monitor_of_the_package_watches_the_line(model, photos, tmp_path, capsys):
    monitoring = pytest.importorskip("skpadim.monitoring")
    found = model.detector.inspect([str(photo) for photo in photos], checks=True)
    expected = monitoring.LineMonitor(model.detector)
    drift = Drift(model, tmp_path / "w", [])
    for one in found:
        expected.update(one.score, one.check)
        drift.take(one)
    drift.keep()
    again = Drift(model, tmp_path / "w", [verdict_of(one, model.digest) for one in found])
    assert again._monitor.state == drift._monitor.state == expected.state

"""skpadim inspect: verdicts are the library's, no photo loses the others, and a stopped run goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from commands import json_lines, run, without_time
from skpadim.command import outputs
from skpadim.verdicts import read_verdicts

ROOT = Path(__file__).parents[2]


@pytest.fixture
def photos(parts):
    return sorted(str(path) for path in (parts / "test").rglob("*.png"))


def test_verdicts_are_those_of_the_library(model, model_path, parts, photos, tmp_path):
    run("inspect", model_path, parts / "test", "--json", tmp_path / "v.jsonl", status=1)
    verdicts = json_lines(tmp_path / "v.jsonl")
    found = model.detector.inspect(photos, regions=True, checks=True)
    assert [verdict["path"] for verdict in verdicts] == photos
    assert [verdict["score"] for verdict in verdicts] == found.scores.tolist()
    assert [verdict["p_value"] for verdict in verdicts] == found.p_values.tolist()
    assert [verdict["verdict"] for verdict in verdicts] == [
        "anomaly" if label == -1 else "good" for label in found.labels
    ]
    for verdict, one in zip(verdicts, found, strict=True):
        assert verdict["regions"] == [vars(region) for region in one.regions]
        assert list(verdict["checks"]) == list(one.check.outside)
        assert verdict["model"] == model.digest and verdict["threshold"] == -model.detector.offset_


def test_csv_and_json_say_the_same_whatever_the_batch(model_path, parts, tmp_path):
    for size, name in ((2, "two"), (64, "many")):
        files = ["--csv", tmp_path / f"{name}.csv", "--json", tmp_path / f"{name}.jsonl"]
        run("inspect", model_path, parts / "test", *files, "--batch-size", size, status=1)
    read = {path.name: without_time(read_verdicts(path)) for path in tmp_path.glob("*.*") if path.is_file()}
    assert read["two.csv"] == read["two.jsonl"] and read["many.csv"] == read["many.jsonl"]
    assert [v["path"] for v in read["two.csv"]] == [v["path"] for v in read["many.csv"]]
    few, many = ([v["score"] for v in read[name]] for name in ("two.csv", "many.csv"))
    np.testing.assert_allclose(few, many, rtol=1e-4)
    assert not list(tmp_path.glob("*.part"))


def test_status_says_what_was_found(model_path, parts, tmp_path):
    result = run("inspect", model_path, parts / "test" / "good", "--threshold", "1e6", status=0)
    assert "5 photos: 5 good, 0 anomalies, 0 errors." in result.stderr
    run("inspect", model_path, parts / "test" / "good", "--threshold", "0", status=1)
    bad = parts / "test" / "good" / "bad.png"
    bad.write_text("no photo")
    run("inspect", model_path, parts / "test" / "good", "--threshold", "1e6", status=2)


def test_what_cannot_be_read_is_an_error_and_the_others_are_judged(model_path, parts, photos, tmp_path):
    files = ["--json", tmp_path / "v.jsonl", "--csv", tmp_path / "v.csv"]
    run("inspect", model_path, parts / "test", *files, "--batch-size", "4", status=1)
    before = without_time(json_lines(tmp_path / "v.jsonl"))
    bad = parts / "test" / "good" / "002b.png"
    bad.write_text("no photo")
    result = run("inspect", model_path, parts / "test", *files, "--batch-size", "4", status=2)
    after = without_time(json_lines(tmp_path / "v.jsonl"))
    (lost,) = [verdict for verdict in after if verdict["verdict"] == "error"]
    assert lost["path"] == str(bad) and lost["error"].startswith("cannot be read as an image: ")
    assert lost["score"] is lost["p_value"] is lost["regions"] is lost["checks"] is lost["height"] is None
    others = [verdict for verdict in after if verdict is not lost]
    assert [verdict["path"] for verdict in others] == photos
    np.testing.assert_allclose([v["score"] for v in others], [v["score"] for v in before], rtol=1e-4)
    assert without_time(read_verdicts(tmp_path / "v.csv")) == after
    assert "Warning" not in result.stderr


def test_without_a_file_verdicts_are_printed(model_path, parts, photos):
    result = run("inspect", model_path, parts, status=1)
    assert [line.split()[0] for line in result.stdout.splitlines()].count("anomaly") > 4
    assert [line.split()[3] for line in result.stdout.splitlines()] == photos
    assert f"those in {parts / 'test'} are taken" in result.stderr and "Inspecting" not in result.stderr


@pytest.mark.parametrize("option", ["--json", "--csv"])
def test_a_dash_is_stdout(model_path, parts, photos, tmp_path, option):
    result = run("inspect", model_path, photos[3], photos[0], option, "-", status=1)
    (tmp_path / "v").write_bytes(result.stdout_bytes)
    assert [verdict["path"] for verdict in read_verdicts(tmp_path / "v")] == [photos[0], photos[3]]


def test_thresholds_hold_for_this_once(model, model_path, parts, photos, tmp_path):
    before = model_path.read_bytes()
    run("inspect", model_path, *photos, "--json", tmp_path / "v", "--false-alarm-rate", "0.5", status=1)
    threshold = -model.detector.set_false_alarm_rate(0.5).offset_
    assert {verdict["threshold"] for verdict in json_lines(tmp_path / "v")} == {threshold}
    assert model_path.read_bytes() == before
    arguments = ["--false-alarm-rate", "0.5", "--threshold", "3"]
    assert "pass one of them" in run("inspect", model_path, *photos, *arguments, status=2).stderr


def test_min_area_leaves_small_regions_out(model_path, parts, tmp_path):
    arguments = ["inspect", model_path, parts, "--json"]
    run(*arguments, tmp_path / "all", status=1)
    run(*arguments, tmp_path / "large", "--min-area", "200", status=1)
    every, large = json_lines(tmp_path / "all"), json_lines(tmp_path / "large")
    areas = [region["area"] for verdict in every for region in verdict["regions"]]
    assert min(areas) < 200 < max(areas)
    for some, verdict in zip(large, every, strict=True):
        assert some["regions"] == [region for region in verdict["regions"] if region["area"] >= 200]


def test_a_report_goes_on_where_it_was_stopped(model_path, parts, tmp_path, monkeypatch):
    pytest.importorskip("skpadim.report")
    files = ["--json", tmp_path / "v.jsonl", "--report", tmp_path / "r.html", "--batch-size", "4"]
    run("inspect", model_path, parts, "--report", tmp_path / "whole.html", "--batch-size", "4", status=1)
    write, judged = outputs.VerdictFile.write, []

    def stop(self, verdict):
        judged.append(verdict)
        if len(judged) == 6:  # The report holds it already, the verdict file does not.
            raise KeyboardInterrupt
        write(self, verdict)

    monkeypatch.setattr(outputs.VerdictFile, "write", stop)
    run("inspect", model_path, parts, *files, status=130)
    monkeypatch.undo()
    assert len(json_lines(tmp_path / "v.jsonl.part")) == 5
    run("inspect", model_path, parts, *files, "--resume", status=1)
    pages = [
        re.findall(r'data-path="([^"]+)"', (tmp_path / name).read_text()) for name in ("whole.html", "r.html")
    ]
    assert pages[0] == pages[1] and len(pages[0]) == 13
    assert not list(tmp_path.glob("*.part"))


_STOPPED = """
import signal, sys, time
# A shell that starts the tests in the background has them ignore it, and so their children.
signal.signal(signal.SIGINT, signal.default_int_handler)
from skpadim.command import main, outputs
write = outputs.VerdictFile.write
def slowly(self, verdict):
    write(self, verdict)
    time.sleep(0.2)
outputs.VerdictFile.write = slowly
sys.argv = ["skpadim", *sys.argv[1:]]
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
def test_after_ctrl_c_a_run_goes_on_and_ends_as_one_that_was_not_stopped(model_path, parts, tmp_path):
    (parts / "test" / "burr" / "bad.png").write_text("no photo")
    arguments = ["inspect", model_path, parts / "test", "--batch-size", "4", "--jobs", "1"]
    whole = ["--json", tmp_path / "whole.jsonl", "--csv", tmp_path / "whole.csv"]
    run(*arguments, *whole, status=2)
    files = ["--json", tmp_path / "v.jsonl", "--csv", tmp_path / "v.csv"]
    part = tmp_path / "v.jsonl.part"
    process = subprocess.Popen(
        [sys.executable, "-c", _STOPPED, *map(str, [*arguments, *files])],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 240
    while not (part.is_file() and part.read_bytes().count(b"\n") >= 6):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "v.jsonl.part" in said and "--resume goes on" in said and "Traceback" not in said
    judged = json_lines(part)
    assert 6 <= len(judged) < 14 and not (tmp_path / "v.jsonl").exists()

    refused = run(*arguments, *files, status=2).stderr
    assert "go on with --resume" in refused and json_lines(part) == judged
    result = run(*arguments, *files, "--resume", status=2)
    assert f"Going on: {min(len(judged), _n_rows(tmp_path, judged))} photos are judged" in result.stderr
    for name in ("v.jsonl", "v.csv"):
        expected = without_time(read_verdicts(tmp_path / name.replace("v.", "whole.")))
        assert without_time(read_verdicts(tmp_path / name)) == expected
    assert json_lines(tmp_path / "v.jsonl")[: len(judged) - 1] == judged[:-1], "what was written stays"
    assert not list(tmp_path.glob("*.part"))
    again = run(*arguments, *files, "--resume", status=2)
    assert "Going on: 14 photos" in again.stderr and len(json_lines(tmp_path / "v.jsonl")) == 14


def _n_rows(folder, judged):
    """The CSV may lack the last verdict, if Ctrl-C came between the two files."""
    kept = json_lines(folder / "v.jsonl")
    return len(judged) if kept[len(judged) - 1] == judged[-1] else len(judged) - 1


def interrupted(path, verdicts):
    path.write_text("".join(json.dumps(verdict) + "\n" for verdict in verdicts))


def test_a_run_goes_on_with_its_model_and_threshold_alone(model_path, parts, tmp_path):
    arguments = ["inspect", model_path, parts, "--json", tmp_path / "v.jsonl"]
    run(*arguments, status=1)
    verdicts = json_lines(tmp_path / "v.jsonl")
    for change, words in (
        ({"model": "0" * 64}, "another model"),
        ({"threshold": 1.0}, "at the threshold 1"),
        ({"version": "2.0"}, "of version 2.0"),
    ):
        interrupted(tmp_path / "v.jsonl.part", [verdicts[0] | change])
        content = (tmp_path / "v.jsonl.part").read_bytes()
        assert words in run(*arguments, "--resume", status=2).stderr
        assert (tmp_path / "v.jsonl.part").read_bytes() == content
    assert "--resume needs a file" in run("inspect", model_path, parts, "--resume", status=2).stderr


def test_a_run_goes_on_with_what_all_files_hold(model_path, parts, tmp_path):
    files = ["--json", tmp_path / "v.jsonl", "--csv", tmp_path / "v.csv"]
    run("inspect", model_path, parts, *files, status=1)
    whole = without_time(json_lines(tmp_path / "v.jsonl"))
    rows = (tmp_path / "v.csv").read_bytes().splitlines(keepends=True)
    (tmp_path / "v.jsonl").rename(tmp_path / "v.jsonl.part")
    # Three rows and a half, as a power failure leaves them.
    (tmp_path / "v.csv.part").write_bytes(b"".join(rows[:4]) + rows[4][:30])
    result = run("inspect", model_path, parts, *files, "--resume", status=1)
    assert "Going on: 3 photos" in result.stderr
    for name in ("v.jsonl", "v.csv"):
        assert without_time(read_verdicts(tmp_path / name)) == whole


def test_new_photos_are_added_to_a_finished_run(model_path, parts, photos, tmp_path):
    arguments = ["--json", tmp_path / "v.jsonl"]
    run("inspect", model_path, *photos[4:], *arguments, status=1)
    run("inspect", model_path, *photos, *arguments, "--resume", status=1)
    assert [verdict["path"] for verdict in json_lines(tmp_path / "v.jsonl")] == photos[4:] + photos[:4]


def test_reports_go_on_with_their_run(model_path, parts, tmp_path):
    pytest.importorskip("skpadim.report")
    files = ["--json", tmp_path / "v.jsonl", "--report", tmp_path / "r.html"]
    run("inspect", model_path, parts, *files, status=1)
    page = (tmp_path / "r.html").read_text()
    assert "<!DOCTYPE html>" in page and not (tmp_path / "r.html.part").exists()
    result = run("inspect", model_path, parts, *files, "--resume", status=2)
    assert "would lack 13 photos" in result.stderr and not (tmp_path / "r.html.part").exists()
    assert (tmp_path / "r.html").read_text() == page


def test_pictures_of_an_earlier_run_are_no_photos(model_path, parts, photos):
    maps = parts / "test" / "maps"
    for _ in range(2):
        result = run("inspect", model_path, parts / "test", "--maps", maps, status=1)
        assert f"{len(photos)} photos: " in result.stderr


def test_nothing_is_written_over_the_model_or_another_output(model_path, parts, tmp_path):
    before = model_path.read_bytes()
    result = run("inspect", model_path, parts, "--json", model_path, status=2)
    assert "MODEL and --json name the same" in result.stderr and model_path.read_bytes() == before
    result = run("inspect", model_path, parts, "--maps", tmp_path / "p", "--masks", tmp_path / "p", status=2)
    assert "--maps and --masks name the same" in result.stderr and not (tmp_path / "p").exists()

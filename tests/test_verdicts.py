"""Verdicts: fields as documented, and files that say the same as JSON and as CSV."""

from __future__ import annotations

import csv
import json
import math
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skpadim.camera import Outside, PhotoCheck
from skpadim.inspection import Inspection
from skpadim.regions import Region
from skpadim.verdicts import CSV_COLUMNS, FIELDS, VERSION, read_verdicts, to_csv, to_json, verdict_of

PAGE = Path(__file__).parents[1] / "docs" / "verdict_file.md"
WHEN = datetime(2026, 3, 4, 5, 6, 7, 891000, UTC)


def inspection(**changes):
    found = {"index": 3, "path": "a/b.png", "size": (40, 60), "score": 5.5, "p_value": 0.25, "label": 1}
    return Inspection(**(found | {"threshold": 6.0} | changes))


def everything():
    """Verdicts of all kinds, with names that are a trial to every format."""
    region = Region(1, 2, 3, 4, 5, 6.5, 2, 3)
    low = PhotoCheck(3, {"score": Outside(0.5, 1.0, math.inf), "detail": Outside(math.nan, 0.1, 0.2)})
    names = ['quote".png', "comma, semi;.png", "line\nbreak.png", "ümläut-漢字.png", "not-utf8-\udcff.png"]
    found = [inspection(path=name, regions=(region,), check=low, label=-1) for name in names]
    found += [inspection(), inspection(regions=(), check=PhotoCheck(3, {}))]
    error = {"size": None, "score": math.nan, "p_value": math.nan, "label": -1}
    found.append(inspection(error="X[3] ('a/b.png') cannot be read as an image: it is damaged.", **error))
    return [verdict_of(one, "5f2c", WHEN) for one in found]


def test_a_verdict_says_what_was_found():
    region = Region(1, 2, 3, 4, 5, 6.5, 2, 3)
    check = PhotoCheck(3, {"score": Outside(0.5, 1.0, math.inf)})
    verdict = verdict_of(inspection(label=-1, regions=(region,), check=check), "5f2c", WHEN)
    assert verdict == {
        "version": "1.0",
        "path": "a/b.png",
        "verdict": "anomaly",
        "score": 5.5,
        "p_value": 0.25,
        "threshold": 6.0,
        "height": 40,
        "width": 60,
        "regions": [
            {"top": 1, "left": 2, "height": 3, "width": 4, "area": 5, "peak": 6.5}
            | {"peak_row": 2, "peak_column": 3}
        ],
        "checks": {"score": {"value": 0.5, "low": 1.0, "high": None}},
        "error": None,
        "model": "5f2c",
        "inspected_at": "2026-03-04T05:06:07.891Z",
    }
    assert tuple(verdict) == FIELDS


def test_what_nobody_asked_for_is_null_and_what_was_not_found_is_empty():
    asked = verdict_of(inspection(regions=(), check=PhotoCheck(3, {})), "m")
    nobody = verdict_of(inspection(), "m")
    assert (asked["regions"], asked["checks"]) == ([], {})
    assert nobody["regions"] is nobody["checks"] is None
    assert (asked["verdict"], verdict_of(inspection(label=-1), "m")["verdict"]) == ("good", "anomaly")


def test_errors_name_neither_index_nor_path(detector, tmp_path):
    (tmp_path / "bad.png").write_text("no photo")
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "a.png")
    detector.set_params(on_error="skip")
    with pytest.warns(UserWarning, match="could not be read"):
        *_, found = detector.inspect([tmp_path / "a.png", tmp_path / "bad.png", tmp_path / "gone.png"])
    verdict = verdict_of(found, "m")
    assert verdict["error"] == "cannot be read as an image: there is no such file."
    assert verdict["verdict"] == "error" and verdict["score"] is verdict["p_value"] is None


def test_times_are_utc():
    east = datetime(2026, 3, 4, 12, tzinfo=timezone(timedelta(hours=9)))
    assert verdict_of(inspection(), "m", east)["inspected_at"] == "2026-03-04T03:00:00.000Z"
    now = datetime.fromisoformat(verdict_of(inspection(), "m")["inspected_at"])
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=5)


@pytest.mark.parametrize("name", ["v.csv", "v.jsonl"])
def test_what_is_written_is_read(tmp_path, name):
    verdicts = everything()
    text = "".join(map(to_json, verdicts)) if name == "v.jsonl" else "".join(map(to_csv, [None, *verdicts]))
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert list(read_verdicts(tmp_path / name)) == verdicts
    # Lines of JSON are ASCII and strict: any reader of JSON takes them.
    if name == "v.jsonl":
        text.encode("ascii")
        lines = text.splitlines()
        assert [json.loads(line, parse_constant=pytest.fail) for line in lines] == verdicts


def test_rows_count_the_regions(tmp_path):
    rows = list(
        csv.DictReader([to_csv(None), *[to_csv(each) for each in everything() if "\n" not in each["path"]]])
    )
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [(row["n_regions"], row["largest_area"]) for row in rows[:1] + rows[-3:]] == [
        ("1", "5"),
        ("", ""),
        ("0", "0"),
        ("", ""),
    ]
    assert json.loads(rows[0]["regions"]) == everything()[0]["regions"]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_line_that_was_cut_off_is_passed_over(tmp_path, kind):
    verdicts = everything()
    if kind == "json":
        lines = [to_json(verdict).encode() for verdict in verdicts]
        n_before = 0
    else:
        lines = [to_csv(verdict).encode("utf-8", "surrogateescape") for verdict in [None, *verdicts]]
        n_before = len(lines[0])
    whole = b"".join(lines)
    ends = np.cumsum([len(line) for line in lines])
    path = tmp_path / "v"
    for length in range(n_before, len(whole), 7):
        path.write_bytes(whole[:length])
        n_whole = int((ends <= length).sum()) - (kind == "csv")
        assert list(read_verdicts(path)) == verdicts[:n_whole], length


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"version": "2.0"}\n', "of version 2.0; expected version 1"),
        ('{"a": 1}\n', "of version None"),
        ('{"version": "1.0", "path": "a"}\n', "lacks verdict, score"),
        ('{"version"\n', "line 1 is no JSON"),
        ("path,score\r\na,1\r\n", "is no verdict file"),
        ("".join(f"{name}," for name in FIELDS)[:-1] + "\r\n1.0,a,good,high\r\n", "a row that is no verdict"),
    ],
)
def test_other_files_are_refused(tmp_path, text, words):
    (tmp_path / "v").write_text(text)
    with pytest.raises(ValueError, match=words):
        list(read_verdicts(tmp_path / "v"))


def test_later_minor_versions_are_read(tmp_path):
    later = verdict_of(inspection(), "m", WHEN) | {"version": "1.7", "new": 5}
    (tmp_path / "v").write_text(to_json(later))
    (read,) = read_verdicts(tmp_path / "v")
    assert tuple(read) == FIELDS and read["version"] == "1.7"


def test_the_page_names_all_fields_and_its_examples_are_verdicts(tmp_path):
    page = PAGE.read_text()
    tables = re.findall(r"^\| `(\w+)` \| ", page, re.MULTILINE)
    assert tables[: len(FIELDS)] == list(FIELDS)
    region_and_check = [*Region.__dataclass_fields__, *Outside.__dataclass_fields__]
    assert tables[len(FIELDS) :] == [*region_and_check, "n_regions", "largest_area"]
    assert f"version {VERSION}" in page
    examples = re.findall(r"^\{.*\}$", page, re.MULTILINE)
    (tmp_path / "v").write_text("\n".join(examples) + "\n")
    read = list(read_verdicts(tmp_path / "v"))
    assert {verdict["verdict"] for verdict in read} == {"good", "anomaly", "error"}
    (tmp_path / "v").write_text(
        "\r\n".join(re.findall(r"^(?:version|1\.0),.*$", page, re.MULTILINE)) + "\r\n"
    )
    assert list(read_verdicts(tmp_path / "v")) == read

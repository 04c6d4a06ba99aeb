"""Verdict files that grow as parts, and the lines that a person reads."""

from __future__ import annotations

import pytest

from skpadim.command.outputs import (
    VerdictFile,
    VerdictList,
    VerdictStream,
    in_a_line,
    json_line,
    kept_files,
    kept_verdicts,
    refuse_shared_names,
    verdict_outputs,
)
from skpadim.verdicts import FIELDS, read_verdicts, to_csv

GOOD = dict.fromkeys(FIELDS) | {"version": "1.0", "path": "a.png", "verdict": "good", "score": 1.5}
GOOD |= {"p_value": 0.5, "threshold": 2.0, "height": 3, "width": 4, "regions": [], "checks": {}, "model": "m"}
OTHER = GOOD | {"path": "b.png", "checks": {"detail": {"value": 1.0, "low": 2.0, "high": None}}}
ERROR = GOOD | {"path": "c.png", "verdict": "error", "score": None, "p_value": None, "error": "is damaged."}
ERROR |= {"height": None, "width": None, "regions": None, "checks": None}


@pytest.mark.parametrize("to_text", [to_csv, json_line])
def test_every_verdict_is_in_the_file_at_once(tmp_path, to_text):
    file = VerdictFile(tmp_path / "v", to_text)
    (tmp_path / "v").write_text("before")
    file.begin([GOOD])
    for n_written, verdict in enumerate([OTHER, ERROR], start=2):
        file.write(verdict)
        assert list(read_verdicts(tmp_path / "v.part")) == [GOOD, OTHER, ERROR][:n_written]
        assert (tmp_path / "v").read_text() == "before"
    file.finish()
    assert list(read_verdicts(tmp_path / "v")) == [GOOD, OTHER, ERROR]
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


def test_outputs_are_those_that_are_named(tmp_path):
    csv = str(tmp_path / "v.csv")
    assert [type(each) for each in verdict_outputs(None, None, listed=True)] == [VerdictList]
    assert verdict_outputs(None, None, listed=False) == []
    outputs = verdict_outputs(csv, "-", listed=True)
    assert [type(each) for each in outputs] == [VerdictFile, VerdictStream]
    assert [file.path.name for file in kept_files(outputs)] == ["v.csv"]
    with pytest.raises(ValueError, match="cannot both go to stdout"):
        verdict_outputs("-", "-", listed=True)
    with pytest.raises(ValueError, match="there is no folder"):
        verdict_outputs(None, str(tmp_path / "nowhere" / "v.jsonl"), listed=True)


def test_nothing_is_kept_where_nothing_was_judged(tmp_path, capsys):
    outputs = verdict_outputs(None, str(tmp_path / "v"), listed=True)
    assert kept_verdicts(outputs, True, "m", 2.0) == []
    assert capsys.readouterr().err == "Nothing is judged yet.\n"


def test_lines_that_a_person_reads():
    assert in_a_line(GOOD).split() == ["good", "1.5", "p=0.5", "a.png"]
    assert in_a_line(OTHER).endswith("b.png  (unusual: detail)")
    assert in_a_line(ERROR).split() == ["error", "c.png:", "is", "damaged."]
    # A name that turns a line, and one that turns the terminal red.
    assert in_a_line(GOOD | {"path": "a\n\x1b[31m \xe4.png"}).endswith(r"  a\n\x1b[31m ä.png")


def test_no_output_is_written_over_another_or_the_model(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    refuse_shared_names({"--csv": "-", "--json": "-", "--maps": None, "--masks": tmp_path}, tmp_path / "m")
    for named, said in [
        ({"--csv": str(tmp_path / "v"), "--json": str(link / "v")}, "--csv and --json name the same"),
        ({"--maps": tmp_path / "a", "--masks": tmp_path / "b" / ".." / "a"}, "--maps and --masks"),
        ({"--report": tmp_path / "m"}, "MODEL and --report name the same"),
    ]:
        with pytest.raises(ValueError, match=said):
            refuse_shared_names(named, tmp_path / "m")

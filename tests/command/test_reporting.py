"""skpadim report: every photo is on the page, with what the folder knows of it."""

from __future__ import annotations

import pytest

from commands import run

pytest.importorskip("skpadim.report")


def test_report_of_a_folder_that_knows_its_defects(model_path, drawn, tmp_path):
    result = run("report", model_path, drawn, "-o", tmp_path / "r.html", status=1)
    page = (tmp_path / "r.html").read_text()
    assert "Inspection by line3" in page and "missing_hole" in page
    assert page.count("test/scratch/00") >= 2
    assert f"Written: {tmp_path / 'r.html'}" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html"]


def test_no_folder_to_write_to(model_path, drawn, tmp_path):
    result = run("report", model_path, drawn, "-o", tmp_path / "nowhere" / "r.html", status=2)
    assert "there is no folder" in result.stderr

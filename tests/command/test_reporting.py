"""skpadim report: every photo is on the page, with what the folder knows of it."""

from __future__ import annotations

import pytest

from commands import run

pytest.importorskip("skpadim.report")


def test_report_of_a_folder_that_knows_its_defects(model_path, drawn, tmp_path):
    result = run("report", model_path, drawn, "-o", tmp_path / "r.html", status=1)
    page = (tmp_path / "r.html").read_text()
    assert "Inspection by line3" in page
    for photo in (drawn / "test").rglob("*.png"):
        assert f"{photo.parent.name}/{photo.name}" in page
    assert page.count('data-kind="scratch"') == 2, "kinds are those of the folders"
    assert f"Written: {tmp_path / 'r.html'}" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html"]


def test_no_folder_to_write_to(model_path, drawn, tmp_path):
    result = run("report", model_path, drawn, "-o", tmp_path / "nowhere" / "r.html", status=2)
    assert "there is no folder" in result.stderr

"""What of the parts comes onto the page."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from reports import Page, inspection, plain_photo
from skpadim.report import Report
from skpadim.report.page import PAGE_BYTES, choose, ranked, short_names
from skpadim.report.parts import Entry


def parts(scores, n_bytes, kinds=None):
    """Return what stands in for the parts of a report."""
    kinds = kinds or [None] * len(scores)
    entries = [
        Entry(str(number), score, 0.5, kind=kind, error="It is broken." if math.isnan(score) else None)
        for number, (score, kind) in enumerate(zip(scores, kinds, strict=True))
    ]
    return SimpleNamespace(entries=entries, n_bytes=[n_bytes] * len(entries))


def test_the_highest_score_comes_first_and_what_has_none_last():
    found = parts([1.0, math.nan, 3.0, math.inf, 3.0], 10)
    assert ranked(found.entries) == [3, 2, 4, 0, 1]


def test_all_are_shown_where_there_is_room():
    scores = np.random.default_rng(0).gamma(4, size=500)
    assert choose(parts(scores, 25_000), 5.0, PAGE_BYTES) == set(range(500))


def test_without_room_for_all_the_missed_the_highest_and_a_sample_are_shown():
    scores = np.random.default_rng(0).permutation(5000).astype(float)
    kinds = ["dent" if score in (100, 350, 4500) else "good" for score in scores]
    shown = choose(parts(scores, 25_000, kinds), 4000.0, PAGE_BYTES)
    assert 400 < len(shown) < PAGE_BYTES / 25_000
    shown_scores = sorted(scores[list(shown)], reverse=True)
    assert {100, 350} < set(shown_scores)
    n_highest = next(n for n, score in enumerate(shown_scores) if score != 4999 - n)
    assert n_highest > 0.75 * len(shown)
    # The sample goes down to the lowest score, at even steps.
    steps = np.diff([score for score in shown_scores[n_highest:] if score not in (100, 350)])
    assert shown_scores[-1] == 0.0
    assert np.ptp(steps) < 0.05 * abs(steps.mean())


def test_photos_without_pictures_stand_in_the_table(detector, tmp_path, monkeypatch):
    threshold = -detector.offset_
    page = tmp_path / "report.html"
    # Room for some thirty.
    monkeypatch.setattr("skpadim.report.page.PAGE_BYTES", 540_000)
    with Report({}, detector) as report:
        for number in range(100):
            report.add(inspection(number, threshold * number / 50, threshold), plain_photo())
        report.write(page)
    found = Page(page)
    cards = [attrs for attrs, _ in found.all("li", class_="card") if "data-number" in attrs]
    assert 10 < len(cards) < 60
    ((_, hint),) = [(a, text) for a, text in found.all("p", class_="hint") if "Pictures of" in text]
    assert hint.startswith(f"Pictures of {len(cards)} of 100 photos")
    assert found.count("photos") == 100
    assert found.count("anomalies") == 49
    assert len([1 for attrs, _ in found.all("td") if "data-verdict" in attrs]) == 100
    data = json.loads(found.all("script", id="data")[0][1])
    assert len(data["scores"]) == 100
    # Whatever is linked to is there.
    ids = {attrs["id"] for _, attrs, _ in found.elements if "id" in attrs}
    assert {attrs["href"][1:] for attrs, _ in found.all("a")} <= ids


def test_the_smallest_page_shows_no_pictures():
    assert choose(parts([1.0, 2.0, math.nan], 25_000), 5.0, 1000) == set()


def test_long_paths_leave_less_room():
    found = parts(list(map(float, range(3000))), 10_000)
    long = SimpleNamespace(
        entries=[Entry("x" * 800, e.score, 0.5) for e in found.entries], n_bytes=found.n_bytes
    )
    assert 0 < len(choose(long, 5.0, PAGE_BYTES)) < 0.8 * len(choose(found, 5.0, PAGE_BYTES))


@pytest.mark.parametrize(
    ("paths", "folder", "names"),
    [
        (["/data/a/1.png", "/data/b/1.png"], "/data", ["a/1.png", "b/1.png"]),
        (["/data/a/1.png"], "/data/a", ["1.png"]),
        (["/tmp/1.png", "/data/2.png"], "", ["/tmp/1.png", "/data/2.png"]),
        (["/tmp/1.png", "2.png"], "", ["/tmp/1.png", "2.png"]),
        (["X[0]", "X[1]"], "", ["X[0]", "X[1]"]),
        ([], "", []),
    ],
)
def test_names_lack_the_folder_that_all_share(paths, folder, names):
    assert short_names(paths) == (folder, names)


def test_without_jinja_a_report_says_what_to_install():
    script = """
import sys
sys.modules["jinja2"] = None
from skpadim.report import Report
try:
    Report({}, None)
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert run.stdout == 'A report needs Jinja2: pip install "skpadim[report]".\n', run.stderr

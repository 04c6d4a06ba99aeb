"""The benchmark of the first photo in a fresh process, as far as it runs without another checkout."""

from __future__ import annotations

import json
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="pages say how much memory there is"
)

startup = pytest.importorskip("startup", reason="the benchmarks are not in this distribution")


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """Detectors that nobody fits or loads: parts take as many seconds as turns went before."""
    runs = []

    def run(self, checkout, bytecode, script, *arguments):
        if script == startup.FIT:
            return ""
        runs.append(bytecode)
        parts = dict.fromkeys(startup.PARTS, runs.count(bytecode) - 1)
        return json.dumps(parts | {"torchvision": False, "file": str(tmp_path / "skpadim" / "__init__.py")})

    monkeypatch.setattr(startup.Bench, "_run", run)
    bench = startup.Bench(tmp_path)
    bench.add(startup.BEFORE, tmp_path, "resnet18")
    bench.runs = runs
    return bench


def test_as_many_turns_without_bytecode_as_with_it(bench, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(startup, "Bench", lambda scratch: bench)
    monkeypatch.setattr(startup, "ROOT", tmp_path)
    monkeypatch.setattr(startup, "commit", lambda checkout: "0123abc")
    monkeypatch.setattr(sys, "argv", ["startup.py", str(tmp_path)])
    startup.main()
    n_cases = 3
    # The run that writes the bytecode does not count.
    assert bench.runs.count(True) == n_cases * (7 + 1)
    assert bench.runs.count(False) == n_cases * 7
    assert "medians of 7 turns" in capsys.readouterr().out


def test_what_brings_the_detector_has_a_row(bench):
    parts = bench.medians(3, bytecode=True)
    assert parts[startup.BEFORE]["first photo"] == 2  # of 1, 2 and 3
    rows = [line.split("|")[1].strip() for line in startup.table(parts)]
    detector = rows.index("from skpadim import PaDiMDetector")
    assert rows[detector - 1 : detector + 3] == [
        "import skpadim",
        "from skpadim import PaDiMDetector",
        "load the file",
        "first photo",
    ]
    # What skpadim takes: two imports, the file and the photo.
    assert startup.total(parts[startup.BEFORE], startup.OURS) == 4 * 2


def test_another_checkout_is_refused(bench, tmp_path):
    bench.add("elsewhere", tmp_path / "another", "resnet18")
    with pytest.raises(RuntimeError, match="elsewhere: skpadim was imported from elsewhere"):
        bench.medians(1, bytecode=False)

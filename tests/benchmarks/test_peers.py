"""The command that measures skpadim beside its peers, as far as it runs without their environments."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")

_REASON = "the benchmarks are not in this distribution"
peers = pytest.importorskip("peers.run", reason=_REASON)
processes = pytest.importorskip("peers.processes", reason=_REASON)
reporting = pytest.importorskip("peers.report", reason=_REASON)
shared = pytest.importorskip("peers.contenders.shared", reason=_REASON)

TINY = ["--sizes", "8", "--image-size", "64", "--n-channels", "20", "--threads", "1"]
TINY += ["--repeats", "1", "--score-repeats", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What contenders share, drawn small."""
    folder = tmp_path_factory.mktemp("peers")
    options = peers.parse(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peers, "N_DRAWN_FILES", 1)
        peers.draw(folder, options, options.sizes)
    return folder


@pytest.fixture
def process(folder, tmp_path):
    process = processes.Process("trunk", folder, 1, processes.find_python("trunk", tmp_path))
    yield process
    process.end()


def rows_of(text, head):
    """Return the cells of a table in Markdown, row by row, by the first cell."""
    lines = text[text.index(f"| {head} |") :].split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[2:]}


def test_every_contender_without_an_environment_fills_its_row(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(peers, "N_DRAWN_FILES", 1)
    output = tmp_path / "peers.md"
    names = ["trunk", "trunk split", "skpadim", "reference"]
    peers.main([*TINY, "--contenders", *names, "--output", str(output)])
    text = output.read_text()
    assert text in capsys.readouterr().out
    assert str(tmp_path) not in text
    assert "What failed" not in text
    assert "not finished" not in text
    fits, scores = rows_of(text, "fit"), rows_of(text, "score")
    assert list(fits) == list(scores) == names
    for row in (*fits.values(), *scores.values()):
        for measure, cell in list(row.items())[1:]:
            absent = measure in ("on disk, MB", "map difference") and row is not fits["skpadim"]
            assert absent or float(cell.split(" (")[0].replace(",", "")) > 0, (measure, cell)
    # skpadim's maps before smoothing are the plain formulas'.
    assert 0 < float(scores["skpadim"]["map difference"]) < 1e-4
    assert scores["reference"]["map difference"] == "-"
    assert "Threads that decode: 1 of trunk, trunk split, reference; 2 of skpadim." in text


@pytest.mark.moves_global_generator  # the plain reference does
@pytest.mark.filterwarnings("ignore:false_alarm_rate")  # eight photos are few
def test_files_are_the_same_work_as_arrays(folder):
    """What comes out are maps, of all who have some."""
    setting = shared.Setting.read(folder)
    paths = sorted((folder / "png").iterdir())[:2]
    photos = np.stack([np.asarray(Image.open(path).resize((64, 64))) for path in paths])
    for name in ("own", "own_default", "reference"):
        contender = import_module(f"peers.contenders.{name}").Contender(setting)
        contender.fit(shared.Batches(np.load(folder / "good.npy"), contender.prepare))
        from_files = np.asarray(contender.score_files(paths))
        assert from_files.shape == np.asarray(contender.score(contender.prepare(photos))).shape == (2, 64, 64)


def test_a_call_past_its_time_ends_the_process(process):
    process.wait_until_ready()
    results = reporting.Results()
    for measure in ("fit 8", "score"):
        assert peers.record(results, "trunk", measure, process, ("fit", 8), cap=1e-6) is None
    # What was not asked is no failure of its own.
    assert results.failures == {("trunk", "fit 8"): "> 1e-06 s"}
    assert results.cell("trunk", "fit 8", ".1f") == "> 1e-06 s"
    assert results.cell("trunk", "score", ".1f") == "-"


def test_an_error_is_named_and_leaves_the_process_usable(process):
    process.wait_until_ready()
    with pytest.raises(processes.FailedError, match="AttributeError"):
        process.call("score", cap=60)  # before a fit
    assert process.call("fit", 8, cap=60) > 0
    assert process.call("whole_peak", cap=60) > process.call("peak", cap=60) >= 0


def test_a_peer_that_cannot_be_installed_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(processes.shutil, "which", lambda name, path: None)
    results = reporting.Results()
    options = peers.parse([*TINY, "--environments", str(tmp_path)])
    assert not peers.is_ready("anomalib", options, results)
    text = reporting.report(results, ["anomalib"], [8], "", "")
    assert rows_of(text, "fit")["anomalib"]["8 images, s"] == "failed"
    assert "no uv" in text


def test_a_run_that_is_cut_short_leaves_what_it_measured(monkeypatch, tmp_path):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(peers, "N_DRAWN_FILES", 1)
    monkeypatch.setattr(peers, "score_in_turns", interrupt)
    output = tmp_path / "peers.md"
    with pytest.raises(KeyboardInterrupt):
        peers.main([*TINY, "--contenders", "trunk", "--output", str(output)])
    text = output.read_text()
    assert "not finished" in text
    assert float(rows_of(text, "fit")["trunk"]["8 images, s"]) > 0


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def install(site, name):
    """Write what an installation of a commit leaves, as far as it is looked at."""
    (site / "skpadim").mkdir(parents=True)
    (site / "skpadim" / "__init__.py").write_text(f"PaDiMDetector = {name!r}")
    info = site / "skpadim-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: skpadim\nVersion: 0.1.0\n")
    origin = {"url": "file:///there", "vcs_info": {"vcs": "git", "commit_id": COMMIT}}
    (info / "direct_url.json").write_text(json.dumps(origin))


def make_environment(folder, *more):
    """Make an environment with the packages of this one, and of more folders; return python and packages."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "borrowed.pth").write_text("\n".join([*map(str, more), *paths]))
    return folder / "bin" / "python", site


def test_the_earlier_commit_is_imported_from_its_environment_alone(folder, monkeypatch, tmp_path):
    python, site = make_environment(tmp_path / "before")
    install(site, "earlier")
    trap = tmp_path / "trap"
    install(trap, "current")
    (trap / "skpadim" / "__init__.py").write_text("raise RuntimeError('the current tree was imported')")
    monkeypatch.setenv("PYTHONPATH", str(trap))
    monkeypatch.setenv("PYTHONHOME", str(trap))
    monkeypatch.chdir(trap)
    process = processes.Process(processes.BEFORE, folder, 1, python)
    try:
        process.wait_until_ready()
        assert process.call("versions", cap=60)["skpadim"] == f"0.1.0 of commit {COMMIT}"
        inherited = Path(f"/proc/{process._process.pid}/environ").read_bytes()
        assert b"PYTHONPATH=" not in inherited
        assert b"PYTHONHOME=" not in inherited
    finally:
        process.end()


def test_an_earlier_commit_from_elsewhere_is_refused(folder, tmp_path):
    install(tmp_path / "checkout", "current")
    python, _ = make_environment(tmp_path / "before", tmp_path / "checkout")
    process = processes.Process(processes.BEFORE, folder, 1, python)
    try:
        with pytest.raises(processes.FailedError, match="skpadim was imported from outside"):
            process.wait_until_ready()
    finally:
        process.end()


def test_the_page_names_the_earlier_commit(monkeypatch, capsys):
    monkeypatch.chdir(Path(peers.__file__).parent)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode:
        pytest.skip("the tests are in no repository")
    options = peers.parse([*TINY, "--before", "HEAD"])
    assert f"{processes.BEFORE} is commit {head.stdout.strip()}." in peers.describe(options)
    with pytest.raises(SystemExit):
        peers.parse([*TINY, "--before", "no-such-commit"])
    assert "no commit of this repository: no-such-commit" in capsys.readouterr().err


def test_medians_are_of_five_turns_unless_asked_otherwise():
    options = peers.parse([])
    assert options.repeats == options.score_repeats == 5


def test_no_path_of_the_machine_is_reported():
    error = processes.FailedError("cannot open /somewhere/on this/machine.pth: 3/4 read")
    assert str(error) == "cannot open ... this/machine.pth: 3/4 read"


def test_ratios_are_of_the_same_turn():
    results = reporting.Results()
    for trunk, own in ((1.0, 2.0), (10.0, 30.0), (2.0, 2.0)):
        results.add("trunk", "score", trunk)
        results.add("skpadim", "score", own)
    assert results.timed_cell("skpadim", "score", ".1f") == "2.0 (2.00; 1.00 to 3.00)"
    assert_allclose(results.ratio("trunk", "score", "skpadim"), 0.5)

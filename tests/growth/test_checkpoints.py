"""A fit that is killed, whenever that is, goes on and gives the same detector."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from skpadim.growth import files
from skpadim.growth.growth import Growth
from small import small

PARAMS = {"n_calibration": 20, "batch_size": 4, "false_alarm_rate": 0.1, "checkpoint_every": 2}


class Killed(BaseException):
    """What ends a fit at once, as far as a test of one process can tell."""


@pytest.fixture(scope="module")
def unharmed(photos):
    return small(**PARAMS).fit(photos.X_train)


def assert_same(detector, unharmed, photos):
    """To the last bit."""
    assert_array_equal(detector.score_samples(photos.X_test), unharmed.score_samples(photos.X_test))
    assert_array_equal(detector.loo_scores_, unharmed.loo_scores_)
    assert_array_equal(detector.loo_indices_, unharmed.loo_indices_)
    assert_array_equal(detector.photo_statistics_, unharmed.photo_statistics_)
    assert detector.threshold() == unharmed.threshold()


def kill_at(monkeypatch, n):
    """Let the n-th batch from now on be the end, and return a list of the batches learned."""
    learned, add = [], Growth.add

    def counted(self, *args):
        if len(learned) + 1 == n:
            raise Killed
        learned.append(args)
        add(self, *args)

    monkeypatch.setattr(Growth, "add", counted)
    return learned


@pytest.mark.parametrize("n", [1, 2, 3, 6, 8])
def test_a_fit_goes_on_from_its_last_checkpoint(n, unharmed, photos, tmp_path, monkeypatch):
    detector = small(**PARAMS, checkpoint=tmp_path)
    with monkeypatch.context() as patched:
        kill_at(patched, n)
        with pytest.raises(Killed):
            detector.fit(photos.X_train)
    learned = kill_at(monkeypatch, 0)
    assert_same(detector.fit(photos.X_train), unharmed, photos)
    n_before = (n - 1) // 2 * 2
    assert len(learned) == 8 - n_before
    assert list(tmp_path.iterdir()) == []


def test_a_fit_killed_again_and_again_goes_on(unharmed, photos, tmp_path, monkeypatch):
    for _ in range(3):
        with monkeypatch.context() as patched:
            kill_at(patched, 3)
            with pytest.raises(Killed):
                small(**PARAMS, checkpoint=tmp_path).fit(photos.X_train)
    learned = kill_at(monkeypatch, 0)
    assert_same(small(**PARAMS, checkpoint=str(tmp_path)).fit(photos.X_train), unharmed, photos)
    assert len(learned) == 2


def test_factors_that_fail_cost_no_pass(unharmed, photos, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:

        def killed(*_):
            raise Killed

        patched.setattr("skpadim.gaussian.factor_patches", killed)
        with pytest.raises(Killed):
            small(**PARAMS, checkpoint=tmp_path).fit(photos.X_train)
    learned = kill_at(monkeypatch, 0)
    assert_same(small(**PARAMS, checkpoint=tmp_path).fit(photos.X_train), unharmed, photos)
    assert learned == []


def test_what_was_left_unfinished_is_cleared_away(unharmed, photos, tmp_path, monkeypatch):
    write = files.np.savez
    with monkeypatch.context() as patched:
        n_written = []

        def cut_off(file, **arrays):
            n_written.append(1)
            write(file, **arrays)
            if len(n_written) == 2:
                file.truncate(1000)
                raise Killed

        patched.setattr(files.np, "savez", cut_off)
        # Nobody clears away after a kill.
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(Killed):
            small(**PARAMS, checkpoint=tmp_path).fit(photos.X_train)
    assert len(list(tmp_path.iterdir())) == 2
    learned = kill_at(monkeypatch, 0)
    assert_same(small(**PARAMS, checkpoint=tmp_path).fit(photos.X_train), unharmed, photos)
    assert len(learned) == 6
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [False, True], ids=["computed", "kept in memory"])
def test_photos_that_cannot_be_read_stay_left_out(kept, photos, tmp_path, monkeypatch):
    paths = [tmp_path / f"{index:02}.png" for index in range(30)]
    for path, photo in zip(paths, photos.X_train, strict=True):
        Image.fromarray(photo).save(path)
    for index in (2, 8, 9, 10, 11, 25):  # all of the third batch
        paths[index].write_bytes(b"no photo")
    params = PARAMS | {"on_error": "skip", "memory": tmp_path / "memory" if kept else None}
    with pytest.warns(UserWarning, match="6 of 30 images"):
        expected = small(**params).fit(paths)
    with monkeypatch.context() as patched:
        kill_at(patched, 5)
        with pytest.raises(Killed):
            small(**params, checkpoint=tmp_path / "at").fit(paths)
    with pytest.warns(UserWarning, match="6 of 30 images"):
        detector = small(**params, checkpoint=tmp_path / "at").fit(paths)
    assert_same(detector, expected, photos)
    assert detector.skipped_ == expected.skipped_


def test_a_day_goes_on_too(photos, tmp_path, monkeypatch):
    days = np.split(photos.X_train, [9])
    expected = small(**PARAMS).partial_fit(days[0]).partial_fit(days[1])
    detector = small(**PARAMS, checkpoint=tmp_path).partial_fit(days[0])
    detector.save_growth(tmp_path / "growth.npz")
    with monkeypatch.context() as patched:
        kill_at(patched, 4)
        with pytest.raises(Killed):
            detector.partial_fit(days[1])
    with pytest.raises(ValueError, match="on other photos"):
        small(**PARAMS, checkpoint=tmp_path).partial_fit(days[1])
    learned = kill_at(monkeypatch, 0)
    again = small(**PARAMS, checkpoint=tmp_path).load_growth(tmp_path / "growth.npz")
    assert_same(again.partial_fit(days[1]), expected, photos)
    assert len(learned) == 4


@pytest.fixture
def half_done(photos, tmp_path, monkeypatch):
    """Return a folder with the checkpoint of a fit."""
    with monkeypatch.context() as patched:
        kill_at(patched, 5)
        with pytest.raises(Killed):
            small(**PARAMS, checkpoint=tmp_path).fit(photos.X_train)
    return tmp_path


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"epsilon": 1.0}, "epsilon"),
        ({"random_state": 7}, "random_state"),
        ({"image_size": 32}, "image_size"),
    ],
)
def test_other_parameters_are_refused_by_name(params, name, half_done, photos):
    before = [path.read_bytes() for path in half_done.iterdir()]
    with pytest.raises(ValueError, match=rf"the checkpoint '.*' has another {name}, .* than this fit"):
        small(**(PARAMS | params), checkpoint=half_done).fit(photos.X_train)
    assert [path.read_bytes() for path in half_done.iterdir()] == before


def test_other_photos_are_refused(half_done, photos, tmp_path):
    first, middle, last = (photos.X_train.copy() for _ in range(3))
    first[0, 5, 5] ^= 1
    middle[7, 5, 5] ^= 1
    last[15, 5, 5] ^= 1
    path = tmp_path / "photo.png"
    Image.fromarray(photos.X_train[0]).save(path)
    for X in (first, middle, [*middle], last, photos.X_train[:29], [path, *photos.X_train[1:]]):
        with pytest.raises(ValueError, match=r"on other photos.*delete the file"):
            small(**PARAMS, checkpoint=half_done).fit(X)


def test_other_batches_and_threads_go_on(half_done, unharmed, photos):
    detector = small(**(PARAMS | {"batch_size": 7}), n_jobs=1, checkpoint=half_done).fit(photos.X_train)
    assert_allclose(detector.loo_scores_, unharmed.loo_scores_, rtol=2e-5)


def test_damaged_checkpoints_and_folders_that_are_none_are_told(half_done, photos, tmp_path):
    (checkpoint,) = half_done.glob("*.npz")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"damaged.*delete the file to begin anew, or pass another folder"):
        small(**PARAMS, checkpoint=half_done).fit(photos.X_train)
    with pytest.raises(ValueError, match="is a file; expected a folder"):
        small(checkpoint=checkpoint).fit(photos.X_train)
    with pytest.raises(ValueError, match="random_state that is an int"):
        small(checkpoint=tmp_path, random_state=None).fit(photos.X_train)
    with pytest.raises(ValueError, match="checkpoint_every"):
        small(checkpoint_every=0).fit(photos.X_train)


def test_checkpoints_and_saved_growths_are_not_taken_for_each_other(half_done, photos, tmp_path):
    checkpoint = half_done / "checkpoint.npz"
    detector = small(**PARAMS, checkpoint=half_done)
    before = dict(vars(detector))
    with pytest.raises(ValueError, match=r"written by fit, and partial_fit cannot go on.*Call fit"):
        detector.partial_fit(photos.X_train)
    with pytest.raises(ValueError, match="is a checkpoint of a fit under way: call that fit again"):
        detector.load_growth(checkpoint)
    with np.load(checkpoint) as opened:
        arrays = dict(opened)
    np.savez(checkpoint, **(arrays | {"n_done": np.array(3)}))
    with pytest.raises(ValueError, match=r"has photos beyond those.*delete the file"):
        detector.fit(photos.X_train)
    del arrays["n_done"]
    np.savez(checkpoint, **arrays)
    with pytest.raises(ValueError, match=r"is no checkpoint; a file that save_growth wrote.*delete the file"):
        detector.fit(photos.X_train)
    assert vars(detector) == before


SCRIPT = """
import os, random, signal, sys, threading, time
import numpy as np
from skpadim.datasets import make_inspection_images
from skpadim.growth import files
from small import small

folder, params = sys.argv[1], eval(sys.argv[2])
photos = make_inspection_images(30, 10, 12, image_size=64)
write = files.np.savez
choice = random.Random(0)

def save(detector, name):
    found = {"scores": detector.score_samples(photos.X_test), "loo": detector.loo_scores_}
    write(f"{os.path.dirname(folder)}/{name}.npz", offset=detector.offset_, **found)

for _ in range(2):  # The first fit takes longer.
    began = time.monotonic()
    save(small(**params).fit(photos.X_train), "unharmed")
    duration = time.monotonic() - began

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def kill_in_writing(file, **arrays):
    file.write(b"half of a file")
    file.flush()
    kill()

n_killed = 0
for attempt in range(100):
    delay, in_writing = choice.uniform(0, 0.2) * (attempt + 1) * duration, attempt % 3 == 2
    child = os.fork()
    if not child:
        if in_writing:
            files.np.savez = kill_in_writing
        else:
            threading.Timer(delay, kill).start()
        save(small(**params, checkpoint=folder).fit(photos.X_train), "found")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        n_killed += 1
    else:
        break
print(os.waitstatus_to_exitcode(status), n_killed)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fit_killed_at_random_moments_and_in_the_middle_of_writing(tmp_path):
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "at"), repr(PARAMS)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    code, n_killed = map(int, run.stdout.split())
    assert code == 0, run.stderr
    assert n_killed >= 3, "one of them while it was writing"
    with np.load(tmp_path / "found.npz") as found, np.load(tmp_path / "unharmed.npz") as unharmed:
        for name in ("loo", "scores", "offset"):
            assert_array_equal(found[name], unharmed[name])
    assert list((tmp_path / "at").iterdir()) == []

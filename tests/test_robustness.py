"""What may go wrong around a fit: damaged files, interrupts, threads, other processes."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageOps
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skpadim import PaDiMDetector, PatchGaussian
from skpadim.growth.growth import Growth
from skpadim.images import decoding

SIDE = 24


def photos(n_images, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n_images, SIDE, SIDE, 3), dtype=np.uint8)


def small_detector(**params):
    """Return a detector that is fitted in a tenth of a second, wherever its parameters arrive."""
    defaults = {"weights": None, "image_size": SIDE, "n_channels": 9, "false_alarm_rate": 0.2}
    return PaDiMDetector("squeezenet1_0", ("features.2", "features.4"), **(defaults | params))


def tiny_detector():
    """Return a detector that is fitted in a moment."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 6, 3, stride=3), nn.ReLU())
    return PaDiMDetector(network, ("0",), 5, weights=None, image_size=SIDE, false_alarm_rate=0.3)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for index, photo in enumerate(photos(12)):
        Image.fromarray(photo).save(folder / f"{index:02}.png")
    return sorted(folder.iterdir())


# Damaged files --------------------------------------------------------------------------------------------


def saved(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def valid_files():
    """Return the content of small files of every common format, by format and kind."""
    y, x = np.mgrid[0 : 1 : SIDE * 1j, 0 : 1 : SIDE * 1j]
    smooth = np.rint(255 * np.stack([y, x, (x + y) / 2], -1)).astype(np.uint8)
    colour, grey = Image.fromarray(smooth), Image.fromarray(smooth[..., 2])
    translucent = colour.copy()
    translucent.putalpha(grey)
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "png": saved(colour, "png"),
        "png translucent": saved(translucent, "png", exif=turned),
        "png palette": saved(colour.quantize(16), "png", transparency=3),
        "png 16 bits": saved(Image.fromarray(smooth[..., 2].astype(np.uint16) * 257), "png"),
        "jpeg": saved(colour, "jpeg", exif=turned),
        "jpeg progressive": saved(grey, "jpeg", progressive=True),
        "tiff": saved(colour, "tiff"),
        "tiff deflate": saved(grey, "tiff", compression="tiff_adobe_deflate"),
        "bmp": saved(colour, "bmp"),
        "gif": saved(colour, "gif"),
        "webp": saved(translucent, "webp", lossless=True),
        "webp lossy": saved(colour, "webp", exif=turned),
    }


def png(width, height, data, *more_chunks):
    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), *more_chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*parts) for parts in chunks)


def resized_header(content, width, height):
    """Return a file that claims another size than its pixels have."""
    content = bytearray(content)
    if content.startswith(b"\x89PNG"):
        struct.pack_into(">II", content, 16, width, height)
        struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    elif content.startswith(b"BM"):
        struct.pack_into("<ii", content, 18, width, height)
    elif content.startswith(b"GIF"):
        struct.pack_into("<HH", content, 6, width, height)
        image = content.index(b"," + bytes(4))
        struct.pack_into("<HH", content, image + 5, width, height)
    elif content.startswith(b"\xff\xd8"):
        frame = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
        struct.pack_into(">HH", content, frame + 5, height, width)
    elif content.startswith(b"II*\0"):
        directory = struct.unpack_from("<I", content, 4)[0]
        for entry in range(directory + 2, directory + 26, 12):
            tag = struct.unpack_from("<H", content, entry)[0]
            if tag in (256, 257):
                struct.pack_into("<HII", content, entry + 2, 4, 1, width if tag == 256 else height)
    else:
        raise AssertionError("no header is known")
    return bytes(content)


def mutations():
    """Yield 200 mutated files: what was done, the suffix of the name, and the content."""
    rng = np.random.default_rng(0)
    originals = valid_files()
    suffixes = [name.split()[0] for name in originals]
    for number, (name, content) in enumerate(originals.items()):
        own, other = suffixes[number], suffixes[number - 4]
        yield f"{name}, named .{other}", other, content
        yield f"{name}, bytes appended", own, content + b"more"
        for share in (0.02, 0.1, 0.4, 0.7, 0.95):
            yield f"{name}, cut at {share:.0%}", own, content[: int(share * len(content))]
        for flips, reach in [(1, 64), (1, 64), (2, 200), (1, None), (1, None), (4, None)]:
            mutant = bytearray(content)
            for place in rng.integers(0, len(mutant[:reach]), flips):
                mutant[place] ^= int(rng.integers(1, 256))
            yield f"{name}, {flips} of the first {reach} bytes flipped", own, bytes(mutant)
        if own != "webp":
            for size in [(60_000, 60_000), (0, 0), (0, SIDE)]:
                yield f"{name}, header of {size}", own, resized_header(content, *size)
    yield "empty", "png", b""
    yield "text", "png", b"serial number,verdict\n17,good\n"
    yield "zeros", "jpg", bytes(5000)
    yield "noise", "tif", rng.bytes(5000)
    yield (
        "PostScript that never ends",
        "png",
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n%%EOF\n"),
    )
    yield "pixels that unpack to a thousand times their size", "png", png(20_000, 9_000, bytes(22_509_000))
    text = (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000)))
    yield "text that unpacks to a thousand times its size", "png", png(8, 8, bytes(16), text)
    yield "a directory", "png", None
    for number in range(6):
        mutant = bytearray(originals["png"])
        mutant[number * 2 + 16 : number * 2 + 24] = rng.bytes(8)
        yield f"png, bytes from {number * 2 + 16} at random", "png", bytes(mutant)


def as_pillow_decodes(path):
    """Return what Pillow makes of a file, as RGB over white, or None if it makes nothing of it."""
    try:
        with Image.open(path) as image:
            if image.format == "EPS":  # Ghostscript would run it.
                return None
            image.load()
            image = ImageOps.exif_transpose(image)
    except Exception:
        return None
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=float) / (1 if image.mode == "F" else 65535)
        return values if np.isfinite(values).all() and 0 <= values.min() <= values.max() <= 1 else None
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))


@pytest.fixture(scope="module")
def mutants(tmp_path_factory):
    """Return for each of 200 files: what was done to it, its path, and what Pillow makes of it."""
    folder = tmp_path_factory.mktemp("mutants")
    result = []
    for number, (what, suffix, content) in enumerate(mutations()):
        path = folder / f"{number:03}.{suffix}"
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result.append((what, path, as_pillow_decodes(path)))
    assert len(result) == 200
    return result


@pytest.fixture
def few_warnings():
    """Let warnings be warnings, as a user has them, and count those that a user would see."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        yield
    assert len(seen) <= 10, [str(warning.message) for warning in seen]


@pytest.mark.usefixtures("few_warnings")
def test_scores_of_mutated_files_are_right_or_refused_by_name(mutants):
    detector = tiny_detector().fit(photos(6))
    refused = 0
    for what, path, expected in mutants:
        if expected is not None:
            (score,) = detector.score_samples([path])
            assert_allclose(score, detector.score_samples([expected])[0], rtol=1e-4, err_msg=what)
            continue
        with pytest.raises(ValueError) as caught:
            detector.score_samples([photos(1)[0], path])
        assert str(caught.value).startswith(f"X[1] ({str(path)!r}) cannot be read as an image: "), what
        refused += 1
    assert 40 < refused < 160, "both kinds are tried"


@pytest.mark.usefixtures("few_warnings")
def test_mutated_files_are_fitted_or_refused_by_name(mutants):
    detector, others = tiny_detector(), list(photos(6))
    decodable = [(path, expected) for _, path, expected in mutants if expected is not None]
    for what, path, expected in mutants:
        if expected is None:
            with pytest.raises(ValueError) as caught:
                detector.fit([*others, path])
            assert str(caught.value).startswith(f"X[6] ({str(path)!r}) cannot be read as an image: "), what
            assert_unfitted(detector)
    paths, arrays = zip(*decodable, strict=True)
    expected = tiny_detector().fit([*others, *arrays])
    assert_allclose(detector.fit([*others, *paths]).loo_scores_, expected.loo_scores_, rtol=1e-3)
    assert_no_threads_left()


def assert_unfitted(detector):
    with pytest.raises(NotFittedError):
        check_is_fitted(detector)
    assert vars(detector).keys() - {"_skl_callbacks"} == detector.get_params().keys()


# Interrupts -----------------------------------------------------------------------------------------------


def assert_no_threads_left(before=frozenset()):
    deadline = time.monotonic() + 10
    while left := [t.name for t in threading.enumerate() if t.name.startswith("skpadim")]:
        assert time.monotonic() < deadline, left
        time.sleep(0.005)


class InterruptSecondBatch:
    """A callback of scikit-learn's in whose time the user presses Ctrl-C."""

    def __init__(self, interrupt):
        self.interrupt = interrupt
        self.n_batches = 0
        self.torn_down = False

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.n_batches += context.task_name == "batch"
        if self.n_batches == 2:
            self.interrupt()

    def on_fit_task_end(self, estimator, context):
        return False

    def teardown(self, estimator, context):
        self.torn_down = True


def press(*_args, **_kwargs):
    raise KeyboardInterrupt


def in_a_decoding_thread(_detector, patch):
    patch.setattr(decoding, "_as_seen", press)


def between_decoding_and_network(_detector, patch):
    patch.setattr("skpadim.images.collection._collate", press)


def in_a_callback(detector, _patch):
    detector.set_callbacks(InterruptSecondBatch(press))


def beside_the_network(_detector, patch):
    """Interrupt who takes the batches, while the next ones are being decoded."""
    patch.setattr(Growth, "add", press)


def after_the_last_photo(_detector, patch):
    patch.setattr("skpadim.gaussian.factor_patches", press)


PLACES = [
    in_a_decoding_thread,
    between_decoding_and_network,
    in_a_callback,
    beside_the_network,
    after_the_last_photo,
]


@pytest.mark.parametrize("place", PLACES)
def test_an_interrupted_fit_leaves_the_detector_usable(place, files, monkeypatch):
    fresh, fitted = small_detector(batch_size=3), small_detector(batch_size=3).fit(files)
    expected = fitted.score_samples(photos(2, seed=1))
    for detector in (fresh, fitted):
        with monkeypatch.context() as patch:
            place(detector, patch)
            with pytest.raises(KeyboardInterrupt) as caught:
                detector.fit(files[::-1])
        # Traceback and frames are alive, as in an interactive session.
        assert caught.traceback
        assert_no_threads_left()
        detector.set_callbacks()
    assert_unfitted(fresh)
    assert_array_equal(fitted.score_samples(photos(2, seed=1)), expected)
    assert_array_equal(fresh.fit(files).score_samples(photos(2, seed=1)), expected)


@pytest.mark.parametrize("method", ["score_samples", "anomaly_map"])
def test_interrupted_scoring_leaves_no_threads(method, files, monkeypatch):
    detector = small_detector(batch_size=3).fit(files)
    expected = detector.score_samples(files)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as caught:
        patch.setattr(PatchGaussian, "distances", press)
        getattr(detector, method)(files)
    assert caught.traceback
    assert_no_threads_left()
    assert_array_equal(detector.score_samples(files), expected)


def test_real_interrupts_in_another_process(files, tmp_path):
    """A signal comes while the main thread computes, and while it waits for a file; then the fit is repeated.

    Its scores are those of this process, bit for bit: the seed decides them, and nothing else.
    """
    script = """
import os, signal, sys, threading, time
import numpy as np, torch
from skpadim.images import decoding
from test_robustness import InterruptSecondBatch, assert_no_threads_left, assert_unfitted, small_detector

# Whoever was started in a shell's background ignores the signal, and so do all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

def press():
    os.kill(os.getpid(), signal.SIGINT)

def slowly(image):
    with lock:
        decoded.append(image)
        number = len(decoded)
    if number == 6:
        press()
    time.sleep(0.05)
    return decode(image)

torch.set_num_threads(int(sys.argv[1]))
files, decoded, decode, lock = sys.argv[2:], [], decoding._as_seen, threading.Lock()
detector, callback = small_detector(batch_size=3), InterruptSecondBatch(press)
for callbacks, decoding._as_seen in [([callback], decode), ([], slowly)]:
    try:
        detector.set_callbacks(*callbacks).fit(files)
    except KeyboardInterrupt as error:
        kept = error
    else:
        raise AssertionError("not interrupted")
    assert_no_threads_left()
    assert_unfitted(detector)
assert callback.torn_down
assert 5 < len(decoded) < 12, "what is ahead is not decoded any more"
decoding._as_seen = decode
np.save("scores.npy", detector.fit(files).score_samples(files))
"""
    tests = Path(__file__).parent
    search = os.pathsep.join([str(tests.parent), str(tests), *filter(None, sys.path)])
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(torch.get_num_threads()), *map(str, files)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": search, "PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    expected = small_detector(batch_size=3).fit(files).score_samples(files)
    assert_array_equal(np.load(tmp_path / "scores.npy"), expected)


# Threads and processes ------------------------------------------------------------------------------------


def test_eight_threads_predict_what_one_does(files):
    detector = small_detector().fit(files)
    methods = (detector.predict, detector.score_samples, detector.anomaly_map, detector.segment)
    expected = [method(files) for method in methods]
    detector = small_detector().fit(files)  # Nothing of it has been prepared for scoring.
    together = threading.Barrier(8)

    def ask(number):
        together.wait()
        return [getattr(detector, methods[(number + i) % 4].__name__)(files) for i in range(4)]

    with ThreadPoolExecutor(8) as pool:
        for number, answers in enumerate(pool.map(ask, range(8))):
            for i, answer in enumerate(answers):
                assert_array_equal(answer, expected[(number + i) % 4])


def test_processes_of_loky(files):
    """Unfitted there, fitted back; and back there again, inside a grid search."""
    parallel = Parallel(n_jobs=2, backend="loky")
    here = [small_detector(random_state=seed).fit(files) for seed in (0, 1)]
    there = parallel(delayed(small_detector(random_state=seed).fit)(files) for seed in (0, 1))
    for mine, theirs in zip(here, there, strict=True):
        assert_allclose(theirs.score_samples(files), mine.score_samples(files), rtol=1e-5)
    (scores,) = parallel(delayed(detector.score_samples)(files) for detector in here[:1])
    assert_allclose(scores, here[0].score_samples(files), rtol=1e-5)

    X = np.array([str(file) for file in files])
    y = np.where(np.arange(12) % 6 < 5, 1, -1)
    good, bad = np.flatnonzero(y == 1), np.flatnonzero(y == -1)
    folds = [(good[:6], np.r_[good[6:], bad]), (good[4:], np.r_[good[:4], bad])]
    results = [
        GridSearchCV(
            small_detector(),
            {"n_channels": [3, 9]},
            cv=folds,
            scoring="roc_auc",
            n_jobs=n_jobs,
            error_score="raise",
            refit=False,
        ).fit(X, y)
        for n_jobs in (1, 2)
    ]
    serial, parallel_ = (search.cv_results_["mean_test_score"] for search in results)
    assert_allclose(parallel_, serial)

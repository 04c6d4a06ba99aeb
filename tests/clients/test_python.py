"""The client in Python says what the detector says, without torch and skpadim."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLIENT = Path(__file__).parents[2] / "examples" / "clients" / "python" / "score_photo.py"

# Runs a client where neither torch nor skpadim can be imported, and tells what memory it took.
_ALONE = """
import importlib.abc, json, resource, runpy, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {"onnx", "scipy", "sklearn", "skpadim", "torch", "torchvision"}:
            raise ImportError(f"the client asks for {name}")

sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
roots = {name.split(".")[0] for name in sys.modules}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"modules": sorted(roots), "megabytes": peak / 1024}), file=sys.stderr)
"""


def test_verdicts_are_the_detector_s(line):
    line.check(line.run(sys.executable, CLIENT))


def test_first_score_needs_neither_torch_nor_skpadim(line):
    (photo, *_) = line.verdicts
    start = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-c", _ALONE, str(CLIENT), str(line.model), photo],
        capture_output=True,
        text=True,
        timeout=300,
    )
    seconds = time.perf_counter() - start
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stderr.splitlines()[-1])
    assert {"onnxruntime", "numpy", "PIL"} <= set(told["modules"])
    assert not {"torch", "skpadim"} & set(told["modules"])
    np.testing.assert_allclose(json.loads(run.stdout)["score"], line.verdicts[photo]["score"], rtol=1e-4)
    print(f"the first score took {seconds:.2f} s and {told['megabytes']:.0f} MB")


def test_without_a_p_value_it_is_null(line, learned_elsewhere):
    line.check_without_p_value(learned_elsewhere, sys.executable, CLIENT)


@pytest.fixture(scope="module")
def client():
    import runpy

    pytest.importorskip("onnxruntime")
    return runpy.run_path(str(CLIENT))


def test_photos_are_read_upright_and_over_white(client, tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, size=(4, 6, 4), dtype=np.uint8)
    colours[0, :, 3], colours[1, :, 3] = 0, 255
    image = Image.fromarray(colours)
    turned = Image.Exif()
    turned[0x0112] = 6  # A quarter turn clockwise.
    image.save(tmp_path / "turned.png", exif=turned)
    photo = client["read_photo"](tmp_path / "turned.png")
    share = colours[..., 3:] / 255
    over_white = np.rot90(colours[..., :3] * share + 255 * (1 - share), -1)
    np.testing.assert_allclose(photo, over_white, atol=1)


def test_photos_of_more_than_8_bits_are_refused(client, tmp_path):
    Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png has pixels of mode 'I;16', and .* 8 bits"):
        client["read_photo"](tmp_path / "deep.png")


@pytest.mark.parametrize("shape", [(0, 8, 3), (8, 0, 3), (8, 8), (8, 8, 4)])
def test_photos_without_pixels_or_colours_are_refused(client, line, shape):
    session = client["open_model"](str(line.model))
    with pytest.raises(ValueError, match=r"\(height, width, 3\), and pixels; got"):
        client["inspect"](session, np.zeros(shape, dtype=np.uint8))

"""The client in Node says what the detector says."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def folder(installed):
    return installed("node")


def test_verdicts_are_the_detector_s(line, folder):
    line.check(line.run("node", folder / "score_photo.js"))


def test_without_a_p_value_it_is_null(line, learned_elsewhere, folder):
    line.check_without_p_value(learned_elsewhere, "node", folder / "score_photo.js")


def test_photos_are_read_as_pillow_reads_them(line, folder, tmp_path):
    """Grey photos, palettes and transparency over white give the verdict of their colours."""
    (path, *_) = line.verdicts
    with Image.open(path) as photo:
        kinds = {"grey": photo.convert("L"), "palette": photo.quantize(32), "clear": photo.copy()}
    kinds["clear"].putalpha(128)
    for name, image in kinds.items():
        image.save(tmp_path / f"{name}.png")
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        white.convert("RGB").save(tmp_path / f"{name} as colours.png")
    command = ["node", folder / "score_photo.js", line.model]
    run = subprocess.run([*command, *sorted(tmp_path.iterdir())], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    scores = [float(text.split('"score":')[1].split(",")[0]) for text in run.stdout.splitlines()]
    np.testing.assert_allclose(scores[::2], scores[1::2], rtol=5e-3)


def test_a_foreign_file_says_so(folder, tmp_path):
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(b"\x08\x0a")  # A model of nothing but its version.
    command = ["node", folder / "score_photo.js", foreign, "photo.png"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    assert "not exported by skpadim" in run.stderr

"""``skpadim export``, and what ``info`` says of its files."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra export is not installed")

from commands import run  # noqa: E402
from skpadim.datasets import make_inspection_images  # noqa: E402


def test_a_model_becomes_a_file_that_decides(model_path, model, tmp_path):
    out = tmp_path / "line3.onnx"
    result = run("export", model_path, "-o", out, "--photo-size", "64x64")
    assert "MB, compared with the model" in result.stderr
    photos = make_inspection_images(0, 2, 2, image_size=64, random_state=1).X_test
    found = onnxruntime.InferenceSession(out).run(["score"], {"photos": photos})[0]
    np.testing.assert_allclose(found, -model.detector.score_samples(photos), rtol=1e-5)
    told = run("info", out)
    assert "Apache-2.0" in told.stdout and "24 values" in told.stdout
    said = json.loads(run("info", out, "--json").stdout)
    assert said["threshold"] == -model.detector.offset_ and len(said["digest"]) == 64


def test_the_size_is_of_all_files(model_path, tmp_path):
    pytest.importorskip("openvino")
    told = " ".join(run("export", model_path, "-o", tmp_path / "line3.xml").stderr.split())
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert f"{size / 1e6:.1f} MB" in told


def test_in_half_precision(model_path, drawn, tmp_path):
    out = tmp_path / "half.onnx"
    run("export", model_path, "-o", out, "--precision", "float16", "--photos", drawn)
    assert json.loads(run("info", out, "--json").stdout)["precision"] == "float16"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-o", "line3.tflite"), "must end in .onnx"),
        (("-o", "line3.onnx", "--photo-size", "64"), "must be WIDTHxHEIGHT"),
        (("-o", "line3.onnx", "--precision", "int8"), "good photos"),
        (("-o", "none/line3.onnx"), "no folder"),
    ],
)
def test_errors_in_words(model_path, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert words in run("export", model_path, *arguments, status=2).stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["line3.onnx", "line3.xml"])
def test_a_folder_that_is_read_only(model_path, tmp_path, monkeypatch, name):
    if name.endswith(".xml"):
        pytest.importorskip("openvino")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    error = run("export", model_path, "-o", tmp_path / name, status=2).stderr
    assert "cannot be written: the folder" in " ".join(error.split()) and "read-only" in error
    assert not list(tmp_path.iterdir())

"""What cannot be exported is refused with the reason, and nothing is written."""

from __future__ import annotations

import copy
import sys

import numpy as np
import pytest

from skpadim import PaDiMDetector
from skpadim.export import read_metadata, to_onnx, to_openvino


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"value_range": 12}, "value_range=12 .* 8 bits a colour"),
        ({"value_range": (20, 200)}, "value_range=.20, 200. .* 8 bits a colour"),
        ({"precision": "bfloat16"}, "precision='bfloat16' .* computes in float32"),
    ],
)
def test_refused_with_the_reason(parameters, words, fitted, tmp_path):
    other = copy.copy(fitted).set_params(**parameters)
    with pytest.raises(ValueError, match=words):
        to_onnx(other, tmp_path / "line3.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value_range", ["dtype", 8, (0, 255), [0.0, 255.0]])
def test_bytes_as_they_are(value_range, fitted, tmp_path):
    to_onnx(copy.copy(fitted).set_params(value_range=value_range), tmp_path / "line3.onnx")


@pytest.mark.parametrize("other", ["line3.joblib", None, "pipeline"])
def test_what_is_no_detector(other, fitted, tmp_path):
    given = fitted.pipeline_ if other == "pipeline" else other
    with pytest.raises(TypeError, match="must be a PaDiMDetector; got"):
        to_onnx(given, tmp_path / "line3.onnx")


def test_a_threshold_of_one_s_own_has_no_rate(fitted, file, tmp_path):
    assert read_metadata(file)["false_alarm_rate"] == 0.05
    own = copy.copy(fitted).set_threshold(7.5)
    said = read_metadata(to_onnx(own, tmp_path / "own.onnx"))
    assert said["threshold"] == 7.5 and said["false_alarm_rate"] is None


def test_without_openvino(fitted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ImportError, match=r"to_openvino needs .*skpadim\[export\]"):
        to_openvino(fitted, tmp_path / "line3.xml")


def test_weights_beside_are_not_appended_to(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("skpadim.export.onnx_file.MOST_BYTES_OF_WEIGHTS", 1000)
    path = to_onnx(fitted, tmp_path / "large.onnx")
    data = tmp_path / "large.onnx.data"
    size = data.stat().st_size
    to_onnx(fitted, path)
    assert data.stat().st_size == size


def test_thresholds_of_drafts_are_none_of_a_file_that_takes_whole_photos(tmp_path):
    photos = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    detector = PaDiMDetector(weights=None, image_size=32, false_alarm_rate=0.2, decoding="draft").fit(photos)
    with pytest.raises(ValueError, match="decoding='draft' cannot be exported"):
        to_onnx(detector, tmp_path / "line3.onnx")
    assert not list(tmp_path.iterdir())

"""The same in OpenVINO's own format, and OpenVINO on the ONNX file."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cameras import resized
from skpadim.export import to_onnx, to_openvino
from skpadim.export.precision import at_precision

openvino = pytest.importorskip("openvino", reason="the extra export is not installed")
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


@pytest.fixture(scope="module")
def xml(fitted, tmp_path_factory):
    return to_openvino(fitted, tmp_path_factory.mktemp("openvino") / "line3.xml")


@pytest.mark.parametrize("size", [(80, 80), (60, 110), (200, 160)])
def test_all_outputs_are_the_detector_s_from_the_first_run(xml, file, fitted, good, size):
    photos = resized(good.X_test, size)
    expected = fitted.inspect(photos, maps=True)
    for path in (xml, file):
        compiled = openvino.Core().compile_model(path, "CPU", EXACT)
        found = compiled({"photos": photos})
        # Its sums of pixels are rounded to the other side more often than onnxruntime's.
        np.testing.assert_allclose(found["score"], expected.scores, rtol=1e-5 if size == (80, 80) else 5e-3)
        np.testing.assert_allclose(found["p_value"], expected.p_values, atol=1.01 / 31)
        assert np.array_equal(found["is_anomaly"], found["score"] > -fitted.offset_)
        assert found["anomaly_map"].shape == (len(photos), 64, 64)
        assert np.array_equal(found["mask"], found["anomaly_map"] > np.float32(-fitted.offset_))


def test_the_model_says_what_it_is(xml, fitted):
    model = openvino.Core().read_model(xml)
    assert float(model.get_rt_info(["skpadim", "threshold"]).astype(str)) == -fitted.offset_
    assert sorted(path.suffix for path in xml.parent.iterdir()) == [".bin", ".xml"]


def test_another_ending_is_refused(fitted, tmp_path):
    with pytest.raises(ValueError, match=r"must end in '\.xml'"):
        to_openvino(fitted, tmp_path / "line3.onnx")
    with pytest.raises(ValueError, match="no folder"):
        to_openvino(fitted, tmp_path / "none" / "line3.xml")


def test_large_weights(fitted, good, xml, tmp_path, monkeypatch):
    """They come by way of an ONNX file whose weights lie beside it; OpenVINO reads such a file as well."""
    monkeypatch.setattr("skpadim.export.onnx_file.MOST_BYTES_OF_WEIGHTS", 1000)
    path = to_openvino(fitted, tmp_path / "large.xml")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["large.bin", "large.xml"]
    to_onnx(fitted, tmp_path / "large.onnx")
    photos = resized(good.X_test, (80, 80))
    found = [
        openvino.Core().compile_model(each, "CPU", EXACT)({"photos": photos})["score"]
        for each in (xml, path, tmp_path / "large.onnx")
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-6)


def test_eight_bits_are_calibrated_in_openvino(fitted, good, tmp_path):
    """It rounds in another way than onnxruntime, in which scores would be other ones by per cents."""
    path = to_openvino(fitted, tmp_path / "bytes.xml", precision="int8", photos=good.X_train)
    said = openvino.Core().read_model(path).get_rt_info(["skpadim", "loo_scores"]).astype(str)
    compiled = openvino.Core().compile_model(path, "CPU", EXACT)
    photos = resized(good.X_train, (80, 80))
    found = compiled({"photos": photos})["score"]
    there, _ = at_precision(fitted, "int8", good.X_train, engine="openvino")
    np.testing.assert_allclose(found, -there.score_samples(photos), rtol=1e-5)
    np.testing.assert_allclose(json.loads(said), np.sort(there.loo_scores_), rtol=1e-5)
    elsewhere, _ = at_precision(fitted, "int8", good.X_train)
    assert np.abs(found / -elsewhere.score_samples(photos) - 1).max() > 1e-3


def test_what_is_not_written_leaves_nothing(fitted, tmp_path, monkeypatch):
    (tmp_path / "line3.bin").mkdir()
    with pytest.raises(ValueError, match=r"line3\.bin' cannot be written: it is a folder"):
        to_openvino(fitted, tmp_path / "line3.xml")
    monkeypatch.setattr("skpadim.export.verification.TOLERANCE", -1)  # They may be the same.
    with pytest.raises(ValueError, match="scores differ by"):
        to_openvino(fitted, tmp_path / "other.xml")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ValueError, match=r"line3\.xml' cannot be written: the folder .* is read-only"):
        to_openvino(fitted, tmp_path / "line3.xml")
    assert [each.name for each in tmp_path.iterdir()] == ["line3.bin"]

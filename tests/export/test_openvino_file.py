"""The same in OpenVINO's own format, and OpenVINO on the ONNX file."""

from __future__ import annotations

import numpy as np
import pytest

from cameras import resized
from skpadim.export import to_openvino

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

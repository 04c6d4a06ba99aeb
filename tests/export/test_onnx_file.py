"""One file that decides, beside the detector that it was made of."""

from __future__ import annotations

import copy
import json

import numpy as np
import onnx
import onnxruntime
import pytest

from cameras import resized
from skpadim.export import read_metadata, to_onnx
from small import small


def assert_same(found, expected, rtol):
    """Compare the outputs of a file with what a detector says."""
    np.testing.assert_allclose(found["score"], expected.scores, rtol=rtol)
    maps, masks = (np.stack([getattr(one, what) for one in expected]) for what in ("map", "mask"))
    np.testing.assert_allclose(found["anomaly_map"], maps, rtol=rtol, atol=rtol * maps.max())
    assert (found["mask"] != masks).mean() <= 10 * rtol
    clear = np.abs(expected.scores / expected[0].threshold - 1) > rtol
    assert np.array_equal(found["is_anomaly"][clear], expected.labels[clear] == -1)
    # A score that is equal to a leave-one-out score, but for rounding, may count to either side.
    np.testing.assert_allclose(found["p_value"], expected.p_values, atol=1.01 / 31)


def test_all_outputs_are_the_detector_s(run, fitted, good):
    photos = resized(good.X_test, (80, 80))
    found = run(photos)
    assert list(found) == ["score", "is_anomaly", "p_value", "anomaly_map", "mask"]
    expected = fitted.inspect(photos, maps=True, masks=True)
    assert_same(found, expected, 1e-5)
    assert 0 < found["is_anomaly"].sum() < len(photos)


@pytest.mark.parametrize("size", [(64, 64), (60, 110), (200, 160)])
def test_photos_of_any_size(run, fitted, good, size):
    photos = resized(good.X_test, size)
    assert_same(run(photos), fitted.inspect(photos, maps=True, masks=True), 1e-4)


def test_a_photo_alone_and_in_a_batch(run, good):
    together = run(good.X_test)
    for place, photo in enumerate(good.X_test):
        np.testing.assert_allclose(run(photo[None])["score"], together["score"][place], rtol=1e-5)


def test_the_file_says_what_it_is(file, fitted):
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    said = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert said["skpadim.threshold"] == -fitted.offset_
    assert said["skpadim.false_alarm_rate"] == fitted.false_alarm_rate
    assert said["skpadim.loo_scores"] == sorted(fitted.loo_scores_)
    assert said["skpadim.layers"] == ["layer1", "layer2", "layer3"]
    assert said["skpadim.resized_size"] == [80, 80] and said["skpadim.input_size"] == [64, 64]
    assert said["skpadim.n_learned"] == 30
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert np.array_equal(values["loo_scores"], np.sort(fitted.loo_scores_))
    assert abs(values["threshold"] + fitted.offset_) <= 1e-6 * -fitted.offset_
    assert (model.ir_version, model.opset_import[0].version) == (10, 18)
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_shared_blocks_are_stored_once(file, fitted):
    """A matrix for each patch, as others keep it, would take four times as much."""
    n_patches, n_channels = 16 * 16, len(fitted.channel_indices_)
    stored = sum(
        np.prod(tensor.dims)
        for tensor in onnx.load(file).graph.initializer
        if tensor.name.endswith(".whitening")
    )
    assert stored == sum(part.size for part in fitted.pipeline_[-1].whitening_)
    assert stored < n_patches * n_channels**2 / 2


def test_a_coarser_grid_is_averaged_in_the_file(good, tmp_path):
    detector = small(layers=("layer1", "layer2", "layer3"), patch_stride=8).fit(good.X_train)
    session = onnxruntime.InferenceSession(to_onnx(detector, tmp_path / "coarse.onnx"))
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"photos": good.X_test}), strict=True))
    assert_same(found, detector.inspect(good.X_test, maps=True, masks=True), 1e-5)


def test_one_camera_s_size_is_baked_in(fitted, good, tmp_path):
    file = to_onnx(fitted, tmp_path / "camera.onnx", photo_size=(60, 110))
    session = onnxruntime.InferenceSession(file)
    assert session.get_inputs()[0].shape[1:] == [60, 110, 3]
    photos = resized(good.X_test, (60, 110))
    found = dict(
        zip([o.name for o in session.get_outputs()], session.run(None, {"photos": photos}), strict=True)
    )
    assert_same(found, fitted.inspect(photos, maps=True, masks=True), 1e-4)


def test_ignored_pixels_count_for_nothing(good, tmp_path):
    ignore = np.zeros((64, 64), dtype=bool)
    ignore[:20, 30:] = True
    detector = small(ignore=ignore).fit(good.X_train)
    session = onnxruntime.InferenceSession(to_onnx(detector, tmp_path / "ignore.onnx"))
    found = session.run(["score", "anomaly_map"], {"photos": good.X_test})
    expected = detector.inspect(good.X_test, maps=True)
    np.testing.assert_allclose(found[0], expected.scores, rtol=1e-5)
    assert (found[1][:, ignore] == 0).all()


def test_what_differs_is_not_written(fitted, tmp_path, monkeypatch):
    path = tmp_path / "line3.onnx"
    path.write_bytes(b"the file before")
    monkeypatch.setattr("skpadim.export.verification.TOLERANCE", 1e-12)
    with pytest.raises(ValueError, match="scores differ by"):
        to_onnx(fitted, path)
    assert path.read_bytes() == b"the file before"
    assert list(tmp_path.iterdir()) == [path]


def test_without_leave_one_out_scores_there_is_no_p_value(fitted, good, tmp_path):
    """As of a detector that was learned elsewhere."""
    other = copy.deepcopy(fitted)
    other.pipeline_[-1].loo_scores_ = np.empty(0)
    other.pipeline_[-1].offset_ = np.nan
    with pytest.raises(ValueError, match="set_threshold first"):
        to_onnx(other, tmp_path / "line3.onnx")
    other.set_threshold(5.0)
    session = onnxruntime.InferenceSession(to_onnx(other, tmp_path / "line3.onnx"))
    score, is_anomaly, p_value = session.run(["score", "is_anomaly", "p_value"], {"photos": good.X_test})
    assert np.isnan(p_value).all()
    assert np.array_equal(is_anomaly, score > 5)


def test_bad_parameters(fitted, tmp_path):
    with pytest.raises(ValueError, match="photo_size"):
        to_onnx(fitted, tmp_path / "x.onnx", photo_size=(0, 5))
    with pytest.raises(ValueError, match="precision='float64'"):
        to_onnx(fitted, tmp_path / "x.onnx", precision="float64")
    with pytest.raises(ValueError, match="good photos of the fit"):
        to_onnx(fitted, tmp_path / "x.onnx", precision="int8")
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        to_onnx(small(), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_large_weights_lie_in_a_second_file(fitted, good, run, tmp_path, monkeypatch):
    monkeypatch.setattr("skpadim.export.onnx_file.MOST_BYTES_OF_WEIGHTS", 1000)
    path = tmp_path / "large.onnx"
    (tmp_path / "large.onnx.data").write_bytes(b"of the file before")
    for _ in range(2):  # Written over, too.
        assert to_onnx(fitted, path) == path
        assert sorted(each.name for each in tmp_path.iterdir()) == ["large.onnx", "large.onnx.data"]
    assert path.stat().st_size < (tmp_path / "large.onnx.data").stat().st_size / 4
    scores = onnxruntime.InferenceSession(path).run(["score"], {"photos": good.X_test})[0]
    assert np.array_equal(scores, run(good.X_test)["score"])
    assert read_metadata(path)["threshold"] == -fitted.offset_


def test_large_weights_that_differ_are_not_written(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("skpadim.export.onnx_file.MOST_BYTES_OF_WEIGHTS", 1000)
    monkeypatch.setattr("skpadim.export.verification.TOLERANCE", 1e-12)
    with pytest.raises(ValueError, match="scores differ by"):
        to_onnx(fitted, tmp_path / "large.onnx")
    assert not list(tmp_path.iterdir())


def test_large_weights_without_a_place_leave_nothing(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("skpadim.export.onnx_file.MOST_BYTES_OF_WEIGHTS", 1000)
    place = tmp_path / "large.onnx.data"
    place.mkdir()
    with pytest.raises(ValueError, match=r"large\.onnx\.data' cannot be written: it is a folder"):
        to_onnx(fitted, tmp_path / "large.onnx")
    assert list(tmp_path.iterdir()) == [place]


def test_folders_that_cannot_be_written_to_are_told_at_once(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("skpadim.export.onnx_file.build_model", None)  # Nothing is computed before.
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match=r"there is no folder '.*file'"):
        to_onnx(fitted, tmp_path / "file" / "line3.onnx")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ValueError, match=r"line3\.onnx' cannot be written: the folder .* is read-only"):
        to_onnx(fitted, tmp_path / "line3.onnx")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]

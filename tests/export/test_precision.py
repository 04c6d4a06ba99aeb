"""Half precision and eight bits: what is written is what was calibrated."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from skpadim.export import read_metadata, to_onnx
from skpadim.export.precision import at_precision


@pytest.fixture(scope="module", params=["float16", "int8"])
def precision(request):
    return request.param


@pytest.fixture(scope="module")
def written(fitted, good, precision, tmp_path_factory):
    path = tmp_path_factory.mktemp("precision") / f"{precision}.onnx"
    return to_onnx(fitted, path, precision=precision, photos=good.X_train)


def test_a_file_belongs_to_its_own_threshold(written, precision, fitted, good):
    other, _ = at_precision(fitted, precision, good.X_train)
    said = read_metadata(written)
    assert said["precision"] == precision
    assert said["threshold"] == -other.offset_ == np.sort(other.loo_scores_)[-1]  # 31 * 0.05 is 1
    session = onnxruntime.InferenceSession(written)
    found = session.run(["score", "p_value"], {"photos": good.X_test})
    np.testing.assert_allclose(found[0], -other.score_samples(good.X_test), rtol=2e-3)
    moved = np.abs(found[0] / -fitted.score_samples(good.X_test) - 1).max()
    assert 0 < moved < {"float16": 5e-3, "int8": 0.5}[precision]


def test_leave_one_out_scores_are_those_of_the_rounded_network(precision, fitted, good):
    """By refits that really leave a photo out."""
    other, _ = at_precision(fitted, precision, good.X_train)
    features, channels, gaussian = other.pipeline_.named_steps.values()
    kept = channels.by_layer([shape[0] for shape in features.level_shapes_])
    levels = [
        np.concatenate([np.asarray(b[i]) for b in features.levels(good.X_train, kept)]) for i in range(3)
    ]
    import torch
    from sklearn.base import clone

    for left_out in (0, 17):
        rest = [np.delete(level, left_out, axis=0) for level in levels]
        single = [torch.from_numpy(level[[left_out]]) for level in levels]
        refit = clone(gaussian).set_params(epsilon=gaussian.epsilon_)
        refit.fit_stream([[torch.from_numpy(level) for level in rest]], features.input_size_)
        expected = float(refit.image_scores(refit.distances(single)))
        assert other.loo_scores_[left_out] == pytest.approx(expected, rel=2e-3)


def test_sizes(written, precision, file):
    share = written.stat().st_size / file.stat().st_size
    assert share < {"float16": 0.55, "int8": 0.75}[precision]
    kinds = {
        tensor.data_type for tensor in onnx.load(written).graph.initializer if np.prod(tensor.dims) > 5000
    }
    expected = {"float16": onnx.TensorProto.FLOAT16, "int8": onnx.TensorProto.INT8}[precision]
    assert expected in kinds


def test_a_threshold_of_one_s_own_is_kept(fitted, good):
    import copy

    own = copy.copy(fitted).set_threshold(7.5)
    other, _ = at_precision(own, "float16", good.X_train)
    assert other.offset_ == -7.5


def test_values_too_large_for_half_precision_are_refused():
    from onnx import numpy_helper

    from skpadim.export.precision import halved

    with pytest.raises(ValueError, match="cannot hold weight, whose values reach 1e\\+05"):
        halved(numpy_helper.from_array(np.full(5, 1e5, np.float32), "weight"))

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


@pytest.mark.filterwarnings("ignore")  # of few photos
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_other_photos_than_those_of_the_fit_are_refused(precision, fitted, good, tmp_path):
    with pytest.raises(ValueError, match="12 could be read, and the detector has learned 30"):
        to_onnx(fitted, tmp_path / "other.onnx", precision=precision, photos=good.X_test)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore")  # of the photo that is passed over, again and again
def test_photos_that_the_fit_passed_over(precision, good, tmp_path):
    from PIL import Image

    from small import small

    paths = [tmp_path / f"{number}.png" for number in range(12)]
    for path, photo in zip(paths, good.X_train, strict=False):
        Image.fromarray(photo).save(path)
    paths[3].write_bytes(b"no photo")
    detector = small(on_error="skip").fit(paths)
    file = to_onnx(detector, tmp_path / "line3.onnx", precision=precision, photos=paths)
    assert read_metadata(file)["n_learned"] == 11


def test_eight_bits_where_steps_are_whole_pixels(tmp_path):
    """A pixel's normalised value may lie at half a step, where its last bit decides."""
    from skpadim import PaDiMDetector
    from skpadim.datasets import make_inspection_images

    drawn = make_inspection_images(30, 4, 4, image_size=64)
    detector = PaDiMDetector(image_size=64, device="cpu").fit(drawn.X_train)
    other, _ = at_precision(detector, "int8", drawn.X_train)
    file = to_onnx(detector, tmp_path / "int8.onnx", precision="int8", photos=drawn.X_train)
    (found,) = onnxruntime.InferenceSession(file).run(["score"], {"photos": drawn.X_test})
    np.testing.assert_allclose(found, -other.score_samples(drawn.X_test), rtol=1e-4)

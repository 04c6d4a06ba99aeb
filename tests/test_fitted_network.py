"""The network of a fitted transformer, kept, copied and run elsewhere."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from small import small


@pytest.fixture
def features(detector):
    return detector.pipeline_[0]


def test_a_copy_of_the_network_computes_the_same_and_is_nobody_else_s(features):
    copied, pixels = (
        features.trunk_copy(),
        torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)),
    )
    with torch.no_grad():
        expected = features._fitted_extractor().trunk(pixels)
        for layer, output in copied(pixels).items():
            np.testing.assert_allclose(output, expected[layer], rtol=1e-4, atol=1e-5)
        for weights in copied.parameters():
            weights.zero_()
        again = features._fitted_extractor().trunk(pixels)
    assert all(torch.equal(again[layer], expected[layer]) for layer in expected)


def test_a_file_builds_its_network_where_it_is_needed(features, photos):
    loaded = pickle.loads(pickle.dumps(features))
    assert not hasattr(loaded, "_extractor")
    expected = features.transform(photos.X_test[:3])
    for found, level in zip(loaded.transform(photos.X_test[:3]).levels, expected.levels, strict=True):
        assert np.array_equal(found, level)


def test_run_elsewhere_leaves_the_estimator_as_it_is(photos):
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    pytest.importorskip("onnxscript", reason="the extra export is not installed")
    from skpadim.network.onnx_trunk import write_trunk

    features = small().fit(photos.X_train).pipeline_[0]
    before = features.get_params()
    model = write_trunk(features.trunk_copy(), features.layer_names_, features.input_size_)
    other = features.run_elsewhere("onnxruntime", model)
    assert features.get_params() == before and features.trunk_onnx_ is None
    assert (other.engine, other.memory) == ("onnxruntime", None)
    for found, level in zip(
        other.transform(photos.X_test).levels, features.transform(photos.X_test).levels, strict=True
    ):
        np.testing.assert_allclose(found, level, rtol=1e-4, atol=1e-5)

"""The same features from other engines than torch."""

from __future__ import annotations

import io
from importlib.util import find_spec

import joblib
import numpy as np
import pytest
import torch

from skpadim.network.engines import check_engine
from small import small

pytest.importorskip("onnxscript", reason="the extra export is not installed")
ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for name in ("onnxruntime", "openvino")
]


@pytest.mark.parametrize("engine", ENGINES)
def test_fits_and_scores_are_those_of_torch(engine, photos):
    by_torch = small().fit(photos.X_train)
    elsewhere = small(engine=engine, batch_size=7).fit(photos.X_train)
    np.testing.assert_allclose(elsewhere.loo_scores_, by_torch.loo_scores_, rtol=1e-5)
    np.testing.assert_allclose(
        elsewhere.score_samples(photos.X_test), by_torch.score_samples(photos.X_test), rtol=1e-5
    )
    assert elsewhere.offset_ == pytest.approx(by_torch.offset_, rel=1e-5)
    file = io.BytesIO()
    joblib.dump(elsewhere, file)
    file.seek(0)
    loaded = joblib.load(file)
    assert loaded.pipeline_[0]._fitted_extractor().run is not None
    assert np.array_equal(loaded.score_samples(photos.X_test), elsewhere.score_samples(photos.X_test))


def test_a_module_runs_elsewhere_too(photos):
    with torch.random.fork_rng():
        module = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.ReLU(inplace=True), torch.nn.Conv2d(8, 8, 3, 2, 1)
        )
    params = {"backbone": module, "layers": ("0", "2"), "n_channels": None, "weights": "DEFAULT"}
    by_torch = small(**params).fit(photos.X_train)
    elsewhere = small(**params, engine="onnxruntime").fit(photos.X_train)
    np.testing.assert_allclose(
        elsewhere.score_samples(photos.X_test), by_torch.score_samples(photos.X_test), rtol=1e-5
    )


def test_features_of_engines_are_kept_apart(photos, tmp_path):
    fitted = [small(engine=e, memory=tmp_path).fit(photos.X_train) for e in ("torch", "onnxruntime")]
    sources = [detector.pipeline_[0]._store()._source for detector in fitted]
    assert sources[0] != sources[1]


def test_what_an_engine_cannot_do_is_refused():
    with pytest.raises(ValueError, match="device='cpu'"):
        check_engine("onnxruntime", torch.device("cuda"), None)
    with pytest.raises(ValueError, match="precision is 'bfloat16'"):
        check_engine("openvino", torch.device("cpu"), "bfloat16")
    check_engine("torch", torch.device("cuda"), "bfloat16")


def test_a_gpu_that_is_asked_for_is_refused_without_one_too(photos, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:1", torch.device("cuda")):
        with pytest.raises(ValueError, match="runs on a processor, and device is 'cuda"):
            small(device=device, engine="onnxruntime").fit(photos.X_train)
    check_engine("onnxruntime", None, None)


def test_an_engine_that_is_not_installed_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ImportError, match=r"engine='openvino' needs openvino: .*skpadim\[export\]"):
        check_engine("openvino", torch.device("cpu"), None)


def test_the_threads_of_onnxruntime_sleep_while_others_work(photos, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    seen = []

    class Session(onnxruntime.InferenceSession):
        def __init__(self, model, options, **how):
            seen.append(options.get_session_config_entry("session.intra_op.allow_spinning"))
            super().__init__(model, options, **how)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    small(engine="onnxruntime", random_state=17).fit(photos.X_train)  # of no network that is at work already
    assert seen == ["0"]

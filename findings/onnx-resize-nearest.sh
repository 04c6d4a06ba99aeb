#!/usr/bin/env bash
# Versions: onnxruntime 1.32.0, OpenVINO 2026.4.1, onnx 1.23.2, NumPy 2.4.6.
# Behaviour: Resize with mode "nearest", "asymmetric" and "floor" (what torch's "nearest" is exported as)
# takes the wrong neighbour at some places, in onnxruntime and in OpenVINO alike: both compute places with a
# ratio rounded to float32. onnx's own reference evaluator is right.
# Most would expect: pixel i of the result to be pixel floor(i * old / new), exactly.
# Seen: from 224 to 256 pixels 19 are wrong, from 56 to 64 4, from 28 to 32 2; from 54 to 64, 27 to 32 and
# 13 to 16 none.
# Source: this script; the Resize operator of the ONNX specification.
set -euo pipefail

packages=(onnxruntime==1.32.0 openvino==2026.4.1 onnx==1.23.2 numpy==2.4.6)
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
import openvino
from onnx import TensorProto, checker, helper
from onnx.reference import ReferenceEvaluator


def resize(old, new):
    node = helper.make_node(
        "Resize",
        ["x", "", "", "size"],
        ["y"],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, old])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, new])
    size = helper.make_tensor("size", TensorProto.INT64, [4], [1, 1, 1, new])
    graph = helper.make_graph([node], "resize", [x], [y], [size])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    checker.check_model(model)
    return model


core, seen = openvino.Core(), {}
for old, new in ((224, 256), (56, 64), (28, 32), (54, 64), (27, 32), (13, 16)):
    model = resize(old, new)
    content, places = model.SerializeToString(), np.arange(old, dtype=np.float32).reshape(1, 1, 1, old)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    results = (
        session.run(None, {"x": places})[0],
        core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([places])[0],
        ReferenceEvaluator(model).run(None, {"x": places})[0],
    )
    expected = np.arange(new) * old // new
    seen[old, new] = tuple(int((result.ravel() != expected).sum()) for result in results)
    print(old, "to", new, "wrong in onnxruntime {}, OpenVINO {}, onnx's reference {}".format(*seen[old, new]))
if list(seen.values()) != [(19, 19, 0), (4, 4, 0), (2, 2, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)]:
    sys.exit("This has changed.")
EOF

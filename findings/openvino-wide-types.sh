#!/usr/bin/env bash
# Versions: OpenVINO 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, NumPy 2.4.6.
# Behaviour: OpenVINO's CPU computes graphs of float64 in float32 and graphs of int64 in int32, without a word, and
# hands the results out as float64 and int64.
# Most would expect: the types of the graph, as the inputs and outputs of the compiled model have them, or an error.
# Seen: 1 + 1e-9 - 1 is 0.0 as float64; 2**31 + 1 is -2147483647, 2**40 + 1 is 1 as int64. onnxruntime has 1e-9,
# 2147483649 and 1099511627777.
# Source: this script.
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
from onnx import TensorProto, checker, helper, numpy_helper


def run(kind, nodes, x, **constants):
    """Return what both engines make of a chain of operators from x to y."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, ["n"])],
        [helper.make_tensor_value_info("y", kind, ["n"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(made, full_check=True)
    content, core = made.SerializeToString(), openvino.Core()
    compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result = compiled({"x": x})[0]
    reference = onnxruntime.InferenceSession(content).run(None, {"x": x})[0]
    print(f"OpenVINO {result.dtype} {result.tolist()}, onnxruntime {reference.dtype} {reference.tolist()}")
    return result.tolist(), reference.tolist()


node = helper.make_node
wide = run(
    TensorProto.DOUBLE,
    [node("Add", ["x", "little"], ["sum"]), node("Sub", ["sum", "x"], ["y"])],
    np.array([1.0, 3.0]),
    little=np.array(1e-9),
)
long = run(
    TensorProto.INT64, [node("Add", ["x", "one"], ["y"])], np.array([2**31, 2**40]), one=np.array(1)
)
if wide[0] != [0.0, 0.0] or not np.allclose(wide[1], 1e-9, rtol=1e-6):
    sys.exit("float64: this has changed.")
if long != ([-2147483647, 1], [2147483649, 1099511627777]):
    sys.exit("int64: this has changed.")
EOF

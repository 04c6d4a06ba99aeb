#!/usr/bin/env bash
# Versions: OpenVINO 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, NumPy 2.4.6.
# Behaviour: a conversion of values to float16 and back, by which a graph rounds them on purpose, is removed by
# OpenVINO: values pass unrounded.
# Most would expect: 70000, which is beyond float16, to become infinite and 0.1 to be rounded, as in onnxruntime.
# Seen: 70000 stays 70000 and 0.1 stays 0.1; onnxruntime has infinity and 0.0999756.
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


seen = run(
    TensorProto.FLOAT,
    [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], ["y"], to=TensorProto.FLOAT),
    ],
    np.float32([70000, 0.1]),
)
if seen != ([70000.0, float(np.float32(0.1))], [float("inf"), float(np.float16(0.1))]):
    sys.exit("This has changed.")
EOF

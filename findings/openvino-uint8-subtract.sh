#!/usr/bin/env bash
# Versions: OpenVINO 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, NumPy 2.4.6.
# Behaviour: a difference of bytes below 0 ends at 0 in OpenVINO and wraps around in onnxruntime and NumPy.
# Most would expect: one result, as bytes have no precision to lose.
# Seen: 0 - 2 and 1 - 2 are 0 and 0 in OpenVINO, 254 and 255 in onnxruntime.
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
    TensorProto.UINT8, [helper.make_node("Sub", ["x", "two"], ["y"])], np.uint8([0, 1, 5]), two=np.uint8(2)
)
if seen != ([0, 0, 3], [254, 255, 3]):
    sys.exit("This has changed.")
EOF

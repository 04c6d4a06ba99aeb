#!/usr/bin/env bash
# Versions: onnxruntime 1.32.0, OpenVINO 2026.4.1, onnx 1.23.2, NumPy 2.4.6.
# Behaviour: a linear Resize of bytes is cut off after the point in onnxruntime and rounded in OpenVINO. In
# the first every photo gets darker by half a step of 255 in the mean, which a Cast to float before the
# Resize avoids.
# Most would expect: both to round.
# Seen: 96 to 128 px against the same Resize in float32: onnxruntime -0.49 in the mean, each pixel the
# floor; OpenVINO 0.00 in the mean, each pixel within 0.5.
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
from onnx import TensorProto, checker, helper


def resize(kind):
    node = helper.make_node("Resize", ["x", "", "", "size"], ["y"], mode="linear")
    x = helper.make_tensor_value_info("x", kind, [1, 1, 96, 96])
    y = helper.make_tensor_value_info("y", kind, [1, 1, 128, 128])
    size = helper.make_tensor("size", TensorProto.INT64, [4], [1, 1, 128, 128])
    graph = helper.make_graph([node], "resize", [x], [y], [size])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    checker.check_model(model)
    return model.SerializeToString()


def with_onnxruntime(model, x):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def with_openvino(model, x):
    core = openvino.Core()
    return core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([x])[0]


photo = np.random.default_rng(0).integers(0, 256, (1, 1, 96, 96), dtype=np.uint8)
exact = with_onnxruntime(resize(TensorProto.FLOAT), photo.astype(np.float32))
cut, rounded = (run(resize(TensorProto.UINT8), photo) - exact for run in (with_onnxruntime, with_openvino))
for name, off in (("onnxruntime", cut), ("OpenVINO", rounded)):
    print(f"{name}: {off.mean():.3f} in the mean, {off.min():.3f} to {off.max():.3f}")
if cut.max() > 0.001 or cut.mean() > -0.4 or np.abs(rounded).max() > 0.501:
    sys.exit("This has changed.")
EOF

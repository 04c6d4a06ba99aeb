#!/usr/bin/env bash
# Versions: OpenVINO 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, NumPy 2.4.6, on x86-64 with AVX-512 (other
# processors have other kernels).
# Behaviour: on a CPU OpenVINO turns NaN into ordinary numbers: Relu, Clip and Max with 0 give 0; ReduceMax
# leaves NaN out, and of nothing but NaN gives the lowest float32; Greater calls NaN larger than 1. IsNaN,
# Abs and Sigmoid keep it. onnxruntime keeps NaN in Relu, Clip and Max, and calls it not larger.
# Most would expect: NaN to stay NaN, and each comparison with it to be false, as IEEE 754 has it.
# Seen: Relu 0, Clip 0, Max 0, NaN > 1 true; ReduceMax 3 for 256 times [1, NaN, 3, 2], -3.4e38 for 1024 NaN.
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

FLOAT, BOOL = TensorProto.FLOAT, TensorProto.BOOL


def model(operator, shape, result_shape, result=FLOAT, constants=(), **attributes):
    names = [constant.name for constant in constants]
    node = helper.make_node(operator, ["x", *names], ["y"], **attributes)
    x = helper.make_tensor_value_info("x", FLOAT, shape)
    y = helper.make_tensor_value_info("y", result, result_shape)
    graph = helper.make_graph([node], "graph", [x], [y], list(constants))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    checker.check_model(made)
    return made.SerializeToString()


def constant(name, kind, shape, values):
    return helper.make_tensor(name, kind, shape, values)


x = np.array([[1, np.nan, 3, 2]], np.float32)
low, high = constant("low", FLOAT, [], [0.0]), constant("high", FLOAT, [], [9.0])
zero, one = constant("zero", FLOAT, [1], [0.0]), constant("one", FLOAT, [1], [1.0])
axes = constant("axes", TensorProto.INT64, [1], [1])
same = ([1, 4], [1, 4])
cases = {
    "Relu": (model("Relu", *same), x),
    "Clip": (model("Clip", *same, constants=[low, high]), x),
    "Max": (model("Max", *same, constants=[zero]), x),
    "Greater": (model("Greater", *same, result=BOOL, constants=[one]), x),
    "Abs": (model("Abs", *same), x),
    "IsNaN": (model("IsNaN", *same, result=BOOL), x),
    "ReduceMax": (model("ReduceMax", [1, 1024], [1, 1], constants=[axes]), np.tile(x, 256)),
    "ReduceMax of NaN alone": (
        model("ReduceMax", [1, 1024], [1, 1], constants=[axes]),
        np.full((1, 1024), np.nan, np.float32),
    ),
}
core, seen = openvino.Core(), {}
for name, (content, values) in cases.items():
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    results = (
        core.compile_model(core.read_model(content), "CPU", settings)([values])[0],
        onnxruntime.InferenceSession(content).run(None, {"x": values})[0],
    )
    place = 1 if results[0].size > 1 else 0
    seen[name] = tuple(str(float(result[0, place])) for result in results)
    print(f"{name}: OpenVINO {seen[name][0]}, onnxruntime {seen[name][1]}")
expected = {
    "Relu": ("0.0", "nan"),
    "Clip": ("0.0", "nan"),
    "Max": ("0.0", "nan"),
    "Greater": ("1.0", "0.0"),
    "Abs": ("nan", "nan"),
    "IsNaN": ("1.0", "1.0"),
    "ReduceMax": ("3.0", "3.0"),
    "ReduceMax of NaN alone": (str(float(np.finfo(np.float32).min)), "nan"),
}
if seen != expected:
    sys.exit("This has changed.")
EOF

"""Maps and decisions in a graph: see also the whole file in test_onnx_file.py."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from skpadim.export.builder import IR_VERSION, GraphBuilder
from skpadim.export.decision import add_decisions
from skpadim.network.onnx_trunk import OPSET


@pytest.mark.parametrize("threshold", [3.0, 0.1 + 0.2, 2.9999999])
def test_decisions_are_those_of_plain_comparisons(threshold):
    maps = np.float32([[[0, 1], [2, 3]], [[0, 0], [0, 0.1]], [[9, 1], [3, 2]], [[0.3, 0], [0, 0]]])
    loo = np.array([0.5, 1, 2, 3, 3, 8])
    graph = GraphBuilder()
    add_decisions(graph, "maps", threshold, loo)
    kind = helper.make_tensor_value_info
    outputs = {"score": "FLOAT", "is_anomaly": "BOOL", "p_value": "FLOAT", "mask": "BOOL"}
    made = helper.make_graph(
        graph.nodes,
        "test",
        [kind("maps", TensorProto.FLOAT, ["n", 2, 2])],
        [kind(name, getattr(TensorProto, of), None) for name, of in outputs.items()],
        list(graph.initializers.values()),
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    score, is_anomaly, p_value, mask = session.run(list(outputs), {"maps": maps})
    scores = maps.max(axis=(1, 2)).astype(np.float64)
    assert np.array_equal(score, scores)
    assert np.array_equal(is_anomaly, scores > threshold)
    assert np.array_equal(mask, maps.astype(np.float64) > threshold)
    np.testing.assert_allclose(p_value, [(1 + (loo >= s).sum()) / 7 for s in scores], rtol=1e-6)

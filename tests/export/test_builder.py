"""Graphs of ONNX, put together by hand and run."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from skpadim.export.builder import IR_VERSION, GraphBuilder, float32_at_most
from skpadim.network.onnx_trunk import OPSET


def run(graph, output, x):
    kind = helper.make_tensor_value_info
    made = helper.make_graph(
        graph.nodes,
        "test",
        [kind("x", TensorProto.FLOAT, x.shape)],
        [kind(output, TensorProto.FLOAT, x.shape)],
        list(graph.initializers.values()),
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0], made


def test_operations_and_constants():
    graph = GraphBuilder()
    product = graph.op("MatMul", "x", graph.constant([[1, 2], [3, 4]], np.float32))
    result = graph.op("Add", product, graph.constant(1, np.float32), name="result")
    assert result == "result"
    x = np.array([[1, 1]], dtype=np.float32)
    assert run(graph, result, x)[0].tolist() == [[5, 7]]


def test_a_graph_in_a_graph_keeps_its_names_apart():
    inner = GraphBuilder()
    inner.op("Mul", "x", inner.constant(3, np.float32, name="three"), name="y")
    _, made = run(inner, "y", np.ones(1, np.float32))
    outer = GraphBuilder()
    outer.constant(5, np.float32, name="three")
    (once,) = outer.include(made, ["x"], "a.")
    (twice,) = outer.include(made, [once], "b.")
    assert run(outer, twice, np.full(1, 2, np.float32))[0].tolist() == [18]


@pytest.mark.parametrize("value", [0.1, 1 / 3, 2.5, 1e-30, 123456.789])
def test_a_limit_of_float32_says_the_same(value):
    limit = float32_at_most(value)
    assert limit.dtype == np.float32
    near = np.float32(value) * (1 + np.arange(-4, 5, dtype=np.float32) * np.finfo(np.float32).eps)
    assert ((near > limit) == (near.astype(np.float64) > value)).all()


def test_initialisers_are_put_into_a_graph_whole():
    builder = GraphBuilder()
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(3), "c": np.empty((0, 2))}
    for name, array in arrays.items():
        builder.constant(array, name=name)
    builder.initializers["d"] = onnx.helper.make_tensor("d", onnx.TensorProto.INT8, [2], [1, -2])  # not raw
    graph = onnx.GraphProto()
    builder.put_initializers(graph)
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for name, array in (arrays | {"d": np.array([1, -2], dtype=np.int8)}).items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array) and found[name].shape == array.shape

"""A graph of ONNX in the making: operations that are called, and arrays that become initialisers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

#: The format of the files.
IR_VERSION = 10


class GraphBuilder:
    """Collects the nodes and initialisers of a graph; values are known by their names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._n_names = 0

    def constant(self, value: Any, dtype: Any = None, name: str | None = None) -> str:
        """Add an array as an initialiser, and return its name."""
        array = np.asarray(value, dtype=dtype)
        name = name or self._new_name("constant")
        self.initializers[name] = numpy_helper.from_array(
            np.ascontiguousarray(array).reshape(array.shape), name
        )
        return name

    def op(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add an operation of one output, and return the name of it."""
        output = name or self._new_name(kind)
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def cast(self, value: str, to: int, name: str | None = None) -> str:
        """Add a conversion to a type of ``onnx.TensorProto``."""
        return self.op("Cast", value, to=to, name=name)

    def ints(self, *values: int) -> str:
        """Add a vector of int64, as shapes and axes are."""
        return self.constant(values, np.int64)

    def include(self, graph: onnx.GraphProto, inputs: Sequence[str], prefix: str) -> list[str]:
        """Add all of another graph, fed by values of this one, and return the names of its outputs."""
        names = dict(zip((value.name for value in graph.input), inputs, strict=True))

        def renamed(name: str) -> str:
            return names.get(name, f"{prefix}{name}") if name else name

        for tensor in graph.initializer:
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = renamed(tensor.name)
            self.initializers[copy.name] = copy
        for node in graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            del copy.input[:], copy.output[:]
            copy.input.extend(map(renamed, node.input))
            copy.output.extend(map(renamed, node.output))
            copy.name = f"{prefix}{node.name}"
            self.nodes.append(copy)
        return [renamed(value.name) for value in graph.output]

    def put_initializers(self, graph: onnx.GraphProto) -> None:
        """Put the arrays into a graph, which may grow beyond what protobuf can serialise."""
        for tensor in self.initializers.values():
            added = graph.initializer.add()
            if not tensor.raw_data:
                added.CopyFrom(tensor)
                continue
            # Not by CopyFrom, which serialises, and so fails above 2 GB.
            added.name, added.data_type, added.raw_data = tensor.name, tensor.data_type, tensor.raw_data
            added.dims.extend(tensor.dims)

    def _new_name(self, kind: str) -> str:
        self._n_names += 1
        return f"{kind.lower()}_{self._n_names}"


def float32_at_most(value: float) -> np.float32:
    """Return the largest float32 that is at most a value: what exceeds one exceeds the other."""
    rounded = np.float32(value)
    return rounded if float(rounded) <= value else np.nextafter(rounded, np.float32(-np.inf))


def as_float(array: Any) -> NDArray[np.float32]:
    """Return an array, or a tensor of the CPU, as float32."""
    return np.asarray(array, dtype=np.float32)

"""From photos of any size to what the network takes: two matrix products, made in the graph from the size.

Engines resize each in a way of their own, and one of them ignores antialiasing. A matrix product they all
compute alike. Its matrices hold the weights of torch's antialiased resize, which are Pillow's; bytes are
rounded after each axis, columns first, as there.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from ..images.arrays import Size
from .builder import GraphBuilder

# Of Keys' cubic filter, as Pillow has it.
_CUBIC = -0.5
# Weights are rounded to as many bits as keep the largest below 2**15, as torch does for bytes: where sums lie
# half way between two bytes, as they often do, this decides.
_LIMIT = 2**15 - 0.5
_MOST_BITS = 22.0
# Their sums need up to 31 bits, and float32 has 24: what is coarser than this is summed apart from the rest.
_COARSE = 2.0**14


def add_resize(
    graph: GraphBuilder,
    photos: str,
    size: Size,
    window: tuple[slice, slice],
    interpolation: str,
    photo_size: Size | None,
) -> str:
    """Add the way from photos (n, height, width, 3), uint8, to pixels (n, 3, rows, columns) of 0 to 255.

    Parameters
    ----------
    graph : GraphBuilder
    photos : str
    size : (int, int)
        Height and width to resize to.
    window : (slice, slice)
        Rows and columns of it to keep.
    interpolation : {"bilinear", "bicubic"}
    photo_size : (int, int) or None
        Height and width of all photos, whose matrices are baked in then. None: any.
    """
    planes = graph.op("Transpose", photos, perm=[0, 3, 1, 2])
    planes = graph.cast(planes, TensorProto.FLOAT)
    if photo_size is not None:
        for axis in (1, 0):  # Columns first.
            matrix = None
            if photo_size[axis] != size[axis]:
                matrix = resize_matrix(photo_size[axis], size[axis], interpolation)[window[axis]]
            planes = _baked(graph, planes, axis, matrix, window[axis])
        return planes
    shape = graph.op("Shape", photos, start=1, end=3)
    # No shortcut for photos of the right size: with an If for it, OpenVINO's first run gave other scores.
    made = [
        _matrix_in_graph(graph, shape, axis, size[axis], window[axis], interpolation) for axis in range(2)
    ]
    for axis in (1, 0):
        planes = _rounded(graph, _along(graph, planes, made[axis], axis))
    return planes


def resize_matrix(n_in: int, n_out: int, interpolation: str) -> np.ndarray:
    """Return the (n_out, n_in) float64 weights of an antialiased resize of one axis."""
    scale = n_in / n_out
    stretch = max(scale, 1.0)
    middles = (np.arange(n_out) + 0.5) * scale
    offsets = (np.arange(n_in)[None] + 0.5 - middles[:, None]) / stretch
    distances = np.abs(offsets)
    if interpolation == "bilinear":
        weights = np.maximum(1 - distances, 0)
    else:
        near = ((_CUBIC + 2) * distances - (_CUBIC + 3)) * distances**2 + 1
        far = (((distances - 5) * distances + 8) * distances - 4) * _CUBIC
        weights = np.where(distances < 1, near, np.where(distances < 2, far, 0))
    weights /= weights.sum(axis=1, keepdims=True)
    bits = np.exp2(np.minimum(np.ceil(np.log2(_LIMIT / weights.max())) - 1, _MOST_BITS))
    return np.sign(weights) * np.floor(np.abs(weights) * bits + 0.5) / bits


def _matrix_in_graph(
    graph: GraphBuilder, shape: str, axis: int, n_out: int, kept: slice, interpolation: str
) -> str:
    """Add what `resize_matrix` computes, of a size that only the graph knows."""
    one = graph.constant(1.0)
    n_in = graph.op("Gather", shape, graph.constant(axis, np.int64))
    pixels = graph.op("Range", graph.constant(0, np.int64), n_in, graph.constant(1, np.int64))
    scale = graph.op("Div", graph.cast(n_in, TensorProto.DOUBLE), graph.constant(float(n_out)))
    stretch = graph.op("Max", scale, one)
    middles = graph.op("Mul", graph.constant((np.arange(n_out) + 0.5)[:, None]), scale)
    places = graph.op("Add", graph.cast(pixels, TensorProto.DOUBLE), graph.constant(0.5))
    distances = graph.op("Div", graph.op("Abs", graph.op("Sub", places, middles)), stretch)
    if interpolation == "bilinear":
        weights = graph.op("Max", graph.op("Sub", one, distances), graph.constant(0.0))
    else:
        near = _polynomial(graph, distances, [_CUBIC + 2, -(_CUBIC + 3), 0.0, 1.0])
        far = _polynomial(graph, distances, [_CUBIC, -5 * _CUBIC, 8 * _CUBIC, -4 * _CUBIC])
        outer = graph.op("Where", graph.op("Less", distances, graph.constant(2.0)), far, graph.constant(0.0))
        weights = graph.op("Where", graph.op("Less", distances, one), near, outer)
    total = graph.op("ReduceSum", weights, graph.ints(1), keepdims=1)
    weights = graph.op("Div", weights, total)
    # log2 by the natural logarithm, which is all that there is.
    ratio = graph.op("Div", graph.constant(_LIMIT), graph.op("ReduceMax", weights, keepdims=0))
    log2 = graph.op("Mul", graph.op("Log", ratio), graph.constant(1 / np.log(2)))
    fewer = graph.op("Sub", graph.op("Ceil", log2), one)
    bits = graph.op("Pow", graph.constant(2.0), graph.op("Min", fewer, graph.constant(_MOST_BITS)))
    whole = graph.op("Add", graph.op("Mul", graph.op("Abs", weights), bits), graph.constant(0.5))
    rounded = graph.op("Mul", graph.op("Sign", weights), graph.op("Floor", whole))
    matrix = graph.cast(graph.op("Div", rounded, bits), TensorProto.FLOAT)
    return _cut(graph, matrix, 0, kept)


def _polynomial(graph: GraphBuilder, value: str, coefficients: list[float]) -> str:
    result = graph.constant(coefficients[0])
    for coefficient in coefficients[1:]:
        result = graph.op("Add", graph.op("Mul", result, value), graph.constant(coefficient))
    return result


def _baked(graph: GraphBuilder, planes: str, axis: int, matrix: np.ndarray | None, kept: slice) -> str:
    """Add the resize of an axis by a matrix that is known, exactly; without one what is kept is cut out."""
    if matrix is None:
        return _cut(graph, planes, axis + 2, kept)
    coarse = np.floor(matrix * _COARSE) / _COARSE
    total = _along(graph, planes, graph.constant(coarse, np.float32), axis)
    if (matrix != coarse).any():
        rest = _along(graph, planes, graph.constant(matrix - coarse, np.float32), axis)
        steps = graph.op("Floor", graph.op("Mul", rest, graph.constant(_COARSE, np.float32)))
        # Less than a step of it cannot reach the next half.
        total = graph.op("Add", total, graph.op("Mul", steps, graph.constant(1 / _COARSE, np.float32)))
    return _rounded(graph, total)


def _along(graph: GraphBuilder, planes: str, matrix: str, axis: int) -> str:
    """Add the product of planes (n, 3, rows, columns) and a matrix (n_out, n_in) along rows or columns."""
    if axis == 0:
        return graph.op("MatMul", matrix, planes)
    return graph.op("MatMul", planes, graph.op("Transpose", matrix, perm=[1, 0]))


def _rounded(graph: GraphBuilder, planes: str) -> str:
    """Add the rounding to whole numbers of 0 to 255."""
    rounded = graph.op("Floor", graph.op("Add", planes, graph.constant(0.5, np.float32)))
    return graph.op("Clip", rounded, graph.constant(0, np.float32), graph.constant(255, np.float32))


def _cut(graph: GraphBuilder, planes: str, axis: int, kept: slice) -> str:
    ends = [graph.ints(end) for end in (kept.start, kept.stop, axis)]
    return graph.op("Slice", planes, *ends)

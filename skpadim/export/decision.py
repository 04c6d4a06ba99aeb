"""From distances to what is decided, in a graph: maps, scores, p-values, verdicts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from ..kernels.scoring import Scorer
from ..masked_maps import weights_beside
from .builder import GraphBuilder, as_float, float32_at_most


def add_maps(graph: GraphBuilder, distances: str, scorer: Scorer, ignored: NDArray[np.bool_] | None) -> str:
    """Add upsampling and smoothing: maps (n, height, width) of distances (n, h, w).

    Parameters
    ----------
    graph : GraphBuilder
    distances : str
    scorer : Scorer
        On the CPU, in float32.
    ignored : ndarray of shape (height, width), bool, or None
        Pixels that count for nothing.
    """
    if ignored is None:
        return _smoothed(graph, distances, scorer, "anomaly_map")
    counted, share = weights_beside(ignored, scorer)
    smooth = _smoothed(graph, graph.op("Mul", distances, graph.constant(as_float(counted))), scorer)
    divided = graph.op("Div", smooth, graph.constant(as_float(share)))
    zero = graph.constant(0, np.float32)
    return graph.op("Where", graph.constant(ignored), zero, divided, name="anomaly_map")


def _smoothed(graph: GraphBuilder, distances: str, scorer: Scorer, name: str | None = None) -> str:
    columns = graph.constant(as_float(scorer.columns.T), name="smoothing.columns")
    rows = graph.constant(as_float(scorer.rows), name="smoothing.rows")
    return graph.op("MatMul", rows, graph.op("MatMul", distances, columns), name=name)


def add_decisions(graph: GraphBuilder, maps: str, threshold: float, loo_scores: NDArray[np.float64]) -> None:
    """Add the outputs ``score``, the maximum of each map, ``is_anomaly``, ``p_value`` and ``mask``.

    Parameters
    ----------
    graph : GraphBuilder
    maps : str
    threshold : float
    loo_scores : ndarray of shape (n,)
    """
    score = graph.op("ReduceMax", maps, graph.ints(1, 2), keepdims=0, name="score")
    # As Python compares: a float32 exceeds a float64 exactly where it exceeds the float32 that is next below.
    limit = graph.constant(float32_at_most(threshold), np.float32, name="threshold")
    graph.op("Greater", score, limit, name="is_anomaly")
    graph.op("Greater", maps, limit, name="mask")
    if not len(loo_scores):  # Learned elsewhere: nobody knows how good photos score.
        graph.op("Mul", score, graph.constant(np.nan, np.float32), name="p_value")
        return
    calibration = graph.constant(np.sort(loo_scores), np.float64, name="loo_scores")
    exact = graph.cast(graph.op("Unsqueeze", score, graph.ints(1)), TensorProto.DOUBLE)
    reached = graph.op("GreaterOrEqual", calibration, exact)
    count = graph.op("ReduceSum", graph.cast(reached, TensorProto.FLOAT), graph.ints(1), keepdims=0)
    above = graph.op("Add", count, graph.constant(1, np.float32))
    graph.op("Div", above, graph.constant(len(loo_scores) + 1, np.float32), name="p_value")

"""Distances in a graph, level by level, beside a plain Mahalanobis distance of every patch."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from skpadim import PatchGaussian
from skpadim.export.builder import IR_VERSION, GraphBuilder
from skpadim.export.distances import add_distances
from skpadim.network.onnx_trunk import OPSET
from skpadim.pyramid import CoarseToFine

SHAPES = [
    [(3, 8, 8)],
    [(3, 8, 8), (4, 4, 4)],
    [(2, 4, 4), (5, 8, 8), (3, 2, 2)],
    [(3, 9, 7), (4, 4, 3), (2, 3, 3)],  # no multiples
    [(3, 6, 6), (4, 6, 6)],
]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_distances_are_mahalanobis_distances(shapes):
    random = np.random.default_rng(0)
    n_extra = 2  # channels that nobody chose
    kept = [np.sort(random.permutation(c + n_extra)[:c]) for c, _, _ in shapes]
    whole = [random.normal(size=(25, c + n_extra, h, w)).astype(np.float32) for c, h, w in shapes]
    levels = [level[:, index] for level, index in zip(whole, kept, strict=True)]
    gaussian = PatchGaussian(epsilon=0.1).fit_stream(
        [[torch.from_numpy(level) for level in levels]], (32, 32)
    )
    order, graph = CoarseToFine(gaussian.level_shapes_), GraphBuilder()
    names = [f"level_{index}" for index in range(len(shapes))]
    result = add_distances(
        graph, order.sort(names), order.sort(kept), gaussian.whitening_, gaussian.cpu_scorer()
    )
    made = helper.make_graph(
        graph.nodes,
        "test",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *level.shape[1:]])
            for name, level in zip(names, whole, strict=True)
        ],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)],
        list(graph.initializers.values()),
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for n in (1, 6):
        found = session.run(None, {name: level[:n] for name, level in zip(names, whole, strict=True)})[0]
        np.testing.assert_allclose(found, plain(levels, n), rtol=1e-4)


def plain(levels, n):
    """Return distances by numpy.cov of the embedding of each patch, upsampled as torch does."""
    side = max((level.shape[2:] for level in levels), key=lambda size: size[0] * size[1])
    embedding = np.concatenate(
        [torch.nn.functional.interpolate(torch.from_numpy(level), side).numpy() for level in levels], axis=1
    ).astype(np.float64)
    distances = np.empty((n, *side))
    for row, column in np.ndindex(*side):
        patch = embedding[:, :, row, column]
        covariance = np.atleast_2d(np.cov(patch.T)) + 0.1 * np.eye(patch.shape[1])
        centred = patch[:n] - patch.mean(axis=0)
        distances[:, row, column] = np.sqrt(
            np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred)
        )
    return distances

"""The resize in a file beside torch's, which is the detector's."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from skpadim.export.builder import IR_VERSION, GraphBuilder
from skpadim.export.pixels import add_resize, resize_matrix
from skpadim.network.onnx_trunk import OPSET

SIZES = [(64, 48), (33, 50), (128, 160), (257, 64), (64, 300)]


def photos(size):
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (2, 3, *size), generator=random, dtype=torch.uint8)
    return torch.nn.functional.avg_pool2d(noise.float(), 3, 1, 1).round().to(torch.uint8)


def by_torch(pixels, size, mode):
    laid_out = pixels.contiguous(memory_format=torch.channels_last)
    return torch.nn.functional.interpolate(laid_out, size, mode=mode, antialias=True).numpy()


def by_file(pixels, size, window, mode, photo_size):
    graph = GraphBuilder()
    result = add_resize(graph, "photos", size, window, mode, photo_size)
    made = helper.make_graph(
        graph.nodes,
        "test",
        [helper.make_tensor_value_info("photos", TensorProto.UINT8, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)],
        list(graph.initializers.values()),
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"photos": pixels.permute(0, 2, 3, 1).numpy()})[0]


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("baked", [False, True])
def test_pixels_are_torch_s_but_for_rounding(mode, size, baked):
    window = (slice(3, 60), slice(2, 44))
    pixels = photos(size)
    expected = by_torch(pixels, (64, 48), mode)[:, :, window[0], window[1]].astype(float)
    found = by_file(pixels, (64, 48), window, mode, size if baked else None)
    assert found.shape == expected.shape
    # Sums of float32 may lie on the other side of a half, which they hardly ever do.
    assert np.abs(found - expected).max() <= 1
    assert (found != expected).mean() < 1e-3


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(300, 300), (512, 512), (448, 1000), (1024, 1280)])
def test_baked_matrices_are_exact(mode, size):
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (2, 3, *size), generator=random, dtype=torch.uint8)
    found = by_file(noise, (64, 64), (slice(0, 64), slice(0, 64)), mode, size)
    np.testing.assert_array_equal(found, by_torch(noise, (64, 64), mode))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("sides", [(64, 64), (100, 64), (30, 64)])
def test_matrices_are_torch_s_but_for_their_bits(mode, sides):
    n_in, n_out = sides
    identity = torch.eye(n_in, dtype=torch.float64)[None, None]
    expected = torch.nn.functional.interpolate(identity, (n_in, n_out), mode=mode, antialias=True)
    np.testing.assert_allclose(resize_matrix(n_in, n_out, mode).T, expected[0, 0].numpy(), atol=2**-15)

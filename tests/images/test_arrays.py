"""Arrays that are images: their types and shapes, and what is said of others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reading import SIZE, draw, pixels, scaled
from skpadim.images.arrays import check_dtype, check_shape
from skpadim.images.collection import check_images


class TestEveryLayout:
    @pytest.mark.parametrize("kind", ["array", "tensor", "list", "tensors", "objects"])
    @pytest.mark.parametrize("channels", [None, 1, 3])
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64", ">f4"])
    def test_every_layout_and_dtype(self, kind, channels, dtype):
        raw = draw(5, *SIZE, *([] if channels is None else [channels]))
        X = scaled(raw, dtype)
        if kind.startswith("tensor"):
            native = np.ascontiguousarray(X.astype(X.dtype.newbyteorder("=")))
            X = torch.from_numpy(native)
            X = X if channels is None else X.movedim(-1, 1)
        if kind in ("list", "tensors"):
            X = list(X)
        elif kind == "objects":
            X, items = np.empty(len(X), dtype=object), X
            X[:] = list(items)

        result = pixels(X)

        grey = raw[..., None] if channels is None else raw
        expected = np.broadcast_to(grey, (5, *SIZE, 3))
        assert result.dtype == (np.uint8 if dtype == "uint8" else np.float32)
        if dtype == "uint8":
            np.testing.assert_array_equal(result, expected)
        else:
            atol = 5e-4 if dtype == "float16" else 1e-6
            np.testing.assert_allclose(result, expected / 255, rtol=0, atol=atol)

    def test_bfloat16_and_gradients(self):
        X = torch.full((2, 3, *SIZE), 0.5, dtype=torch.bfloat16, requires_grad=True)
        np.testing.assert_array_equal(pixels(X), np.full((2, *SIZE, 3), 0.5, dtype=np.float32))


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (draw(2, 8, 8, 4), "X has 4 channels.*convert to RGB"),
        (draw(2, 8, 8, 2), "X has 2 channels.*grey or RGB"),
        (draw(2, 3, 8, 8), r"channels come last, use numpy.moveaxis\(array, -3, -1\)"),
        (torch.zeros(2, 8, 8, 3), r"channels come first, use tensor.movedim\(-1, -3\)"),
        (torch.zeros(2, 4, 8, 8), "X has 4 channels.*convert to RGB"),
        (np.empty((2, 0, 8), np.uint8), "no pixels"),
        ([draw(8, 8), draw(0, 8)], r"X\[1\] has no pixels"),
        ([draw(8, 8), draw(2, 8, 8, 3)], r"X\[1\] must have 2 or 3 axes.*\(2, 8, 8, 3\)"),
        ([draw(8, 8, 4)], r"X\[0\] has 4 channels.*convert to RGB"),
        ([draw(3, 8, 8)], r"X\[0\] has 8 channels.*channels come last"),
        ([torch.zeros(8, 8, 3)], r"X\[0\] has 8 channels.*channels come first"),
        (np.zeros((2, 8, 8), complex), "Complex data not supported"),
        ([torch.zeros(8, 8, dtype=torch.complex64)], r"Complex.*X\[0\]"),
    ],
)
def test_wrong_values(X, words):
    with pytest.raises(ValueError, match=words):
        check_images(X)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (np.zeros((2, 8, 8), bool), "dtype bool.*uint8 times 255"),
        (np.zeros((2, 8, 8), np.int64), "dtype int64.*scale it"),
        (torch.zeros(2, 8, 8, dtype=torch.int32), "dtype int32.*scale it"),
        (torch.zeros(2, 8, 8, dtype=torch.bool), "dtype bool"),
        ([draw(8, 8), np.zeros((8, 8), np.int8)], r"X\[1\] has dtype int8"),
        ([np.full((2, 2), None)], r"X\[0\] has dtype object"),
        (np.zeros((2, 8, 8), "datetime64[s]"), "dtype datetime64"),
    ],
)
def test_wrong_types(X, words):
    with pytest.raises(TypeError, match=words):
        check_images(X)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (1, 3, 3), (3, 1, 1)])
def test_height_and_width(shape):
    assert check_shape(shape, False, "X") == shape[:2]
    first = shape if len(shape) == 2 else (shape[2], *shape[:2])
    assert check_shape(first, True, "X") == shape[:2]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64, np.uint32])
def test_integers_of_any_type_where_their_range_is_stated(dtype):
    check_dtype(np.dtype(dtype), "X", is_stated=True)
    with pytest.raises(TypeError, match="value_range"):
        check_dtype(np.dtype(dtype), "X")

"""The decoders of the benchmark that goes from files to scores."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

files = pytest.importorskip("files", reason="the benchmarks are not in this distribution")


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_opencv_gives_rgb_by_itself(factor, tmp_path):
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    # Smooth, and of more red than blue.
    rows, columns = np.indices((64, 64))
    photo = np.stack([100 + 2 * columns, rows, 0 * rows + 40], axis=-1)
    path = str(tmp_path / "photo.png")
    Image.fromarray(photo.astype(np.uint8)).save(path)
    found = files.ByOpenCV(factor)(path)
    # Nobody turned the channels round behind it.
    assert found.flags.c_contiguous
    assert_allclose(found, np.asarray(Image.open(path).reduce(factor)), atol=factor)

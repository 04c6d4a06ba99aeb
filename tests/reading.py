"""Photos in and pixels out, for the tests of the images wing."""

from __future__ import annotations

import contextlib
import threading
import time

import numpy as np
import torch

from skpadim.images.collection import ImageBatch, check_images

SIZE = (12, 17)


def read(X, image_size=SIZE, *, batch_size=4, crop_size=None, n_threads=2) -> list[ImageBatch]:
    return list(check_images(X).batches(batch_size, image_size, crop_size, n_threads))


def pixels(X, image_size=SIZE, **options) -> np.ndarray:
    """All pixels, channels last, as stored: the batches must agree in dtype."""
    batches = [batch.pixels.permute(0, 2, 3, 1).numpy() for batch in read(X, image_size, **options)]
    assert len({batch.dtype for batch in batches}) == 1
    return np.concatenate(batches)


def unit_pixels(X, image_size=SIZE, **options) -> np.ndarray:
    """All pixels in [0, 1], whatever each batch's dtype."""
    return np.concatenate(
        [
            (b.pixels / 255 if b.pixels.dtype == torch.uint8 else b.pixels).numpy()
            for b in read(X, image_size, **options)
        ]
    )


def draw(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def scaled(raw, dtype) -> np.ndarray:
    """The same grey values in another dtype."""
    return (raw * {"uint8": 1.0, "uint16": 257.0}.get(dtype, 1 / 255)).astype(dtype)


def smooth(height, width) -> np.ndarray:
    """A colour image with gradients, which survives lossy files."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.rint(255 * np.stack([y, x, (x + y) / 2], -1)).astype(np.uint8)


def over_white(colour, alpha) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.rint(colour * share + 255 * (1 - share)).astype(np.uint8)


def as_three(grey) -> np.ndarray:
    return np.repeat(grey[..., None], 3, -1)


@contextlib.contextmanager
def no_stray_threads():
    yield
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = [t.name for t in threading.enumerate() if t.name.startswith("skpadim")]
        if not left:
            return
        time.sleep(0.005)
    raise AssertionError(f"threads still run: {left}")


def save(image, path, **options):
    image.save(path, **options)
    return path

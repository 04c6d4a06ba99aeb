"""Photos of more than 8 bits, and what they come out as."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from skpadim.images.collection import check_images

SIZE = (12, 17)


def photo(bits, channels=1, seed=0) -> np.ndarray:
    """A photo of some bits, whose largest value is 3,800 of 4,095, or as much of another depth."""
    shape = SIZE if channels == 1 else (*SIZE, channels)
    values = np.random.default_rng(seed).integers(0, 3800, shape, endpoint=True)
    values.flat[:2] = 0, 3800
    return (values * 2.0 ** (bits - 12)).astype(np.uint8 if bits <= 8 else np.uint16)


def read(path, **options) -> np.ndarray:
    """Shares of full scale, (height, width, 3)."""
    images = check_images([path], **options)
    size = images.original(0).shape[:2]
    (batch,) = images.batches(1, size, None, n_threads=1)
    pixels = batch.pixels[0].movedim(0, -1).numpy()
    return pixels / 255 if pixels.dtype == np.uint8 else pixels


def as_three(values) -> np.ndarray:
    return values if values.ndim == 3 else np.repeat(values[..., None], 3, -1)


def png_chunk(kind, body) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(values, *, significant=None, transparent=None) -> bytes:
    """A PNG of 16 bits, by the letter of its specification."""
    channels = 1 if values.ndim == 2 else values.shape[2]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = values.astype(">u2").reshape(len(values), -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    if significant is not None:
        content += png_chunk(b"sBIT", bytes([significant] * channels))
    if transparent is not None:
        content += png_chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))
    return content + png_chunk(b"IDAT", zlib.compress(data)) + png_chunk(b"IEND", b"")


def write(path, content):
    path.write_bytes(content)
    return path

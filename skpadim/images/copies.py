"""The room that notices the same photo twice.

Leaving one photo out of the fit leaves its copies in, which know all about it: its score comes out too low,
and so does the threshold. Copies are therefore a group, to be left out together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

# Two photos of a million that differ share eight bytes with a probability of 3e-8.
_BYTES_KEPT = 8
_LARGEST_BYTE = np.float32(255)


def pixel_digests(pixels: torch.Tensor) -> list[bytes]:
    """Return a digest of each image of a batch; the same pixels have the same, as bytes and as shares of 255.

    Parameters
    ----------
    pixels : torch.Tensor of shape (n, 3, height, width)
        uint8 in 0..255, or float32 in [0, 1], on the CPU; in channels_last memory nothing is copied.

    Returns
    -------
    list of bytes

    Examples
    --------
    >>> photos = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    >>> first, second = pixel_digests(photos)
    >>> first == second == pixel_digests(photos / 255)[0]
    True
    """
    images: list[NDArray[Any]] = [*pixels.permute(0, 2, 3, 1).contiguous().numpy()]
    if pixels.is_floating_point():
        images = [_as_bytes(image) for image in images]
    # The same bytes in another shape are another image.
    return [
        hashlib.sha256(image.reshape(-1).view(np.uint8).data, usedforsecurity=False).digest()
        + repr(image.shape).encode()
        for image in images
    ]


def _as_bytes(image: NDArray[np.float32]) -> NDArray[Any]:
    """Turn shares of 255 back into bytes: a batch is of floats as soon as one of its images is."""
    # One row tells nearly all others apart, so that these cost no more than their digest.
    if not _is_of_bytes(image[:1]) or not _is_of_bytes(image):
        return image
    return np.rint(image * _LARGEST_BYTE).astype(np.uint8)


def _is_of_bytes(shares: NDArray[np.float32]) -> bool:
    return np.array_equal(np.rint(shares * _LARGEST_BYTE) / _LARGEST_BYTE, shares)


class CopiesSeen:
    """Which images of a stream are exact copies of earlier ones; eight bytes are kept of each.

    Examples
    --------
    >>> seen = CopiesSeen()
    >>> seen.add([b"screw 001", b"screw 002"])
    >>> seen.add([b"screw 001"])
    >>> seen.groups()
    array([0, 1, 0])
    """

    def __init__(self) -> None:
        self._kept = bytearray()

    def add(self, digests: Iterable[bytes]) -> None:
        """Take in the digests of further images, in order."""
        for digest in digests:
            self._kept += hashlib.sha256(digest, usedforsecurity=False).digest()[:_BYTES_KEPT]

    def groups(self) -> NDArray[np.intp]:
        """Return for each image the place in the stream of the first one that is the same.

        Returns
        -------
        ndarray of shape (n_images,)
            Its own place, if nothing before it is.
        """
        kept = np.frombuffer(bytes(self._kept), dtype=f"V{_BYTES_KEPT}").view(np.uint64)
        _, first, group = np.unique(kept, return_index=True, return_inverse=True)
        return first[group]

    def explain(self, describe: Callable[[int], str]) -> str | None:
        """Say how many images are copies, what that does, and the way out; None if none is.

        Parameters
        ----------
        describe : callable
            Names an image in a message by its place in the stream.
        """
        groups = self.groups()
        copies = np.flatnonzero(groups != np.arange(len(groups)))
        if not len(copies):
            return None
        copy, original = int(copies[0]), int(groups[copies[0]])
        return (
            f"{len(copies)} of {len(groups)} images in X are exact copies of others, the first: "
            f"{describe(copy)} of {describe(original)}. An image whose copy stays in the fit has too low a "
            "leave-one-out score: the threshold comes out too low, and more good images are called anomalies "
            "than false_alarm_rate says. Pass each image once."
        )

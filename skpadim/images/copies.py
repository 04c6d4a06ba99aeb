"""The room that notices the same photo twice.

Leaving one photo out of the fit leaves its copies in, which know all about it: its score comes out too low,
and so does the threshold. Copies are therefore a group, to be left out together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
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
        Eight of each image.

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
    return [_digest(image) for image in images]


def _digest(image: NDArray[Any]) -> bytes:
    content = hashlib.sha256(image.reshape(-1).view(np.uint8).data, usedforsecurity=False).digest()
    # The same bytes in another shape are another image.
    of_shape = hashlib.sha256(content + repr(image.shape).encode(), usedforsecurity=False)
    return of_shape.digest()[:_BYTES_KEPT]


def _as_bytes(image: NDArray[np.float32]) -> NDArray[Any]:
    """Turn shares of 255 back into bytes: a batch is of floats as soon as one of its images is."""
    # One row tells nearly all others apart, so that these cost no more than their digest.
    if not _is_of_bytes(image[:1]) or not _is_of_bytes(image):
        return image
    return np.rint(image * _LARGEST_BYTE).astype(np.uint8)


def _is_of_bytes(shares: NDArray[np.float32]) -> bool:
    return np.array_equal(np.rint(shares * _LARGEST_BYTE) / _LARGEST_BYTE, shares)


def copy_groups(digests: NDArray[np.uint64], since: int = 0) -> NDArray[np.intp]:
    """Return for each image, from the ``since``-th on, where the first one is that is the same.

    Parameters
    ----------
    digests : ndarray of shape (n_images,)
        See :func:`as_numbers`.
    since : int, default=0

    Returns
    -------
    ndarray of shape (n_images - since,)
        Its own place, if nothing before it is the same.

    Examples
    --------
    >>> copy_groups(np.array([7, 9, 7], dtype=np.uint64))
    array([0, 1, 0])
    """
    # Only the new ones are sorted: looking at the old ones costs next to nothing, however many there are.
    values, first, group = np.unique(digests[since:], return_index=True, return_inverse=True)
    first = first + since
    if since and len(values):
        old = digests[:since]
        at = np.searchsorted(values, old).clip(max=len(values) - 1)
        same = np.flatnonzero(values[at] == old)[::-1]
        first[at[same]] = same  # of several the first, which is written last
    return first[group]


def as_numbers(digests: Sequence[bytes]) -> NDArray[np.uint64]:
    """Return digests of eight bytes as numbers."""
    return np.frombuffer(b"".join(digests), dtype="<u8")


def explain_copies(digests: NDArray[np.uint64], describe: Callable[[int], str], since: int = 0) -> str | None:
    """Say how many images are copies, what that does, and the way out; None if none is.

    Parameters
    ----------
    digests : ndarray of shape (n_images,)
        See :func:`as_numbers`.
    describe : callable
        Names an image in a message by its place.
    since : int, default=0
        Images from here on are looked at, and may be copies of any.
    """
    originals = copy_groups(digests, since)
    copies = np.flatnonzero(originals != np.arange(since, len(digests)))
    if not len(copies):
        return None
    return (
        f"{len(copies)} of {len(originals)} images in X are exact copies of others, the first: "
        f"{describe(since + int(copies[0]))} of {describe(int(originals[copies[0]]))}. Copies are left out "
        "together, so leave-one-out scores are none too low; but an image counts in means, covariances and "
        "the threshold as often as it is there. Pass each image once."
    )


def explain_scattered_copies(
    digests: NDArray[np.uint64],
    groups: NDArray[np.uint64],
    describe: Callable[[int], str],
    since: int = 0,
) -> str | None:
    """Say how many images are copies of images of other groups, and what to do; None if none is.

    Parameters
    ----------
    digests, describe, since
        See :func:`explain_copies`.
    groups : ndarray of shape (n_images,)
        Equal for images of one group.
    """
    originals = copy_groups(digests, since)
    copies = np.flatnonzero(groups[originals] != groups[since:])
    if not len(copies):
        return None
    return (
        f"{len(copies)} of {len(originals)} images in X are exact copies of images of other groups, the "
        f"first: {describe(since + int(copies[0]))} of {describe(int(originals[copies[0]]))}. A group whose "
        "copies stay in the fit has too low scores: the threshold comes out too low, and more good images "
        "are called anomalies than false_alarm_rate says. Pass each image once, or put copies into one group."
    )

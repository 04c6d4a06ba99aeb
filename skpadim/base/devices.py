"""Where torch computes: the CPU or a GPU."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def resolve_device(device: str | torch.device | None) -> torch.device:
    """Return the torch device that a parameter means.

    Parameters
    ----------
    device : str, torch.device or None
        None: the first GPU, or the CPU without one.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If torch does not know the device.

    Warns
    -----
    UserWarning
        If a GPU is asked for and none is there; the CPU is returned then, so that a detector fitted on a
        GPU serves anywhere.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is no torch device ({error}). Pass 'cpu', 'cuda' or None."
        ) from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        warnings.warn(
            f"device={str(device)!r}: torch finds no GPU here and computes on the CPU instead.",
            UserWarning,
            stacklevel=2,
        )
        return torch.device("cpu")
    try:
        torch.zeros(1, device=resolved).cpu()
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        raise ValueError(
            f"device={str(device)!r} cannot compute here ({error}). Pass 'cpu' or None."
        ) from error
    return resolved


def own_precision(device: torch.device) -> torch.autocast:
    """Return a context without the caller's autocast: precision is the business of ``precision`` alone."""
    return torch.autocast(device.type, enabled=False)


def join_on_host(parts: Iterable[Tensor]) -> NDArray[Any]:
    """Join the rows of tensors, as they come off a device, without waiting for each.

    Parameters
    ----------
    parts : iterable of Tensor of shape (n_rows, ...)
        At least one.

    Returns
    -------
    ndarray of shape (n_all_rows, ...)
    """
    # From a GPU they go to pinned memory, while it works on the next.
    host = [part.to("cpu", non_blocking=True) for part in parts]
    if host[0].is_pinned():
        for index in range(torch.cuda.device_count()):  # The device need not be the current one.
            torch.cuda.synchronize(index)
    return torch.cat(host).numpy()

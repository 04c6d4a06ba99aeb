"""Where torch computes: the CPU or a GPU."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from .locks import ForkSafeLock


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


@contextmanager
def own_precision(device: torch.device, *, tf32: bool = False) -> Iterator[None]:
    """Compute in the precision of the tensors, whatever the application asked torch for.

    The caller's autocast is off here. Where torch's switches would let convolutions and products of float32
    round to fewer bits, they are turned to full precision for as long as a thread is in here: they are of the
    whole process.

    Parameters
    ----------
    device : torch.device
    tf32 : bool, default=False
        Leave the switches alone: convolutions on a GPU then round as torch lets them.
    """
    full = nullcontext() if tf32 else _FULL_PRECISION["cuda" if device.type == "cuda" else "cpu"]
    # Turning off what is off takes longer than asking.
    is_cast = torch.is_autocast_enabled(device.type)
    with torch.autocast(device.type, enabled=False) if is_cast else nullcontext(), full:
        yield


class _FullPrecision:
    """Torch's switches of precision for a device, turned to full while any thread is inside.

    Parameters
    ----------
    above : object
        The switch of the device, from which those of its operations get what they do not say themselves.
    switches : sequence of object
        Those of its operations.
    """

    def __init__(self, above: Any, switches: Sequence[Any]) -> None:
        self._above, self._switches = above, switches
        self._lock = ForkSafeLock()
        self._n_inside = 0
        self._turned: list[tuple[Any, str]] = []
        if hasattr(os, "register_at_fork"):  # Whoever was inside is not in the child.
            os.register_at_fork(after_in_child=self._leave_all)

    def __enter__(self) -> None:
        with self._lock:
            if not self._n_inside:
                given = [(switch, switch.fp32_precision) for switch in self._switches]
                self._turned = [(switch, was) for switch, was in given if was in ("tf32", "bf16")]
                for switch, _ in self._turned:
                    switch.fp32_precision = "ieee"
            self._n_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if not self._n_inside:
                self._turn_back()

    def _leave_all(self) -> None:
        if self._n_inside:
            self._n_inside = 0
            self._turn_back()

    def _turn_back(self) -> None:
        above = self._above.fp32_precision
        for switch, was in self._turned:
            if switch.fp32_precision == "ieee":  # Or else the application has turned it meanwhile.
                # What a switch got from the one above it goes on coming from there.
                switch.fp32_precision = "none" if was == above else was


class _CudnnConvolutions:
    """The switch of convolutions on a GPU, in step with the older ``torch.backends.cudnn.allow_tf32``.

    torch raises an error for whoever reads the older one, in any thread, while the two differ.
    """

    @property
    def fp32_precision(self) -> str:
        precision: str = _CUDNN.conv.fp32_precision
        return precision

    @fp32_precision.setter
    def fp32_precision(self, precision: str) -> None:
        with suppress(RuntimeError):  # The application's own setting differs; it reads the newer one.
            if _CUDNN.allow_tf32 != (precision == "tf32"):
                _CUDNN.allow_tf32 = precision == "tf32"
        _CUDNN.conv.fp32_precision = precision


# torch's stubs do not know the switches of single operations.
_CUDNN: Any = torch.backends.cudnn
_MKLDNN: Any = torch.backends.mkldnn
_FULL_PRECISION = {
    "cpu": _FullPrecision(_MKLDNN, [_MKLDNN.conv, _MKLDNN.matmul]),
    "cuda": _FullPrecision(_CUDNN, [_CudnnConvolutions(), torch.backends.cuda.matmul]),
}


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


def host_tensor(array: NDArray[Any]) -> Tensor:
    """Wrap an array as a tensor on the CPU; torch warns of arrays that are read-only, so these are copied.

    Parameters
    ----------
    array : ndarray

    Returns
    -------
    Tensor
        It shares the array's memory, if that may be written to.
    """
    return torch.from_numpy(array if array.flags.writeable else array.copy())

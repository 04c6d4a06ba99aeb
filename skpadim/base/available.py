"""How much memory is there to be had, as far as anybody knows; and giving back what was let go."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import torch

# Per version of Linux's control groups: where they are mounted, and the files with limit and usage.
_UNIFIED = ("sys/fs/cgroup", "memory.max", "memory.current")
_LEGACY = ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
# Of what a group uses, pages of files, which the system takes back where memory is wanted.
_RECLAIMABLE = {"inactive_file", "active_file"}


def available_bytes(device: torch.device) -> int | None:
    """Return how much memory can still be had on a device.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    int or None
        Bytes: of a CUDA device, what is free, and what torch holds there unused; of the CPU, on Linux, what
        the system says is available, swap included, within the limits of the control groups (containers).
        None where nobody knows.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    return host_bytes() if device.type == "cpu" else None


def host_bytes(root: Path = Path("/")) -> int | None:
    """Return how much memory the processes of this one's control group can still have.

    Parameters
    ----------
    root : Path
        Below which /proc and /sys lie.

    Returns
    -------
    int or None
        Bytes; None on systems other than Linux.
    """
    system = _table(root / "proc/meminfo")
    if "MemAvailable" not in system:
        return None
    left = [1024 * system["MemAvailable"], *_left_in_groups(root)]
    return min(left) + 1024 * system.get("SwapFree", 0)


def give_back_freed() -> None:
    """Give memory that was freed back to the system where glibc keeps it, as of threads that decoded.

    It takes a few milliseconds, and does nothing with another library of C.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # Not glibc; on Windows, not even a library of C.
        return


def _left_in_groups(root: Path) -> Iterator[int]:
    """Yield what every control group around this process, the innermost first, leaves it."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, inner = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount, limit_file, usage_file = _LEGACY if controllers else _UNIFIED
        # In a container the path may be the host's: then only the mount itself is there.
        group = root / mount / inner.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(root / mount):
                break
            limit, usage = (_lines(folder / name) for name in (limit_file, usage_file))
            if limit and usage and limit[0] != "max":
                yield max(
                    0, int(limit[0]) - int(usage[0]) + _reclaimable(folder, is_legacy=bool(controllers))
                )


def _reclaimable(folder: Path, *, is_legacy: bool) -> int:
    prefix = "total_" if is_legacy else ""
    statistics = _table(folder / "memory.stat")
    return sum(statistics.get(prefix + name, 0) for name in _RECLAIMABLE)


def _table(path: Path) -> dict[str, int]:
    """Return the numbers of a file by name, one a line: ``MemFree:  12 kB`` or ``active_file 12``."""
    rows = (line.split() for line in _lines(path))
    return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _lines(path: Path) -> list[str]:
    """Return the lines of a file, none where it cannot be read."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []

"""What the pages of results have in common: tables, and what made them where."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def command(script: str) -> str:
    """Return the command line, without the folders of this machine."""
    words, skip = [], False
    for word in sys.argv[1:]:
        if not skip and not word.startswith("--environments"):
            name, _, value = word.rpartition("=")  # as NAME=FILE is, too
            words.append(f"{name}={Path(value).name}" if name else _without_folder(word))
        skip = word == "--environments"
    return shlex.join(["python", f"benchmarks/{script}", *words])


def _without_folder(word: str) -> str:
    return Path(word).name if Path(word).is_absolute() else word


def machine() -> str:
    cpus = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.machine()} machine ({_processor()}), {memory:.0f} GB of memory"
    gpu = f" and an {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{cpus} cores of an {system}{gpu}, {platform.system()}"


def _processor() -> str:
    """Return what Linux calls the processor, and the instructions that torch uses of it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{named[0]}, {capability}" if named else capability

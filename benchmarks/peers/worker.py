"""A contender in a process of its own: it answers calls, a line of JSON each, with a value or an error."""

from __future__ import annotations

import contextlib
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .contenders import ISOLATED, MODULES, shared

# Images scored one by one in a run, and images whose distances are compared.
N_SINGLE = 16
N_COMPARED = 4
# A call is repeated so many times in a turn, or until so many seconds have passed.
MOST_CALLS = 7
LONG_ENOUGH_SECONDS = 4


class Worker:
    """The calls; seconds, megabytes and names of files go back."""

    def __init__(self, name: str, folder: Path) -> None:
        self.setting = shared.Setting.read(folder)
        torch.set_num_threads(self.setting.threads)
        self.make: type[shared.Contender] = import_module(
            f".contenders.{MODULES[name]}", __package__
        ).Contender
        self.name = name
        if name in ISOLATED:
            check_origin(ISOLATED[name])
        # Before memory is looked at: what all have in common.
        self.good, self.test = (np.load(folder / f"{photos}.npy") for photos in ("good", "test"))
        self.before = memory("VmRSS")
        self.contender: shared.Contender | None = None
        if self.setting.memory is not None:
            most = memory("VmSize") + int(1000 * self.setting.memory)
            resource.setrlimit(resource.RLIMIT_AS, (most * 10**6, most * 10**6))

    def versions(self) -> dict[str, str]:
        found = {"Python": platform.python_version()}
        return found | {name: installed_version(name) for name in self.make.packages}

    def fit(self, size: int) -> float:
        # What an earlier fit left must not count as memory of this one, nor a failed fit hold any.
        self.contender = None
        contender = self.make(self.setting)
        batches = shared.Batches(self.good[:size], contender.prepare)
        taken = seconds(lambda: contender.fit(batches)) - batches.seconds
        self.contender = contender
        return taken

    def score(self) -> float:
        images = self.contender.prepare(self.test)
        return median_seconds(lambda: self.contender.score(images)) / len(self.test)

    def score_singly(self) -> float:
        images = [self.contender.prepare(self.test[[index]]) for index in range(N_SINGLE)]
        return statistics.median(seconds(lambda image=image: self.contender.score(image)) for image in images)

    def score_files(self, kind: str) -> float:
        paths = sorted((self.setting.folder / kind).iterdir())
        return median_seconds(lambda: self.contender.score_files(paths)) / len(paths)

    def decoders(self) -> int:
        return self.contender.decoders()

    def peak(self) -> int:
        """Return the largest memory so far, above imports and photos, in megabytes."""
        return memory("VmHWM") - self.before

    def whole_peak(self) -> int:
        """Return the largest memory so far, imports and photos included, in megabytes."""
        return memory("VmHWM")

    def size_on_disk(self) -> float:
        path = self.setting.folder / f"{self.name}.fitted"
        self.contender.save(path)
        megabytes = path.stat().st_size / 1e6
        path.unlink()
        return megabytes

    def distances(self) -> str:
        path = self.setting.folder / f"{self.name}.npy"
        images = self.contender.prepare(self.test[:N_COMPARED])
        np.save(path, self.contender.distances(images).double().cpu())
        return str(path)


def check_origin(library: str) -> None:
    """Refuse a library that was imported from elsewhere than from this interpreter's environment."""
    file = import_module(library).__file__
    if file is None or not Path(file).is_relative_to(sys.prefix):
        raise ImportError(f"{library} was imported from outside of its environment")


def installed_version(package: str) -> str:
    """Return a package's version and, of one that was installed from a repository, its commit."""
    found = distribution(package)
    commit = json.loads(found.read_text("direct_url.json") or "{}").get("vcs_info", {}).get("commit_id")
    return f"{found.version} of commit {commit}" if commit else found.version


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def median_seconds(function: Callable[[], object]) -> float:
    """Call a function several times, a long one less often, and return what it takes in the median."""
    taken: list[float] = []
    while len(taken) < MOST_CALLS and sum(taken) < LONG_ENOUGH_SECONDS:
        taken.append(seconds(function))
    return statistics.median(taken)


def memory(field: str) -> int:
    """Return a field of the kernel's account of this process, in megabytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) * 1024 // 10**6


def reason(error: Exception) -> str:
    """Say in one line what went wrong."""
    first = (str(error).strip() or "no message").splitlines()[0]
    # A library may have raised another error in the place of this one.
    if any(ran_out_of_memory(link) for link in chain(error)):
        return "out of memory"
    return f"{type(error).__name__}: {first}"


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all those that were being handled when it was raised."""
    while error is not None:
        yield error
        error = error.__context__


def ran_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def work(name: str, folder: Path) -> None:
    answers = sys.stdout

    def answer(function: Callable[[], Any]) -> Any:
        """Send the value or the error, and return the value."""
        value, error = None, None
        try:
            value = function()
        except Exception as raised:
            error = reason(raised)
        print(json.dumps({"error": error} if error else {"value": value}), file=answers, flush=True)

    with contextlib.redirect_stdout(sys.stderr):
        started: list[Worker] = []
        answer(lambda: started.append(Worker(name, folder)))
        for line in sys.stdin if started else ():
            call, *arguments = json.loads(line)
            answer(lambda call=call, arguments=arguments: getattr(started[0], call)(*arguments))


def main() -> None:
    work(sys.argv[1], Path(sys.argv[2]))

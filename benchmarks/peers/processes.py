"""The other side of worker.py: environments for the peers, and calls with a limit on their time."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from .contenders import ISOLATED, MODULES

#: What is installed for whom; the others run where this runs.
REQUIREMENTS = {"anomalib": "anomalib>=2.7", "anomavision": "anomavision[cpu]>=3.6"}
#: The contender that is an earlier commit of this repository.
BEFORE = "skpadim before"
_BENCHMARKS = Path(__file__).resolve().parents[1]
_START_SECONDS = 300
# Modules of this folder come last: an environment's own libraries go before them.
_WORK = "import sys; sys.path.append(sys.argv.pop(1)); from peers.worker import main; main()"
_A_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][\w.+~-]+){2,}[/\\]?")


class FailedError(Exception):
    """A contender did not do what it was asked to; the message is for the report."""

    def __init__(self, message: str) -> None:
        super().__init__(_A_PATH.sub("...", message)[:160])


class EndedError(FailedError):
    """A contender was not asked: an earlier call ended its process."""


def find_python(name: str, environments: Path, before: str | None = None) -> Path:
    """Return a contender's interpreter; its environment is made if need be, of a commit for ``BEFORE``."""
    requirement = REQUIREMENTS.get(name)
    if name == BEFORE:
        requirement = f"skpadim @ git+{_BENCHMARKS.parent.as_uri()}@{before}"
    if requirement is None:
        return Path(sys.executable)
    folder = (environments / name.replace(" ", "_")).absolute()
    python = folder / "bin" / "python"
    # The same torch for all: what differs is not it.
    wanted = [requirement, f"torch=={torch.__version__.split('+')[0]}"]
    installed = folder / ".installed"
    if not installed.exists() or installed.read_text() != "\n".join(wanted):
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if uv is None:
            raise FailedError("no uv to install it with; `make environment` puts it into .venv")
        print(f"Installing {name} (with torch about 5 GB)", file=sys.stderr, flush=True)
        _run([uv, "venv", "--clear", "--python", sys.executable, str(folder)])
        _run([uv, "pip", "install", "--upgrade", "--python", str(python), *wanted])
        installed.write_text("\n".join(wanted))
    return python


def find_commit(name: str) -> str:
    """Return the full hash of a commit of this repository, as a branch may move on."""
    command = ["git", "-C", str(_BENCHMARKS), "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise FailedError(f"no commit of this repository: {name}")
    return done.stdout.strip()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise FailedError(f"could not be installed: {last.strip(' ╰─▶│')}")


def _environment(name: str, threads: int) -> dict[str, str]:
    pins = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS", "MKL")}
    # The interpreter is told to ignore these, too; processes that it starts are not.
    unset = ("PYTHONPATH", "PYTHONHOME") if name in ISOLATED else ()
    return {key: value for key, value in os.environ.items() if key not in unset} | pins


class Process:
    """A contender's process. A call that fails leaves it usable; one past the time limit ends it."""

    def __init__(self, name: str, folder: Path, threads: int, python: Path) -> None:
        assert name in MODULES
        self.ended: str | None = None
        self._log = (folder / f"{name}.log").open("w")
        # Both leave out the folder in which they run; -I, what PYTHONPATH names and the user's packages, too.
        apart = "-I" if name in ISOLATED else "-P"
        self._process = subprocess.Popen(
            [str(python), apart, "-c", _WORK, str(_BENCHMARKS), name, str(folder.absolute())],
            env=_environment(name, threads),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def wait_until_ready(self) -> None:
        """Wait for the imports, or raise FailedError."""
        self._answer(_START_SECONDS)

    def call(self, method: str, *arguments: Any, cap: float) -> Any:
        """Return what a method of worker.Worker returns, or raise FailedError."""
        if self.ended is None:
            assert self._process.stdin
            try:
                print(json.dumps([method, *arguments]), file=self._process.stdin, flush=True)
            except BrokenPipeError:
                self._died()
            return self._answer(cap)
        raise EndedError(f"its process had ended before: {self.ended}")

    def _answer(self, cap: float) -> Any:
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], cap)
        if not ready:
            self.ended = f"> {cap:g} s"
            self._process.kill()
            raise FailedError(self.ended)
        line = self._process.stdout.readline()
        if not line:
            self._died()
        answer = json.loads(line)
        if "error" in answer:
            raise FailedError(answer["error"])
        return answer["value"]

    def _died(self) -> None:
        status = self._process.wait()
        self.ended = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
        raise FailedError(self.ended)

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

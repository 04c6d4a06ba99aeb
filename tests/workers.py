"""What workers in other processes run for the tests; they cannot import test modules."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np


class Logged:
    """It writes down which process unpacks it."""

    def __init__(self, log: str) -> None:
        self.log = log
        self.ballast = np.zeros(2**16)

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        with open(self.log, "a") as file:
            file.write(f"{os.getpid()}\n")


def square(shared: Logged, number: int) -> int:
    return number**2 + int(shared.ballast[0])


def fails(_shared: object, number: int) -> int:
    raise ValueError(f"number {number} is none")


def missing(_shared: object, path: str) -> None:
    try:
        open(path).close()
    except FileNotFoundError as error:
        raise ValueError(f"X[7] ({path!r}) cannot be read.") from error


def drawn(seed: int) -> np.ndarray:
    """Return a photo by its number."""
    noise = np.random.default_rng(seed).integers(0, 60, (48, 40, 3))
    return (noise + np.linspace(20, 190, 40)[:, None]).astype(np.uint8)


class KillsOnce:
    """A loader that kills the process of the photo of one number, if nothing was killed before."""

    def __init__(self, flag: Path, number: int) -> None:
        self.flag, self.number = flag, number

    def __call__(self, seed: int) -> np.ndarray:
        if seed == self.number and not self.flag.exists():
            self.flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return drawn(seed)


def dies_once(flag: str, number: int) -> int:
    if number == 7 and not os.path.exists(flag):
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def dies(_shared: object, number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number

"""Locks: a forked child finds none held, whatever other threads were at."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from skpadim.base.locks import ForkSafeLock

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def in_a_process(code, *arguments):
    """Run it apart from this process, whose threads are many; all of ours and torch's warnings are errors."""
    environment = os.environ | {"PYTHONWARNINGS": "ignore::DeprecationWarning"}  # of forking with threads
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


_CHILDREN = """
import os, signal, time

def forked(work, limit=20):
    "Return how a child ends: 0, another status, or None where it hung."
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    for _ in range(limit * 100):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""

_WHILE_LOCKS_ARE_HELD = (
    _CHILDREN
    + """
import contextlib, gc, threading
import numpy as np, torch
from PIL import Image
from skpadim import PaDiMDetector
from skpadim.base.locks import ForkSafeLock
from skpadim.datasets import make_inspection_images

torch.set_num_threads(1)
photos = make_inspection_images(5, 1, 0, image_size=32)
detector = PaDiMDetector("resnet18", ["layer1"], 5, weights=None, image_size=32, false_alarm_rate=0.5)
detector.fit(photos.X_train)
X = [photos.X_test[0], Image.fromarray(photos.X_test[0])]
expected = detector.score_samples(X)
held, over = threading.Event(), threading.Event()
locks = [found for found in gc.get_objects() if isinstance(found, ForkSafeLock)]

def hold_all():
    with contextlib.ExitStack() as stack:
        for lock in locks:
            stack.enter_context(lock)
        held.set()
        over.wait()

def score():
    assert np.array_equal(detector.score_samples(X), expected)

thread = threading.Thread(target=hold_all)
thread.start()
held.wait()
ends = forked(score)
over.set()
thread.join()
print(len(locks), ends)
"""
)

_WHILE_A_THREAD_SCORES = (
    _CHILDREN
    + """
import threading
import torch
from skpadim import PaDiMDetector
from skpadim.datasets import make_inspection_images

torch.set_num_threads(1)
photos = make_inspection_images(5, 1, 0, image_size=32)
detector = PaDiMDetector("resnet18", ["layer1"], 5, weights=None, image_size=32, false_alarm_rate=0.5)
detector.fit(photos.X_train)
over = threading.Event()

def score():
    detector.score_samples(photos.X_test)

def score_on():
    while not over.is_set():
        score()

thread = threading.Thread(target=score_on)
thread.start()
ends = []
for _ in range(6):
    time.sleep(0.005)
    ends.append(forked(score))
over.set()
thread.join()
print(*ends)
"""
)


@forks
def test_a_forked_child_scores_while_a_thread_of_its_parent_holds_every_lock():
    n_locks, end = in_a_process(_WHILE_LOCKS_ARE_HELD)
    assert end == "0"
    assert int(n_locks) >= 4  # the network's, the image objects', the ranges', the switches of precision


@forks
def test_a_forked_child_scores_while_a_thread_of_its_parent_does():
    assert in_a_process(_WHILE_A_THREAD_SCORES) == ["0"] * 6


def test_no_module_of_the_package_has_a_lock_that_a_child_inherits():
    plain = type(threading.Lock()), type(threading.RLock())
    modules = {name: vars(module) for name, module in sys.modules.items() if name.startswith("skpadim")}
    held = [f"{name}.{key}" for name, found in modules.items() for key in found if type(found[key]) in plain]
    assert held == []


def test_the_lock_is_reentrant_and_keeps_others_out():
    lock, order = ForkSafeLock(), []

    def enter():
        with lock:
            order.append("other")

    other = threading.Thread(target=enter)
    with lock, lock:
        other.start()
        other.join(0.05)
        order.append("first")
    other.join()
    assert order == ["first", "other"]


_WHILE_SWITCHES_ARE_TURNED = (
    _CHILDREN
    + """
import torch
from skpadim.base.devices import own_precision

switch = torch.backends.mkldnn.conv

def see():
    assert switch.fp32_precision == "bf16"
    with own_precision(torch.device("cpu")):
        assert switch.fp32_precision == "ieee"
    assert switch.fp32_precision == "bf16"

switch.fp32_precision = "bf16"
with own_precision(torch.device("cpu")):
    ends = forked(see)
see()
print(ends)
"""
)


@forks
def test_switches_of_precision_stand_in_a_child_as_the_application_set_them():
    assert in_a_process(_WHILE_SWITCHES_ARE_TURNED) == ["0"]

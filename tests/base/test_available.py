"""What the system says is there, from files as Linux writes them."""

from __future__ import annotations

import platform
import sys

import pytest
import torch

from skpadim.base.available import available_bytes, give_back_freed, host_bytes

GB = 2**30


@pytest.fixture
def root(tmp_path):
    """A machine with 10 GB to be had."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(
        f"MemTotal: {16 * 2**20} kB\nMemFree:  100 kB\nMemAvailable:   {10 * 2**20} kB\nSwapFree: 0 kB\n"
    )
    return tmp_path


def unified(root, group, limit, usage, cached=0):
    folder = root / "sys/fs/cgroup" / group
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon 5\nfile 7\ninactive_file {cached}\nactive_file 0\n")


def test_a_machine_without_groups(root):
    assert host_bytes(root) == 10 * GB
    with (root / "proc/meminfo").open("a") as file:
        file.write("SwapFree: 1024 kB\n")
    assert host_bytes(root) == 10 * GB + 2**20


def test_limits_of_unified_groups(root):
    (root / "proc/self/cgroup").write_text("0::/outer/inner\n")
    unified(root, "outer/inner", "max", 1 * GB)
    assert host_bytes(root) == 10 * GB
    unified(root, "outer", 4 * GB, 3 * GB, cached=GB // 2)
    assert host_bytes(root) == 3 * GB // 2
    unified(root, "outer/inner", 2 * GB, 1 * GB)
    assert host_bytes(root) == 1 * GB
    unified(root, "outer/inner", 1 * GB, 2 * GB)
    assert host_bytes(root) == 0


def test_groups_as_a_container_sees_them(root):
    """The path is the host's, the files are those of the container."""
    (root / "proc/self/cgroup").write_text("0::/docker/abc\n")
    unified(root, "", 3 * GB, 1 * GB)
    assert host_bytes(root) == 2 * GB


def test_limits_of_legacy_groups(root):
    (root / "proc/self/cgroup").write_text("9:name=systemd:/\n4:cpu,memory:/job\n1:cpu:/\n0::/\n")
    folder = root / "sys/fs/cgroup/memory/job"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(f"{3 * GB}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{2 * GB}\n")
    (folder / "memory.stat").write_text(
        f"inactive_file 1\ntotal_inactive_file {GB}\ntotal_active_file {GB // 4}\n"
    )
    (folder.parent / "memory.limit_in_bytes").write_text(f"{2**63 - 4096}\n")
    (folder.parent / "memory.usage_in_bytes").write_text(f"{9 * GB}\n")
    assert host_bytes(root) == 9 * GB // 4


def test_nobody_knows(tmp_path):
    assert host_bytes(tmp_path) is None
    assert available_bytes(torch.device("meta")) is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody knows")
def test_here():
    assert 2**20 < available_bytes(torch.device("cpu")) < 2**50


def test_what_torch_holds_unused_on_a_gpu_is_there(monkeypatch):
    asked = []

    def say(value):
        return lambda device: asked.append(device) or value

    monkeypatch.setattr(torch.cuda, "mem_get_info", say((5 * GB, 80 * GB)))
    monkeypatch.setattr(torch.cuda, "memory_reserved", say(3 * GB))
    monkeypatch.setattr(torch.cuda, "memory_allocated", say(1 * GB))
    assert available_bytes(torch.device("cuda:1")) == 7 * GB
    assert set(asked) == {torch.device("cuda:1")}


def resident():
    """Return how many bytes of this process are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory so")
def test_what_was_freed_goes_back_to_the_system():
    blocks = [bytearray(b"x") * 2**16 for _ in range(3200)]  # each below what glibc maps by itself
    held = resident()
    del blocks[:-1]  # the last keeps what lies below it from being given back at once
    give_back_freed()
    assert resident() < held - 150e6


def test_elsewhere_nothing_is_given_back(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda _name: object())
    give_back_freed()

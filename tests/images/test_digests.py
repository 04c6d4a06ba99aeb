"""Digests: what is the same has the same, and what differs another, whatever its name."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest

from skpadim.images import digests
from skpadim.images.digests import digest, file_digest

ARRAY = np.arange(12, dtype=np.int32).reshape(3, 4)

OTHERS = [
    (b"ab", b"c"),
    (b"a", b"bc"),
    (b"abc",),
    ("abc",),
    (1,),
    (1.0,),
    ("1",),
    (None,),
    (),
    (ARRAY,),
    (ARRAY.T,),
    (ARRAY.reshape(4, 3),),
    (ARRAY.astype(np.int64),),
    (ARRAY.view(np.float32),),
    (ARRAY.tobytes(),),
    (ARRAY[:0],),
]


def test_what_differs_in_anything_has_another():
    assert len({digest(*parts) for parts in OTHERS}) == len(OTHERS)


@pytest.mark.parametrize(
    "same", [ARRAY.copy(), np.asfortranarray(ARRAY), np.repeat(ARRAY, 2, axis=0)[::2], ARRAY[::-1][::-1]]
)
def test_memory_layout_does_not_decide(same):
    assert digest("a", same) == digest("a", ARRAY)


def test_of_a_file_is_that_of_its_content(tmp_path):
    for name, content in [("a", b"one"), ("b", b"two"), ("c", b"one")]:
        (tmp_path / name).write_bytes(content)
        assert file_digest(tmp_path / name) == hashlib.sha256(content).hexdigest()
        assert file_digest(str(tmp_path / name)) == file_digest(tmp_path / name)


def test_file_rewritten_in_a_tick_is_read_again(tmp_path):
    path = tmp_path / "photo"
    for number in range(20):
        content = bytes([number])  # all of one size
        path.write_bytes(content)
        assert file_digest(path) == hashlib.sha256(content).hexdigest()


def test_file_that_did_not_change_is_read_once(tmp_path, monkeypatch):
    read, original = [], hashlib.file_digest

    def counted(file, name):
        read.append(file.name)
        return original(file, name)

    monkeypatch.setattr(digests, "_TICK_NS", 0)  # as if it had been written long ago
    monkeypatch.setattr(hashlib, "file_digest", counted)
    path = tmp_path / "photo"
    path.write_bytes(b"content")
    assert len({file_digest(path) for _ in range(3)}) == 1
    assert len(read) == 1
    os.utime(path, (1, 1))
    file_digest(path)
    assert len(read) == 2

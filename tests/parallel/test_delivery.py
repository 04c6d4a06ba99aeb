"""What all tasks need is packed once, and unpacked once where it arrives."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from joblib import parallel_config
from joblib.parallel import get_active_backend

from skpadim.parallel import delivery
from skpadim.parallel.delivery import InMemory, Parcel, delivered


def backend_of(name):
    with parallel_config(backend=name):
        return get_active_backend()[0]


@pytest.fixture(autouse=True)
def empty_handed(monkeypatch):
    monkeypatch.setattr(delivery, "_kept", type(delivery._kept)())


def test_threads_share_it_as_it_is():
    content = object()
    with delivered(content, backend_of("threading")) as (parcel, place):
        assert isinstance(parcel, InMemory) and parcel.take(place) is content


def test_processes_read_it_from_a_file_that_is_gone_afterwards():
    content = {"rows": np.arange(5)}
    with delivered(content, backend_of("loky")) as (parcel, place):
        assert parcel.take(place) is content  # here it need not be unpacked
        with open(place, "rb") as file:
            np.testing.assert_array_equal(pickle.load(file)["rows"], content["rows"])
    assert not os.path.exists(place)


def test_a_parcel_at_hand_is_not_opened_again():
    parcel = Parcel("a key")
    place = np.frombuffer(pickle.dumps([1, 2]), dtype=np.uint8)
    first = parcel.take(place)
    assert first == [1, 2]
    assert parcel.take("no such file") is first
    for other in ("b", "c"):
        Parcel(other).take(place)
    with pytest.raises(FileNotFoundError):
        parcel.take("no such file")  # two are kept, and two came after it

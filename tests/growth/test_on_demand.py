"""Attributes that are worked out when they are asked for, once, whoever asks."""

from __future__ import annotations

import threading
import time

import pytest

from skpadim.growth.on_demand import OnDemand, carried, drop_carried, drop_learned, learned_names


class Estimator:
    answer_ = OnDemand()

    def __init__(self, growing=None):
        self.n_calls = 0
        if growing is not None:
            self._growing = growing

    def _catch_up(self):
        self.n_calls += 1
        time.sleep(0.01)
        self.answer_ = self._growing * 2


class Heir(Estimator):
    more_ = OnDemand()


def test_worked_out_once_until_it_is_dropped():
    estimator = Estimator(21)
    assert (estimator.answer_, estimator.answer_, estimator.n_calls) == (42, 42, 1)
    estimator._growing = 4
    drop_learned(estimator)
    assert (estimator.answer_, estimator.n_calls) == (8, 2)


def test_own_values_come_first():
    estimator = Estimator()
    estimator.answer_ = 5
    assert (estimator.answer_, estimator.n_calls) == (5, 0)


def test_what_carries_nothing_lacks_it_as_any_object_would():
    with pytest.raises(AttributeError, match="'Estimator' object has no attribute 'answer_'"):
        _ = Estimator().answer_
    assert not hasattr(Estimator(), "answer_")


def test_threads_let_one_of_them_work():
    estimator, found = Estimator(21), []
    threads = [threading.Thread(target=lambda: found.append(estimator.answer_)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, estimator.n_calls) == ([42] * 8, 1)


def test_names_are_those_of_all_classes():
    assert learned_names(Heir) == {"answer_", "more_"}
    assert learned_names(int) == set()


def test_what_is_carried():
    estimator = Estimator(1)
    assert carried(estimator) == 1
    drop_carried(estimator)
    assert carried(estimator) is None
    drop_carried(estimator)

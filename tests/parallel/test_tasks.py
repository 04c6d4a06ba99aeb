"""Tasks over joblib's backends: each counts once, and what all need travels once."""

from __future__ import annotations

import pytest
from joblib import parallel_config

from skpadim.parallel.delivery import refuse_workers_without
from skpadim.parallel.partition import part_size
from skpadim.parallel.tasks import jobs_at_hand, run_tasks
from workers import Logged, dies, dies_once, fails, missing, square

LOCAL = ["loky", "threading", "dask"]


@pytest.mark.parametrize("in_rounds", [False, True])
@pytest.mark.parametrize("engine", LOCAL, indirect=True)
def test_every_task_is_done_once_and_each_worker_unpacks_once(engine, in_rounds, tmp_path):
    shared = Logged(str(tmp_path / "log"))
    with engine():
        found = list(run_tasks(square, shared, range(20), 2, in_rounds=in_rounds))
    assert sorted(found) == [(number, number**2) for number in range(20)]
    if in_rounds:
        assert found == sorted(found)
    log = tmp_path / "log"
    processes = log.read_text().split() if log.exists() else []
    assert len(processes) == len(set(processes)) <= 2


@pytest.mark.parametrize("engine", LOCAL, indirect=True)
def test_rounds_begin_no_more_tasks_than_are_near(engine, tmp_path):
    begun = []

    def tasks():
        for number in range(100):
            begun.append(number)
            yield number

    with engine():
        done = run_tasks(square, Logged(str(tmp_path / "log")), tasks(), 2, in_rounds=True)
        next(done)
        assert len(begun) <= 9
        done.close()


@pytest.mark.parametrize("engine", LOCAL, indirect=True)
def test_errors_of_tasks_come_through(engine):
    with engine(), pytest.raises(ValueError, match=r"number . is none"):
        list(run_tasks(fails, None, range(3), 2))


@pytest.mark.parametrize("engine", ["loky", "dask"], indirect=True)
def test_files_that_a_machine_lacks_are_named_with_the_machine(engine):
    with engine(), pytest.raises(ValueError, match=r"X\[7\] \('/no/such.png'\) .* So it is on \S+, whose"):
        list(run_tasks(missing, None, ["/no/such.png"], 2))


@pytest.mark.parametrize("in_rounds", [False, True])
@pytest.mark.parametrize("engine", ["loky", "dask", "ray"], indirect=True)
def test_tasks_of_a_dead_worker_are_done_again(engine, in_rounds, tmp_path):
    flag = tmp_path / "flag"
    with engine():
        found = list(run_tasks(dies_once, str(flag), range(20), 2, in_rounds=in_rounds))
    assert flag.exists()
    assert sorted(found) == [(number, number) for number in range(20)]


def test_a_task_that_kills_every_worker_ends_it():
    with parallel_config(backend="loky"), pytest.raises(RuntimeError, match="3 times workers died"):
        list(run_tasks(dies, None, range(5), 2))


def test_workers_without_a_package_are_named(cluster):
    with parallel_config(backend="dask") as context:
        refuse_workers_without("skpadim", context["backend"])
        with pytest.raises(ImportError, match=r"2 of 2 workers .* lack the package unheard_of: tcp://"):
            refuse_workers_without("unheard_of", context["backend"])


def test_jobs_mean_what_they_do_in_scikit_learn(cluster):
    assert (jobs_at_hand(None), jobs_at_hand(1), jobs_at_hand(3)) == (1, 1, 3)
    assert jobs_at_hand(-1) >= 1
    with parallel_config(backend="loky", n_jobs=3):
        assert jobs_at_hand(None) == 3
    with parallel_config(backend="dask"):
        assert jobs_at_hand(None) == 2
    with pytest.raises(ValueError, match="n_jobs=0"):
        jobs_at_hand(0)


@pytest.mark.parametrize("n_images", [1, 31, 32, 33, 1000, 16_384, 10**6, None])
def test_parts_are_whole_batches(n_images):
    size = part_size(n_images, 32)
    assert size % 32 == 0 and 32 <= size <= 1024

"""Engines that run once for all tests."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest
from joblib import parallel_config

from fits import PARAMS
from skpadim import PhotoLoader
from small import small
from workers import drawn


@pytest.fixture(scope="session")
def running_cluster():
    """A Dask cluster of two worker processes, which talk by TCP."""
    distributed = pytest.importorskip("distributed")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, protocol="tcp://", dashboard_address=":0"
        ) as running,
        distributed.Client(running) as client,
    ):
        yield client


@pytest.fixture
def cluster(running_cluster):
    """The cluster, with both of its workers, though a test before may have killed one."""
    running_cluster.wait_for_workers(2)
    return running_cluster


@pytest.fixture(scope="session")
def ray():
    """A Ray of two processors on this machine."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    from ray.util.joblib import register_ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Memory that other processes of this machine take is no reason to kill workers.
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join([str(Path(tests).parent), tests])
    on_terminate = signal.getsignal(signal.SIGTERM)
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )
    # Ray takes SIGTERM for itself, and the tests would go on.
    signal.signal(signal.SIGTERM, on_terminate)
    register_ray()
    yield ray
    ray.shutdown()


@pytest.fixture
def engine(request):
    """Return a context in which joblib works by a backend, which tests name as their parameter."""
    name = request.param
    if name in ("dask", "ray"):
        request.getfixturevalue("cluster" if name == "dask" else name)

    @contextmanager
    def context():
        with parallel_config(backend=name, n_jobs=2):
            yield

    return context


@pytest.fixture(scope="session")
def loader():
    """Photos that a function draws."""
    return PhotoLoader(range(50), drawn)


@pytest.fixture(scope="session")
def alone(loader):
    """A detector that one process fitted on them."""
    return small(n_jobs=1, **PARAMS).fit(loader)

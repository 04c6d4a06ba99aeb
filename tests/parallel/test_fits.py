"""Fits in parts: what one process learns, whoever works on it, and though somebody dies."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_array_equal
from PIL import Image

from fits import PARAMS, assert_same
from skpadim import PhotoLoader
from small import small
from workers import drawn


@pytest.mark.parametrize("engine", ["loky", "threading", "dask", "ray"], indirect=True)
def test_fit_is_that_of_one_process(engine, loader, alone):
    with engine():
        assert_same(small(**PARAMS).fit(loader), alone)


def test_bits_do_not_depend_on_the_number_of_jobs(loader):
    with parallel_config(backend="threading"):
        two, three = (small(n_jobs=n_jobs, **PARAMS).fit(loader) for n_jobs in (2, 3))
    for mine, theirs in zip(two.pipeline_[-1].whitening_, three.pipeline_[-1].whitening_, strict=True):
        assert_array_equal(mine, theirs)
    assert_array_equal(two.loo_scores_, three.loo_scores_)


def test_partial_fits_are_shared_out(loader, alone):
    detector = small(n_jobs=2, **PARAMS)
    with parallel_config(backend="threading"):
        detector.partial_fit(loader[:24]).partial_fit(loader[24:])
    assert_same(detector, alone)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_photos_of_which_nobody_knows_how_many(n_jobs, loader, alone):
    detector = small(n_jobs=n_jobs, **PARAMS).fit(drawn(seed) for seed in loader.items)
    assert_same(detector, alone)


def test_bag_of_paths(cluster, tmp_path):
    import dask.bag

    paths = [str(tmp_path / f"{seed}.png") for seed in range(25)]
    for seed, path in enumerate(paths):
        Image.fromarray(drawn(seed)).save(path)
    bag = dask.bag.from_sequence(paths, partition_size=9)
    assert_same(small(n_jobs=2, **PARAMS).fit(bag), small(**PARAMS).fit(paths))


@pytest.fixture
def files(tmp_path):
    """Photos, the last a copy of the first, one no photo, all in few greys."""
    paths = [tmp_path / f"{seed:02}.png" for seed in range(50)]
    for seed, path in enumerate(paths):
        Image.fromarray(drawn(seed if seed < 49 else 0) // 16 + 100).save(path)
    paths[33].write_bytes(b"no photo")
    return paths


@pytest.mark.parametrize("arriving", [False, True])
def test_warnings_are_those_of_one_process(arriving, files):
    told = []
    for n_jobs in (1, 2):
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            detector = small(on_error="skip", n_jobs=n_jobs, **PARAMS).fit(iter(files) if arriving else files)
        told.append([str(each.message) for each in record])
        assert list(detector.skipped_) == [33]
    assert told[0] == told[1]
    assert any(f"X[49] ({str(files[49])!r}) of X[0] ({str(files[0])!r})" in text for text in told[1])
    assert any("1 of 50 images in X could not be read" in text for text in told[1])
    assert any("use 0.0" in text and "of their range" in text for text in told[1])


@pytest.mark.parametrize("arriving", [False, True])
def test_errors_name_the_photo(arriving, files):
    detector = small(n_jobs=2, **PARAMS)
    # An error makes loky begin new processes.
    with (
        parallel_config(backend="threading"),
        pytest.raises(ValueError, match=r"X\[33\] \('.*33.png'\) cannot be read"),
    ):
        detector.fit(iter(files) if arriving else files)
    assert not hasattr(detector, "pipeline_")


def test_callbacks_see_every_part(loader):
    from sklearn.callback import ProgressBar

    small(n_jobs=2, **PARAMS).set_callbacks(ProgressBar()).fit(loader)


def test_tensors_take_no_more_along_than_their_part():
    import pickle

    import torch

    from skpadim.images.collection import check_images

    X = torch.zeros(64, 3, 32, 32, dtype=torch.uint8)
    for images in (check_images(X), check_images(list(X))):
        assert len(pickle.dumps(images.part(4, 8))) < X.nbytes / 8


def test_too_few_photos_of_an_iterator():
    with pytest.raises(ValueError, match="at least 3"):
        small().fit(iter([np.zeros((32, 32, 3), np.uint8)]))


def test_fit_in_parts_goes_on_from_its_checkpoint(loader, alone, tmp_path):
    """Interrupted near its end, it then reads the photos that are left, and two batches to tell them."""
    read, stopped = [], []

    def load(path):
        seed = int(path)
        read.append(seed)
        if seed == 48 and not stopped:
            stopped.append(seed)
            wait_for_checkpoint(tmp_path / "checkpoint.npz", 20)
            raise KeyboardInterrupt
        return drawn(seed)

    # By their names, so that those learned are not all looked at again.
    photos = PhotoLoader([str(seed) for seed in loader.items], load)
    detector = small(n_jobs=2, checkpoint=tmp_path, checkpoint_every=2, **PARAMS)
    with parallel_config(backend="threading"):
        with pytest.raises(KeyboardInterrupt):
            detector.fit(photos)
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.npz"]
        read.clear()
        detector.fit(photos)
    assert len(read) <= 50 - 20 + 2 * PARAMS["batch_size"]
    assert 49 in read and not list(tmp_path.iterdir())
    assert_same(detector, alone)


def wait_for_checkpoint(path, n_photos):
    """Wait until so many photos are in a checkpoint, which another thread writes."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if path.is_file():
            with np.load(path) as arrays:
                if arrays["n_done"] >= n_photos:
                    return
        time.sleep(0.01)
    raise AssertionError(f"no checkpoint of {n_photos} photos in a minute")


def test_an_iterator_has_no_checkpoints(loader, tmp_path):
    with pytest.raises(ValueError, match="X is read only once: pass a list"):
        small(checkpoint=tmp_path).fit(iter([drawn(1)]))

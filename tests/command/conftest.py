"""A folder of photos and a model of them, made once."""

from __future__ import annotations

import shutil

import pytest

from commands import run
from skpadim.datasets import make_inspection_images
from skpadim.model_file import load_model


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """Folder of photos in the layout of MVTec AD: nobody writes to it."""
    folder = tmp_path_factory.mktemp("drawn")
    make_inspection_images(24, 5, 8, image_size=64, folder=folder)
    return folder


@pytest.fixture(scope="session")
def model_path(drawn, tmp_path_factory):
    """Model file that the command wrote: nobody writes to it."""
    path = tmp_path_factory.mktemp("model") / "line3.skpadim"
    run("fit", drawn, "-o", path, "--image-size", "64", "--jobs", "1", "--false-alarm-rate", "0.1")
    return path


@pytest.fixture
def model(model_path):
    return load_model(model_path)


@pytest.fixture
def parts(drawn, tmp_path):
    """A copy of the folder, to write to."""
    return shutil.copytree(drawn, tmp_path / "parts")

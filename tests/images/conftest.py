"""Fixtures of the images wing."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from reading import SIZE, draw
from skpadim.images import dicom, formats, tiff


@pytest.fixture
def files(tmp_path) -> list[Path]:
    paths = []
    for index in range(20):
        paths.append(tmp_path / f"{index:02}.png")
        Image.fromarray(draw(*SIZE, 3, seed=index)).save(paths[-1])
    return paths


@pytest.fixture
def without_formats(monkeypatch):
    for module in (formats, tiff, dicom):
        monkeypatch.setattr(module, "formats_installed", lambda: False)

"""The extra formats: found by its packages, and named where it is lacking."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from skpadim.images import extras

PACKAGES = ("tifffile", "imagecodecs", "pydicom")


def test_the_extra_is_found_by_its_packages(monkeypatch):
    for package in PACKAGES:
        pytest.importorskip(package)
    extras.formats_installed.cache_clear()
    assert extras.formats_installed()
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "pydicom" else object())
    extras.formats_installed.cache_clear()
    assert not extras.formats_installed()
    extras.formats_installed.cache_clear()


def test_its_packages_are_those_that_the_project_declares():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    declared = project["optional-dependencies"]["formats"]
    assert sorted(re.match(r"[\w-]+", requirement)[0] for requirement in declared) == sorted(extras._PACKAGES)


def test_what_is_lacking_says_how_to_install_it():
    command = "pip install 'skpadim[formats]'"
    error = extras.needs_formats("it is a DICOM file")
    assert isinstance(error, ValueError)
    for text in (str(error), extras.lost_without_formats("the low 8 of 16 bits")):
        assert text.startswith(("it is a DICOM file", "the low 8 of 16 bits"))
        assert command in text

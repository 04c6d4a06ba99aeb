"""What the extra `formats` brings (tifffile, imagecodecs and pydicom), and what to say without it."""

from __future__ import annotations

import functools
from importlib.util import find_spec

_PACKAGES = ("tifffile", "imagecodecs", "pydicom")
_INSTALL = "pip install 'skpadim[formats]'"


@functools.cache
def formats_installed() -> bool:
    """Return whether the extra's packages are there; none is imported."""
    return all(find_spec(package) for package in _PACKAGES)


def needs_formats(what: str) -> ValueError:
    """Return the error for what only the extra reads.

    Parameters
    ----------
    what : str
        What the file is, as in "it is a DICOM file".
    """
    return ValueError(f"{what}, which only the extra formats reads: {_INSTALL}.")


def lost_without_formats(what: str) -> str:
    """Say what is lost without the extra."""
    return f"{what}: the extra formats keeps all bits, {_INSTALL}"

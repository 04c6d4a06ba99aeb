"""Detectors that were fitted by other programs: anomalib's PaDiM, and the first public implementation's."""

from .anomalib import from_anomalib
from .first_reference import from_first_reference

__all__ = ["from_anomalib", "from_first_reference"]

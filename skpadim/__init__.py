"""skpadim: PaDiM as scikit-learn estimators. Learn good parts from photos, find defects, show where.

What is public is imported when it is first asked for: importing torch takes seconds, and ``skpadim --help``
needs none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .alignment.aligner import PartAligner
    from .channels import RandomChannelSelector
    from .detector import PaDiMDetector
    from .features import CNNFeatureTransformer
    from .gaussian import PatchGaussian
    from .growth.merging import merge
    from .images.loader import PhotoLoader
    from .plotting import AnomalyMapDisplay, ScoreDisplay
    from .projections import PCAChannelReducer, SemiOrthogonalProjection
    from .pyramid import FeaturePyramid

__version__ = "0.1.0"

__all__ = [
    "AnomalyMapDisplay",
    "CNNFeatureTransformer",
    "FeaturePyramid",
    "PCAChannelReducer",
    "PaDiMDetector",
    "PartAligner",
    "PatchGaussian",
    "PhotoLoader",
    "RandomChannelSelector",
    "ScoreDisplay",
    "SemiOrthogonalProjection",
    "merge",
]

_ROOMS = {
    "AnomalyMapDisplay": "plotting",
    "CNNFeatureTransformer": "features",
    "FeaturePyramid": "pyramid",
    "PCAChannelReducer": "projections",
    "PaDiMDetector": "detector",
    "PartAligner": "alignment.aligner",
    "PatchGaussian": "gaussian",
    "PhotoLoader": "images.loader",
    "RandomChannelSelector": "channels",
    "ScoreDisplay": "plotting",
    "SemiOrthogonalProjection": "projections",
    "merge": "growth.merging",
}


def __getattr__(name: str) -> Any:
    """Import what is public when it is first asked for."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(import_module(f".{_ROOMS[name]}", __name__), name)
    return globals()[name]


def __dir__() -> list[str]:
    """Name what is public before it is imported, too."""
    return sorted({*globals(), *__all__})

"""skpadim: PaDiM as scikit-learn estimators. Learn good parts from photos, find defects, show where."""

from .channels import RandomChannelSelector
from .detector import PaDiMDetector
from .features import CNNFeatureTransformer
from .gaussian import PatchGaussian
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
    "PatchGaussian",
    "RandomChannelSelector",
    "ScoreDisplay",
    "SemiOrthogonalProjection",
]

"""Pictures of what a detector finds and why, in scikit-learn's Display style; drawing needs matplotlib."""

from .maps import AnomalyMapDisplay
from .scores import ScoreDisplay

__all__ = ["AnomalyMapDisplay", "ScoreDisplay"]

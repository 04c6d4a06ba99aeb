"""Pictures of what a detector finds and why: displays in scikit-learn's style, and PIL images."""

from .maps import AnomalyMapDisplay
from .overlays import map_colours, overlay, photo_image
from .scores import ScoreDisplay

__all__ = ["AnomalyMapDisplay", "ScoreDisplay", "map_colours", "overlay", "photo_image"]

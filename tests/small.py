"""A detector on which a fit takes a moment."""

from __future__ import annotations

from skpadim import PaDiMDetector


def small(**params):
    """Return one with these parameters, unfitted."""
    defaults = {"weights": None, "image_size": 64, "layers": ("layer1", "layer2"), "n_channels": 12}
    return PaDiMDetector(**(defaults | params))

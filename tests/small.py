"""A detector on which a fit takes a moment."""

from __future__ import annotations

from skpadim import PaDiMDetector


def small(**params):
    """Return one with these parameters, unfitted."""
    defaults = {
        "backbone": "resnet18",
        "weights": None,
        "image_size": 64,
        "layers": ("layer1", "layer2"),
        "n_channels": 12,
        "epsilon": 0.01,
    }
    return PaDiMDetector(**(defaults | params))

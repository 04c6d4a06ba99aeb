"""Features whose variances are very unequal, and the memory that leaving some out takes."""

from __future__ import annotations

import numpy as np
import torch

LAYER_SETS = {
    "one": [(1.0, 2, 3)],
    "dividing": [(0.6, 1, 1), (0.3, 2, 2), (0.1, 4, 4)],
    "not dividing": [(0.4, 2, 1), (0.6, 3, 4)],
}


def draw_levels(n_images, n_channels, layers, scale, seed):
    """Draw float32 features, far from zero, with very unequal variances, as networks give them."""
    rng = np.random.default_rng(seed)
    levels = []
    for share, height, width in layers:
        channels = max(1, round(share * n_channels))
        features = rng.normal(size=(n_images, channels, height, width))
        features *= scale * rng.exponential(size=(channels, 1, 1))
        mixing = rng.normal(size=(channels, channels)) / np.sqrt(channels)
        mixed = np.einsum("ncij,dc->ndij", features, mixing) + 3 * scale
        levels.append(torch.from_numpy(mixed.astype(np.float32)))
    return levels


def peak_bytes(profile):
    """Return the largest total of tensors alive at once, as the profiler saw them."""
    sizes = [
        event.nbytes()
        for event in sorted(
            (e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"),
            key=lambda event: event.start_ns(),
        )
    ]
    return int(np.cumsum(sizes).max())

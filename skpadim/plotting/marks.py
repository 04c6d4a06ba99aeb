"""What is drawn over a photo by matplotlib: outlines, hatches, and what explains them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .overlays import opacity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, ListedColormap

MARKED: dict[str, Any] = {"color": "black", "linestyle": "-"}
DEFECT: dict[str, Any] = {"color": "black", "linestyle": ":"}
HATCH = "xxx"


def draw_outline(axes: Axes, mask: NDArray[np.bool_], width: float, color: str, linestyle: str) -> None:
    """Draw a line of so many points around each region of a mask."""
    if mask.any():  # matplotlib warns of a contour of nothing.
        lines = axes.contour(
            *_padded(mask), levels=[0.5], colors=color, linestyles=linestyle, linewidths=width
        )
        _with_halo(lines, width)


def hatch(axes: Axes, mask: NDArray[np.bool_]) -> None:
    """Hatch the pixels of a mask."""
    if mask.any():
        axes.contourf(*_padded(mask), levels=[0.5, 1.5], colors="none", hatches=[HATCH])


def legend_handles(
    segments: Sequence[NDArray[Any]], masks: Sequence[NDArray[Any]], maps: Sequence[NDArray[Any]]
) -> list[Any]:
    """Return the entries of a legend, of what is there to see and no more."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    if any(single.any() for single in segments):
        handles.append(_with_halo(Line2D([], [], label="marked as anomalous", **MARKED), 1.5))
    if any(single.any() for single in masks):
        handles.append(_with_halo(Line2D([], [], label="true defect", **DEFECT), 1.5))
    if any(np.isnan(single).any() for single in maps):
        handles.append(Patch(facecolor="none", hatch=HATCH, label="not looked at"))
    return handles


def over_grey(cmap: str | Colormap, alpha: float) -> ListedColormap:
    """Return the colours that a map has over middle grey."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap

    positions = np.linspace(0, 1, 256)
    weights = alpha * opacity(positions)[:, None]
    return ListedColormap(weights * plt.get_cmap(cmap)(positions)[:, :3] + (1 - weights) * 0.5)


def _with_halo(line: Any, width: float) -> Any:
    """Edge a line in white, for photos as dark as the line."""
    from matplotlib.patheffects import withStroke

    line.set(path_effects=[withStroke(linewidth=width + 2, foreground="white")])
    return line


def _padded(mask: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return x, y and values of a mask with a margin, so that outlines close at the photo's border."""
    height, width = mask.shape
    return np.arange(-1, width + 1), np.arange(-1, height + 1), np.pad(mask.astype(float), 1)

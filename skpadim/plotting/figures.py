"""Figures: pairs of axes in a grid that suits a page, and a figure as a PIL image."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.gridspec import GridSpecBase
    from PIL.Image import Image

# Up to so many photos, so many in a row, each cell so many inches wide.
_ROWS = ((3, 1, 3.2), (8, 2, 2.2), (24, 3, 1.7), (np.inf, 4, 1.5))
_GAP = 0.15  # between pairs, in widths of a cell
_TITLES = 0.55  # inches
_MARGINS = (1.2, 0.9)  # inches, of the colour bar and of legend and caption
_NARROWEST = 3.0  # Photos narrower than 1 : 3 are drawn narrower than their cell.


def make_pairs(ax: Any, ratios: list[float]) -> NDArray[np.object_]:
    """Return a pair of axes for each photo, side by side, in rows of one to four pairs.

    Parameters
    ----------
    ax : Axes, ndarray of shape (n_images, 2) of Axes, or None
        Where to draw; a single Axes is divided. None: a new figure.
    ratios : list of float
        Height over width of each photo.

    Returns
    -------
    ndarray of shape (n_images, 2) of Axes

    Raises
    ------
    ValueError
        If ``ax`` has another shape, or cannot be divided.
    """
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes

    shape = (len(ratios), 2)
    _, n_columns, width = next(row for row in _ROWS if len(ratios) <= row[0])
    cells: dict[str, Any] = {
        "nrows": -(-len(ratios) // n_columns),
        "ncols": 3 * n_columns - 1,
        "width_ratios": ([1, 1, _GAP] * n_columns)[:-1],
        "height_ratios": [
            max(min(ratio, _NARROWEST) for ratio in ratios[first : first + n_columns])
            for first in range(0, len(ratios), n_columns)
        ],
    }
    if ax is None:
        heights = [width * ratio + _TITLES for ratio in cells["height_ratios"]]
        size = (width * sum(cells["width_ratios"]) + _MARGINS[0], sum(heights) + _MARGINS[1])
        figure = plt.figure(figsize=size, layout="constrained")
        axes = _divide(figure, figure.add_gridspec(**cells), shape, n_columns)
    elif isinstance(ax, Axes):
        if (place := ax.get_subplotspec()) is None:
            raise ValueError("ax has a free position and cannot be divided; make it by plt.subplots().")
        ax.set_axis_off()
        axes = _divide(ax.figure, place.subgridspec(**cells), shape, n_columns)
    elif np.shape(ax) == shape or (len(ratios) == 1 and np.size(ax) == 2):
        axes = np.reshape(ax, shape)
    else:
        raise ValueError(f"ax has shape {np.shape(ax)}, expected {shape}: a photo and a map per image.")
    single: Any
    for single in axes.flat:
        single.set(xticks=[], yticks=[])
    return axes


def figure_image(figure: Any, dpi: float) -> Image:
    """Return a figure, the whole one of a part of it, as a PIL image in RGB."""
    from PIL import Image

    file = BytesIO()
    figure.canvas.figure.savefig(file, format="png", dpi=dpi)
    file.seek(0)
    return Image.open(file).convert("RGB")


def _divide(figure: Any, grid: GridSpecBase, shape: tuple[int, int], n_columns: int) -> NDArray[np.object_]:
    axes: NDArray[np.object_] = np.empty(shape, dtype=object)
    for pair, side in np.ndindex(shape):
        row, column = divmod(pair, n_columns)
        axes[pair, side] = figure.add_subplot(grid[row, 3 * column + side])
    return axes

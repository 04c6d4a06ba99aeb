"""From features to distances to anomaly maps.

Bilinear upsampling and Gaussian smoothing are linear and separable, so together they are one matrix per
axis: a map is ``R D C^T``. The matrices are made by the very functions they stand for, torch's and
scipy's, applied to the identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn import functional

from .moments import Blocks
from .prefix import PrefixTree
from .whitening import squared_distances, unpack

# The features of a band's patches, for all images of a batch, stay in a processor's cache.
_BAND_BYTES = 2**21
_NODES_AT_A_TIME = 256


def upsampling_matrix(n_in: int, n_out: int, sigma: float) -> Tensor:
    """Return the (n_out, n_in) float64 matrix of bilinear upsampling followed by Gaussian smoothing.

    Parameters
    ----------
    n_in, n_out : int
        Number of patches and of pixels.
    sigma : float
        Standard deviation in pixels; truncated at 4 sigma, borders as scipy's "reflect". 0: no smoothing.
    """
    identity = torch.eye(n_in, dtype=torch.float64)
    matrix = functional.interpolate(identity[None], size=n_out, mode="linear", align_corners=False)
    smooth = matrix[0].numpy()
    if sigma > 0:
        smooth = gaussian_filter1d(smooth, sigma, axis=1, truncate=4.0, mode="reflect")
    return torch.from_numpy(smooth.T.copy())


@dataclass(frozen=True)
class Scorer:
    """The fitted Gaussians as tensors on a device.

    Attributes
    ----------
    tree : PrefixTree
    means : list of Tensor of shape (height * width, 1, channels)
        Per level, coarse to fine.
    whitening : list of Blocks
        Whitening rows, per depth.
    rows, columns : Tensor of shape (pixels, patches)
        Upsampling and smoothing of each axis.
    patches : Tensor of shape (n_patches,)
        The leaf of every patch of the fine grid.
    """

    tree: PrefixTree
    means: list[Tensor]
    whitening: list[Blocks]
    rows: Tensor
    columns: Tensor
    patches: Tensor

    @classmethod
    def build(
        cls,
        means: Sequence[Tensor],
        whitening: Sequence[Tensor],
        image_size: tuple[int, int],
        sigma: float,
    ) -> Scorer:
        """Lay out fitted Gaussians for scoring, on the device and in the dtype of ``whitening``.

        Parameters
        ----------
        means : sequence of Tensor of shape (channels, height, width)
            Per level, coarse to fine.
        whitening : sequence of Tensor of shape (rows, columns, n_entries)
            Packed whitening rows, per depth.
        image_size : (int, int)
            Height and width in pixels of the maps.
        sigma : float
            Standard deviation in pixels of the smoothing.
        """
        like = whitening[0]
        tree = PrefixTree.from_shapes([(mean.shape[1], mean.shape[2]) for mean in means]).to(like.device)
        channels = [len(mean) for mean in means]
        rows, columns = (
            upsampling_matrix(n_in, n_out, sigma).to(like)
            for n_in, n_out in zip(tree.fine_shape, image_size, strict=True)
        )
        return cls(
            tree,
            [_by_cell(mean.to(like)[None]) for mean in means],
            [
                _unpack(packed.flatten(0, 1), index, own, sum(channels[:depth]))
                for depth, (packed, index, own) in enumerate(
                    zip(whitening, tree.distinct, channels, strict=True)
                )
            ],
            rows,
            columns,
            tree.places(tree.depth - 1),
        )

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the Gaussians."""
        return self.rows.dtype

    def distances(self, levels: Sequence[Tensor]) -> Tensor:
        """Return Mahalanobis distances (n, h, w) of levels (n, c, h, w), coarse to fine."""
        centred = [_by_cell(level) - mean for level, mean in zip(levels, self.means, strict=True)]
        parts = []
        for band in self.tree.bands(centred[-1][0].nbytes, _BAND_BYTES):
            seen = [
                level.index_select(0, cells[nodes])
                for level, cells, nodes in zip(centred, self.tree.cells, band, strict=True)
            ]
            whitening = [rows.band(nodes) for rows, nodes in zip(self.whitening, band, strict=True)]
            parts.append(squared_distances(self.tree, whitening, seen))
        squared = torch.cat(parts).index_select(0, self.patches)
        # Squares of finite features may overflow: without an end, smoothing would make them NaN.
        squared.nan_to_num_(nan=torch.finfo(squared.dtype).max)
        return squared.sqrt_().T.unflatten(1, self.tree.fine_shape)

    def maps(self, distances: Tensor) -> Tensor:
        """Return anomaly maps (n, height, width) of distances (n, h, w)."""
        dtype = distances.dtype
        return self.rows.to(dtype) @ (distances @ self.columns.to(dtype).T)


def _by_cell(level: Tensor) -> Tensor:
    """View a level (n, c, h, w) as (h * w, n, c)."""
    return level.permute(2, 3, 0, 1).flatten(0, 1)


def _unpack(packed: Tensor, index: Tensor, n_own: int, n_above: int) -> Blocks:
    """Unpack the rows of distinct nodes to those of all nodes, a part at a time."""
    parts = [unpack(packed[part], n_own, n_above) for part in index.split(_NODES_AT_A_TIME)]
    cross, own = (torch.cat(blocks) for blocks in zip(*parts, strict=True))
    return Blocks(cross, own)

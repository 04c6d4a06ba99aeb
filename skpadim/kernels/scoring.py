"""From features to distances to anomaly maps.

Bilinear upsampling and Gaussian smoothing are linear and separable, so together they are one matrix per
axis: a map is ``R D C^T``. The matrices are made by the very functions they stand for, torch's and
scipy's, applied to the identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn import functional

from .prefix import Band, PrefixTree, cut_bands
from .whitening import squared_distances

# The gathered features of a band, for a batch of 32 images, stay in a processor's cache.
_BAND_BYTES = 2**21


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
    bands : list of Band
    means : list of Tensor of shape (height, width, channels)
        Per level, coarse to fine.
    whitening : list of Tensor
        Whitening rows, per depth.
    rows, columns : Tensor of shape (pixels, patches)
        Upsampling and smoothing of each axis.
    """

    bands: list[Band]
    means: list[Tensor]
    whitening: list[Tensor]
    rows: Tensor
    columns: Tensor

    @classmethod
    def build(
        cls,
        means: Sequence[Tensor],
        whitening: Sequence[Tensor],
        image_size: tuple[int, int],
        sigma: float,
    ) -> Scorer:
        """Lay out fitted Gaussians for scoring, on the device and in the dtype of ``whitening``."""
        like = whitening[0]
        tree = PrefixTree.from_shapes([(mean.shape[0], mean.shape[1]) for mean in means])
        bytes_per_patch = 4 * 32 * whitening[-1].shape[3]
        bands = [
            replace(band, tree=band.tree.to(like.device))
            for band in cut_bands(tree, bytes_per_patch, _BAND_BYTES)
        ]
        rows, columns = (
            upsampling_matrix(n_in, n_out, sigma).to(like)
            for n_in, n_out in zip(tree.fine_shape, image_size, strict=True)
        )
        return cls(bands, [mean.to(like) for mean in means], list(whitening), rows, columns)

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Height and width of the finest grid of patches."""
        return self.rows.shape[1], self.columns.shape[1]

    def distances(self, levels: Sequence[Tensor]) -> Tensor:
        """Return Mahalanobis distances (n, h, w) of levels (n, c, h, w), coarse to fine."""
        centred = [
            level.to(mean).permute(2, 3, 0, 1) - mean[:, :, None]
            for level, mean in zip(levels, self.means, strict=True)
        ]
        parts = [
            squared_distances(
                band.tree,
                [part[rows] for part, rows in zip(self.whitening, band.node_rows, strict=True)],
                [level[rows] for level, rows in zip(centred, band.level_rows, strict=True)],
            )
            for band in self.bands
        ]
        return torch.cat(parts).sqrt_().permute(2, 0, 1)

    def maps(self, distances: Tensor) -> Tensor:
        """Return anomaly maps (n, height, width) of distances (n, h, w)."""
        dtype = distances.dtype
        return self.rows.to(dtype) @ (distances @ self.columns.to(dtype).T)

    def whitening_of_patch(self, row: int, column: int) -> Tensor:
        """Return the whole inverse Cholesky factor (channels, channels) of a patch of the fine grid."""
        (band,) = (band for band in self.bands if band.fine_rows.start <= row < band.fine_rows.stop)
        factor = self.whitening[-1].new_zeros(2 * (self.whitening[-1].shape[3],))
        row_nodes = zip(band.tree.rows.nodes, band.node_rows, strict=True)
        for part, (rows, covered), columns in zip(
            self.whitening, row_nodes, band.tree.columns.nodes, strict=True
        ):
            own = part[covered][rows[row - band.fine_rows.start], columns[column]]
            factor[own.shape[1] - own.shape[0] : own.shape[1], : own.shape[1]] = own
        return factor

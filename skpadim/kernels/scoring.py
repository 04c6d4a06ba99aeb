"""From features to distances to anomaly maps.

Bilinear upsampling and Gaussian smoothing are linear and separable, so together they are one matrix per
axis: a map is ``R D C^T``. The matrices are made by the very functions they stand for, torch's and
scipy's, applied to the identity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from .moments import Blocks
from .prefix import PrefixTree
from .whitening import squared_distances, unpack

# The features of a band's patches, for all images of a batch, stay in a processor's cache.
_BAND_BYTES = 2**21
_NODES_AT_A_TIME = 256
#: Of photos of more pixels, rows are unpacked as they are used, a band at a time: what is fitted takes
#: gigabytes then, which nobody wants twice, and the network takes far longer than that.
UNPACKED_PIXELS = 2**20
_UNPACKED_BAND_BYTES = 2**22


def upsampling_matrix(n_in: int, n_out: int, sigma: float) -> Tensor:
    """Return the (n_out, n_in) float64 matrix of bilinear upsampling followed by Gaussian smoothing.

    Parameters
    ----------
    n_in, n_out : int
        Number of patches and of pixels.
    sigma : float
        Standard deviation in pixels; truncated at 4 sigma, borders as scipy's "reflect". 0: no smoothing.
    """
    from scipy.ndimage import gaussian_filter1d  # waits until there is something to score

    identity = torch.eye(n_in, dtype=torch.float64)
    matrix = functional.interpolate(identity[None], size=n_out, mode="linear", align_corners=False)
    smooth = matrix[0].numpy()
    if sigma > 0:
        smooth = gaussian_filter1d(smooth, sigma, axis=1, truncate=4.0, mode="reflect")
    return torch.from_numpy(smooth.T.copy())


@dataclass(frozen=True)
class PackedRows:
    """The whitening rows of a depth, packed until a band of them is used.

    Attributes
    ----------
    packed : Tensor of shape (n_distinct_nodes, n_entries)
    index : Tensor of shape (n_nodes,)
        Which of these is whose.
    n_own, n_above : int
        Channels of the depth, and of those above.
    """

    packed: Tensor
    index: Tensor
    n_own: int
    n_above: int

    def band(self, nodes: slice) -> Blocks:
        """Return the rows of some nodes."""
        return unpack(self.packed.index_select(0, self.index[nodes]), self.n_own, self.n_above)

    def unpacked(self) -> Blocks:
        """Return the rows of all nodes."""
        n_nodes = len(self.index)
        whole = Blocks(
            self.packed.new_empty(n_nodes, self.n_own, self.n_above),
            self.packed.new_empty(n_nodes, self.n_own, self.n_own),
        )
        for start in range(0, n_nodes, _NODES_AT_A_TIME):
            nodes = slice(start, start + _NODES_AT_A_TIME)
            for target, part in zip(whole, self.band(nodes), strict=True):
                target[nodes] = part
        return whole

    @property
    def nbytes(self) -> int:
        """Bytes of all rows once they are unpacked."""
        return len(self.index) * self.n_own * (self.n_above + self.n_own) * self.packed.itemsize


@dataclass(frozen=True)
class Scorer:
    """The fitted Gaussians as tensors on a device.

    Attributes
    ----------
    tree : PrefixTree
    means : list of Tensor of shape (height * width, 1, channels)
        Per level, coarse to fine.
    whitening : list of Blocks, or of PackedRows
        Whitening rows, per depth.
    rows, columns : Tensor of shape (pixels, patches)
        Upsampling and smoothing of each axis.
    patches : Tensor of shape (n_patches,)
        The leaf of every patch of the fine grid.
    """

    tree: PrefixTree
    means: list[Tensor]
    whitening: Sequence[Blocks | PackedRows]
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
        packed = [
            PackedRows(part.flatten(0, 1), index, own, sum(channels[:depth]))
            for depth, (part, index, own) in enumerate(zip(whitening, tree.distinct, channels, strict=True))
        ]
        return cls(
            tree,
            [_by_cell(mean.to(like)[None]) for mean in means],
            packed if prod(image_size) > UNPACKED_PIXELS else [part.unpacked() for part in packed],
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
        for band in self._bands(centred[-1][0].nbytes):
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

    def _bands(self, bytes_per_patch: int) -> Iterator[tuple[slice, ...]]:
        packed = [rows for rows in self.whitening if isinstance(rows, PackedRows)]
        if not packed:
            return self.tree.bands(bytes_per_patch, _BAND_BYTES)
        n_patches = self.tree.n_nodes(self.tree.depth - 1)
        rows_per_patch = sum(rows.nbytes for rows in packed) / n_patches
        return self.tree.bands(max(bytes_per_patch, rows_per_patch), _UNPACKED_BAND_BYTES)

    def maps(self, distances: Tensor) -> Tensor:
        """Return anomaly maps (n, height, width) of distances (n, h, w)."""
        dtype = distances.dtype
        return self.rows.to(dtype) @ (distances @ self.columns.to(dtype).T)


def _by_cell(level: Tensor) -> Tensor:
    """View a level (n, c, h, w) as (h * w, n, c)."""
    return level.permute(2, 3, 0, 1).flatten(0, 1)

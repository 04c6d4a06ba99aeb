"""A fitted detector from its parts: a network's weights, the channels kept, and a Gaussian of every patch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from torch import Tensor

from ..detector import PaDiMDetector
from ..features import CNNFeatureTransformer
from ..network.normalisation import Normalisation
from .precisions import PrecisionOf, set_gaussian


@dataclass(frozen=True)
class ForeignNetwork:
    """A network of another program.

    Attributes
    ----------
    name : str
        As ``backbone`` has it.
    layers : tuple of str
    arrays : mapping of str to ndarray
        The weights up to the deepest layer, by the names of ``name``'s trunk.
    normalisation : Normalisation
    """

    name: str
    layers: tuple[str, ...]
    arrays: Mapping[str, NDArray[Any]]
    normalisation: Normalisation


@dataclass(frozen=True)
class ForeignGaussian:
    """Means and inverse covariances of another program, of the patches of the fine grid, row by row.

    Attributes
    ----------
    indices : ndarray of shape (channels,)
        Which channels of the concatenated embedding they are about, in any order.
    mean : Tensor of shape (channels, n_patches)
    precision_of : callable
        From numbers of patches to (n, channels, channels), float64.
    """

    indices: NDArray[np.int64]
    mean: Tensor
    precision_of: PrecisionOf

    def by_embedding(self) -> ForeignGaussian:
        """Return the same, its channels ascending, as skpadim keeps them."""
        order = torch.from_numpy(np.argsort(self.indices))

        def ordered(patches: Tensor) -> Tensor:
            return self.precision_of(patches)[:, order[:, None], order]

        return ForeignGaussian(np.sort(self.indices), self.mean[order], ordered)


def assemble(network: ForeignNetwork, gaussian: ForeignGaussian, **parameters: Any) -> PaDiMDetector:
    """Make a fitted detector, without leave-one-out scores and threshold.

    Parameters
    ----------
    network : ForeignNetwork
    gaussian : ForeignGaussian
    **parameters
        Further ones of the detector: sizes, ``epsilon`` and ``device``.

    Returns
    -------
    PaDiMDetector

    Raises
    ------
    ValueError
        If the parts do not fit each other.
    """
    ordered = gaussian.by_embedding()
    detector = PaDiMDetector(
        network.name, network.layers, len(ordered.indices), normalisation=_pair(network), **parameters
    )
    features, channels, patches = detector._make_steps()
    _set_features(features, network)
    n_channels = [shape[0] for shape in features.level_shapes_]
    _check_indices(ordered.indices, n_channels, network)
    channels.fit_layers(network.layers, n_channels).channel_indices_ = ordered.indices
    kept = channels.by_layer(n_channels)
    shapes = [(len(own), *shape[1:]) for own, shape in zip(kept, features.level_shapes_, strict=True)]
    _check_patches(ordered.mean, shapes, features.input_size_, network)
    set_gaussian(patches, ordered.mean, ordered.precision_of, shapes, features.input_size_)
    steps = Pipeline([("features", features), ("channels", channels), ("gaussian", patches)])
    fitted = {"pipeline_": steps, "loo_indices_": patches.loo_indices_, "skipped_": {}}
    detector.__setstate__(detector.__getstate__() | fitted)
    return detector


def _pair(network: ForeignNetwork) -> tuple[Sequence[float], Sequence[float]]:
    return network.normalisation.mean, network.normalisation.std


def _set_features(features: CNNFeatureTransformer, network: ForeignNetwork) -> None:
    """Set what a fit sets, as a file of it would."""
    resized, size = features._check_sizes()
    fitted = {
        "resized_size_": resized,
        "input_size_": size,
        "backbone_": network.name,
        "layer_names_": network.layers,
        "trunk_arrays_": dict(network.arrays),
        "normalisation_": astuple(network.normalisation),
        "ignored_": None,
    }
    features.__setstate__(features.__getstate__() | fitted)
    features.level_shapes_ = features._fitted_extractor().shapes(size)


def _check_indices(indices: NDArray[np.int64], n_channels: Sequence[int], network: ForeignNetwork) -> None:
    if len(np.unique(indices)) < len(indices) or not 0 <= indices[0] <= indices[-1] < sum(n_channels):
        raise ValueError(
            f"the channels, {len(indices)} between {indices[0]} and {indices[-1]}, are not distinct ones of "
            f"the {sum(n_channels)} that {', '.join(network.layers)} of {network.name} have. Name the "
            "backbone and the layers of the fit."
        )


def _check_patches(
    mean: Tensor, shapes: Sequence[tuple[int, int, int]], size: tuple[int, int], network: ForeignNetwork
) -> None:
    _, height, width = max(shapes, key=lambda shape: shape[1] * shape[2])
    if mean.shape[1] != height * width:
        raise ValueError(
            f"there are Gaussians for {mean.shape[1]} patches, and photos of {size[0]}x{size[1]} pixels have "
            f"{height}x{width} in {', '.join(network.layers)} of {network.name}. Pass the image_size, and "
            "the crop_size, of the fit."
        )

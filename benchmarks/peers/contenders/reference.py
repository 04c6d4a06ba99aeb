"""The formulas that the first public implementation of PaDiM follows, in plain NumPy and SciPy.

All layers of all images are collected, upsampled and concatenated, and the channels chosen then. A patch at a
time: the mean, the covariance plus 0.01 on its diagonal, its inverse, and the distance of image after image.
The inverses belong to the fit here, so that a single image does not pay for them.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import mahalanobis
from torch.nn import functional
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor

from . import shared

EPSILON = 0.01
SIGMA = 4


class Contender(shared.Contender):
    packages = (*shared.Contender.packages, "scipy")

    def fit(self, batches: shared.Batches) -> None:
        network = get_model(self.setting.backbone, weights=None)
        network.load_state_dict(torch.load(self.setting.weights, weights_only=True))
        self.network = create_feature_extractor(network.eval(), list(shared.LAYERS)).to(self.setting.device)
        self.channels = self.setting.channels()
        embedding = self.embed(batches)
        _, n_channels, self.height, self.width = embedding.shape
        patches = embedding.reshape(len(embedding), n_channels, -1)
        self.mean = patches.mean(axis=0)
        self.precision = np.empty((patches.shape[2], n_channels, n_channels))
        for place, precision in enumerate(self.precision):
            covariance = np.cov(patches[:, :, place], rowvar=False) + EPSILON * np.eye(n_channels)
            precision[:] = np.linalg.inv(covariance)

    @torch.inference_mode()
    def embed(self, batches: Iterable[torch.Tensor]) -> np.ndarray:
        outputs = [self.network(batch.to(self.setting.device)) for batch in batches]
        levels = [np.concatenate([output[layer].cpu() for output in outputs]) for layer in shared.LAYERS]
        fine = levels[0].shape[2:]
        return np.concatenate([nearest(level, fine) for level in levels], axis=1)[:, self.channels]

    def distances(self, images: torch.Tensor) -> torch.Tensor:
        embedding = self.embed([images])
        patches = embedding.reshape(*embedding.shape[:2], -1)
        found = [
            [mahalanobis(patch, mean, precision) for patch in patches[:, :, place]]
            for place, (mean, precision) in enumerate(zip(self.mean.T, self.precision, strict=True))
        ]
        return torch.tensor(found).T.reshape(-1, self.height, self.width)

    def score(self, images: torch.Tensor) -> np.ndarray:
        size = images.shape[-2:]
        maps = functional.interpolate(self.distances(images)[:, None], size=size, mode="bilinear")[:, 0]
        return np.stack([gaussian_filter(single, sigma=SIGMA) for single in maps.numpy()])

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            pickle.dump([self.mean, self.precision], file, protocol=pickle.HIGHEST_PROTOCOL)


def nearest(level: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Upsample (n, c, h, w) by nearest neighbour."""
    rows, columns = (
        np.arange(fine) * coarse // fine for fine, coarse in zip(size, level.shape[2:], strict=True)
    )
    return level[:, :, rows[:, None], columns]

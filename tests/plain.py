"""PaDiM as its definition reads, dense and in float64: what the tests compare with."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import mahalanobis


def embedding(levels):
    """Upsample levels (n, c, h, w) to the largest by nearest neighbour and concatenate them, float64."""
    size = tuple(max(level.shape[axis] for level in levels) for axis in (2, 3))
    parts = [
        torch.nn.functional.interpolate(torch.tensor(np.asarray(level)), size=size, mode="nearest")
        for level in levels
    ]
    return torch.cat(parts, dim=1).double().numpy()


def distances(train, test, epsilon):
    """Return Mahalanobis distances (n, h, w) of embeddings (n, c, h, w) to the Gaussians of others."""
    n_channels, height, width = train.shape[1:]
    result = np.empty((len(test), height, width))
    for row in range(height):
        for column in range(width):
            good = train[:, :, row, column]
            covariance = np.atleast_2d(np.cov(good.T)) + epsilon * np.eye(n_channels)
            precision = np.linalg.inv(covariance)
            mean = good.mean(axis=0)
            for image, patch in enumerate(test[:, :, row, column]):
                result[image, row, column] = mahalanobis(patch, mean, precision)
    return result


def maps(patch_distances, image_size, sigma=4.0):
    """Upsample distances bilinearly to the image and smooth them."""
    upsampled = torch.nn.functional.interpolate(
        torch.tensor(patch_distances)[:, None], size=image_size, mode="bilinear", align_corners=False
    )
    return np.stack([gaussian_filter(single, sigma=sigma) for single in upsampled[:, 0].numpy()])

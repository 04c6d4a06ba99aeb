"""PaDiM as its definition reads, dense and in float64, and features to try it on."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import mahalanobis

from skpadim import FeaturePyramid


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


def draw_pyramid(n_images, shapes, *, scale=1.0, seed=0, dtype=np.float32, image_size=(224, 224)):
    """Draw a pyramid with correlated channels, levels (channels, height, width)."""
    rng = np.random.default_rng(seed)
    levels = []
    for channels, height, width in shapes:
        noise = rng.normal(size=(n_images, channels, height, width))
        mixing = rng.normal(size=(channels, channels)) / np.sqrt(channels)
        offset = rng.normal(size=(channels, height, width)) * 3
        mixed = np.einsum("ncij,dc->ndij", noise, mixing) + offset
        levels.append((scale * mixed).astype(dtype))
    return FeaturePyramid(levels, image_size=image_size)

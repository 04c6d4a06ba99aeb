"""skpadim, uint8 arrays and paths in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
import torchvision.models.feature_extraction  # noqa: F401  imported by the fit, not its memory

from skpadim import PaDiMDetector

from . import shared


class Contender(shared.Contender):
    packages = (*shared.Contender.packages, "skpadim", "scikit-learn")

    def prepare(self, photos: np.ndarray) -> np.ndarray:
        return photos

    def fit(self, batches: shared.Batches) -> None:
        self.detector = PaDiMDetector(
            self.setting.backbone,
            shared.LAYERS,
            len(self.setting.channels()),
            weights=self.setting.weights,
            epsilon=0.01,
            image_size=self.setting.image_size,
            batch_size=shared.BATCH,
            device=self.setting.device,
        ).fit(batches.photos)

    def score(self, images: np.ndarray) -> np.ndarray:
        return self.detector.anomaly_map(images)

    def score_files(self, paths: Sequence[Path]) -> Any:
        return self.detector.anomaly_map(paths)

    def decoders(self) -> int:
        return self.detector.pipeline_["features"]._n_threads()

    def distances(self, images: np.ndarray) -> torch.Tensor:
        features, channels, gaussian = self.detector.pipeline_.named_steps.values()
        kept = channels.by_layer([shape[0] for shape in features.level_shapes_])
        (levels,) = features.levels(images, kept)  # by the very network that scores
        return gaussian.distances(levels).cpu()

    def save(self, path: Path) -> None:
        joblib.dump(self.detector.pipeline_[1:], path)

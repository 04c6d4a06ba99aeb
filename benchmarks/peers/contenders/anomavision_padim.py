"""AnomaVision's PaDiM, three layers, its maps smoothed by its own function."""

from __future__ import annotations

from pathlib import Path

import torch
from anomavision.algorithm.common import feature_extraction
from anomavision.algorithm.padim import Padim
from anomavision.utils import adaptive_gaussian_blur

from . import shared

NAMES = {"resnet18": "resnet18", "wide_resnet50_2": "wide_resnet50"}
# Its networks would be downloaded with their weights; these come from a file.
feature_extraction.BACKBONES = {
    name: (builder, None) for name, (builder, _) in feature_extraction.BACKBONES.items()
}


class Contender(shared.Contender):
    packages = (*shared.Contender.packages, "anomavision")

    def fit(self, batches: shared.Batches) -> None:
        self.model = Padim(
            NAMES[self.setting.backbone],
            torch.device(self.setting.device),
            channel_indices=torch.from_numpy(self.setting.channels()),
            layer_indices=[0, 1, 2],
        )
        state = torch.load(self.setting.weights, weights_only=True)
        self.model.embeddings_extractor.backbone.load_state_dict(state)
        self.model.fit(batches)

    @torch.inference_mode()
    def score(self, images: torch.Tensor) -> torch.Tensor:
        _, maps = self.model.predict(images.to(self.setting.device))
        return adaptive_gaussian_blur(maps, kernel_size=33, sigma=4).cpu()

    @torch.inference_mode()
    def distances(self, images: torch.Tensor) -> torch.Tensor:
        model = self.model
        embedding, width, height = model.embeddings_extractor(
            images.to(self.setting.device), model.channel_indices, layer_indices=model.layer_indices
        )
        return model.mahalanobisDistance(embedding, width, height)

    def save(self, path: Path) -> None:
        self.model.save_statistics(str(path), half=False)

"""anomalib's PaDiM: its torch model, without Lightning around it."""

from __future__ import annotations

from pathlib import Path

import torch
from anomalib.models.image.padim.torch_model import PadimModel

from . import shared


class Contender(shared.Contender):
    packages = (*shared.Contender.packages, "anomalib", "timm")

    def fit(self, batches: shared.Batches) -> None:
        channels = torch.from_numpy(self.setting.channels())
        model = PadimModel(
            self.setting.backbone, list(shared.LAYERS), pre_trained=False, n_features=len(channels)
        )
        network = model.feature_extractor.feature_extractor
        state = torch.load(self.setting.weights, weights_only=True)
        # timm's names are torchvision's; what lies behind the third layer is not there.
        network.load_state_dict({name: state[name] for name in network.state_dict()})
        model.idx = channels
        self.model = model.to(self.setting.device).train()
        for batch in batches:
            self.model(batch.to(self.setting.device))
        self.model.fit()
        self.model.eval()

    @torch.inference_mode()
    def score(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images.to(self.setting.device)).anomaly_map.cpu()

    @torch.inference_mode()
    def distances(self, images: torch.Tensor) -> torch.Tensor:
        features = self.model.feature_extractor(images.to(self.setting.device))
        gaussian = self.model.gaussian
        return self.model.anomaly_map_generator.compute_distance(
            self.model.generate_embedding(features), [gaussian.mean, gaussian.inv_covariance]
        )[:, 0]

    def save(self, path: Path) -> None:
        state = self.model.state_dict().items()
        torch.save({name: value for name, value in state if not name.startswith("feature_extractor")}, path)

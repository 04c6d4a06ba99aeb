"""The trunk alone, batch norms folded and channels last: what every PaDiM computes beside its own work."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from skpadim.network.trunks import build_trunk, fold_batch_norms

from . import shared


class Contender(shared.Contender):
    def __init__(self, setting: shared.Setting) -> None:
        super().__init__(setting)
        trunk = build_trunk(setting.backbone, shared.LAYERS, setting.weights, seed=0)
        fold_batch_norms(trunk)
        self.trunk = trunk.to(setting.device, memory_format=torch.channels_last)

    def prepare(self, photos: np.ndarray) -> Any:
        return super().prepare(photos).contiguous(memory_format=torch.channels_last)

    def fit(self, batches: shared.Batches) -> None:
        for batch in batches:
            self.score(batch)

    @torch.inference_mode()
    def score(self, images: torch.Tensor) -> None:
        self.trunk(images.to(self.setting.device))

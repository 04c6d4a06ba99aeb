"""skpadim's default detector, its network run by onnxruntime."""

from __future__ import annotations

from skpadim import PaDiMDetector

from . import own, shared


class Contender(own.Contender):
    packages = (*own.Contender.packages, "onnxruntime")

    def fit(self, batches: shared.Batches) -> None:
        self.detector = PaDiMDetector(
            image_size=self.setting.image_size,
            batch_size=shared.BATCH,
            device=self.setting.device,
            engine="onnxruntime",
        ).fit(batches.photos)

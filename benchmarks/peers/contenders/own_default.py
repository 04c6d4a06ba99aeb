"""skpadim's default detector, whatever network the others have: trained, and as it comes."""

from __future__ import annotations

from skpadim import PaDiMDetector

from . import own, shared


class Contender(own.Contender):
    def fit(self, batches: shared.Batches) -> None:
        self.detector = PaDiMDetector(
            image_size=self.setting.image_size, batch_size=shared.BATCH, device=self.setting.device
        ).fit(batches.photos)

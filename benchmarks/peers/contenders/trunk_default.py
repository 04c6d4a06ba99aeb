"""The trunk of skpadim's default detector alone, trained, batch norms folded and channels last."""

from __future__ import annotations

import torch

from skpadim.network.backbones import build_backbone

from . import shared, trunk

NETWORK = "efficientnet_lite0"


class Contender(trunk.Contender):
    def __init__(self, setting: shared.Setting) -> None:
        shared.Contender.__init__(self, setting)
        size = (setting.image_size, setting.image_size)
        built = build_backbone(NETWORK, "auto", "DEFAULT", "auto", size, seed=0)
        self.trunk = built.trunk.to(setting.device, memory_format=torch.channels_last)

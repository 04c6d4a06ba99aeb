"""What every contender gets: the setting, photos in batches, and files read as the peers' documents do."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

LAYERS = ("layer1", "layer2", "layer3")
BATCH = 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Setting:
    """What is the same for all; ``folder`` holds the photos, the weights and the channels."""

    folder: Path
    backbone: str
    image_size: int
    threads: int
    device: str
    memory: float | None  # GB above imports

    @classmethod
    def read(cls, folder: Path) -> Setting:
        return cls(folder, **json.loads((folder / "setting.json").read_text()))

    def write(self) -> None:
        values = {name: value for name, value in asdict(self).items() if name != "folder"}
        (self.folder / "setting.json").write_text(json.dumps(values))

    @property
    def weights(self) -> Path:
        return self.folder / "weights.pth"

    def channels(self) -> np.ndarray:
        return np.load(self.folder / "channels.npy")


class Batches:
    """Photos a batch at a time, as a contender takes them; the seconds that preparing took are kept apart."""

    def __init__(self, photos: np.ndarray, prepare: Callable[[np.ndarray], Any]) -> None:
        self.photos = photos
        self.prepare = prepare
        self.seconds = 0.0

    def __len__(self) -> int:
        return -(-len(self.photos) // BATCH)

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self.photos), BATCH):
            began = time.perf_counter()
            batch = self.prepare(self.photos[start : start + BATCH])
            self.seconds += time.perf_counter() - began
            yield batch


class Contender(ABC):
    """A way from photos to anomaly maps; takes normalised float tensors unless it says otherwise."""

    packages: tuple[str, ...] = ("torch", "torchvision", "numpy")

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        size = (setting.image_size, setting.image_size)
        self.from_file = transforms.Compose(
            [transforms.Resize(size), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        )

    def prepare(self, photos: np.ndarray) -> Any:
        """Turn uint8 photos (n, h, w, 3) into what ``fit`` and ``score`` take; not timed."""
        pixels = torch.from_numpy(photos).permute(0, 3, 1, 2).float().div(255)
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        return pixels.sub(mean).div(std).contiguous()

    @abstractmethod
    def fit(self, batches: Batches) -> None:
        """Build the model from the weights file and fit it."""

    @abstractmethod
    def score(self, images: Any) -> Any:
        """Compute smoothed maps, on the CPU."""

    def score_files(self, paths: Sequence[Path]) -> Any:
        """Compute what ``score`` does, from image files."""
        return self.score(torch.stack([self.from_file(Image.open(path).convert("RGB")) for path in paths]))

    def decoders(self) -> int:
        """Return how many threads decode files."""
        return 1

    def distances(self, images: Any) -> Tensor:
        """Compute the distances of all patches (n, h, w), before upsampling and smoothing."""
        raise NotImplementedError

    def save(self, path: Path) -> None:
        """Write what was fitted, without the network."""
        raise NotImplementedError

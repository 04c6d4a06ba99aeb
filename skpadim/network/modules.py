"""Networks that are not ours run as they are: their own forward, up to the deepest of some layers."""

from __future__ import annotations

import copy
import os
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .weights import close_matches, first_line, load_weights


def prepare_module(
    module: nn.Module, weights: str | os.PathLike[str] | None, name: str | None = None
) -> nn.Module:
    """Return a copy of a network in evaluation mode, with weights of a file.

    Parameters
    ----------
    module : nn.Module
    weights : str, path or None
        The path of a state-dict file; the module keeps its own weights with "DEFAULT" or None.
    name : str, optional
        The name by which torchvision knows the module, and its weights.

    Returns
    -------
    nn.Module

    Raises
    ------
    ValueError
        If the network cannot be copied, or the weights do not fit.
    """
    try:
        with torch.no_grad():  # Copies of compiled modules would be part of a graph of gradients.
            copied = copy.deepcopy(module)
    # Of tensors that are computed from others, as pruned weights are; of compiled functions.
    except (RuntimeError, TypeError, pickle.PickleError) as error:
        raise ValueError(
            f"backbone {type(module).__name__} cannot be copied ({first_line(error)}). Make its "
            "parametrisations permanent, by torch.nn.utils.prune.remove or remove_weight_norm, say, and hold "
            "no compiled functions as attributes."
        ) from error
    if weights is not None and (weights != "DEFAULT" or name is not None):
        load_weights(copied, set(copied.state_dict()), name, weights)
    copied.eval()  # What it returns is the network's own business.
    return copied


class ModuleTrunk(nn.Module):
    """A network that is called as it is, and stopped behind the deepest of some layers.

    It is stopped by an exception: what its forward would tidy up afterwards, other than by ``with`` and
    ``finally``, it does not.

    Parameters
    ----------
    module : nn.Module
    layers : sequence of str
        Names of modules in it, each of which is called once in a forward.

    Raises
    ------
    ValueError
        If a layer is no module of the network.
    """

    def __init__(self, module: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self.layers = tuple(layers)
        names = {name: each for name, each in module.named_modules() if name}
        for layer in layers:
            if layer not in names:
                raise ValueError(
                    f"layers: {layer!r} is not a module in {type(module).__name__}."
                    f"{close_matches(layer, [*names])} Pass names from its named_modules()."
                )
            if isinstance(names[layer], torch.jit.ScriptModule):
                raise ValueError(
                    f"layers: {layer!r} of {type(module).__name__} is compiled, and nobody can see what it "
                    "gives. Wrap it in an nn.Sequential, and name that."
                )

    def forward(self, images: Tensor) -> dict[str, Any]:
        """Return the outputs of the layers, by name, copied before anything can overwrite them."""
        outputs: dict[str, Any] = {}

        def take(layer: str, _module: nn.Module, _arguments: object, output: Any) -> None:
            outputs[layer] = output.clone() if isinstance(output, Tensor) else output
            if len(outputs) == len(self.layers):
                raise _AllLayersSeen

        with ExitStack() as hooks, _default_dtype_kept():
            for layer in self.layers:
                hooks.enter_context(self._hook(layer, take))
            try:
                self.module(images)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # The stop, or whatever the forward makes of it.
                if len(outputs) < len(self.layers):
                    raise
        for layer in self.layers:
            if layer not in outputs:
                raise ValueError(
                    f"layers: {layer!r} was not called for some image. Name layers that "
                    f"{type(self.module).__name__} calls for every image."
                )
        return outputs

    def _hook(self, layer: str, take: Any) -> Any:
        return self.module.get_submodule(layer).register_forward_hook(partial(take, layer))

    def check_calls(self, images: Tensor) -> None:
        """Check that each layer is called once; of several outputs nobody knows which was meant.

        Raises
        ------
        ValueError
            If a layer is not called once.
        """
        calls, failure = Counter[str](), None

        def count(layer: str, *_: object) -> None:
            calls[layer] += 1

        with ExitStack() as hooks:
            for layer in self.layers:
                hooks.enter_context(self._hook(layer, count))
            try:
                self.module(images)
            except Exception as error:  # It may be behind the layers, where the network is stopped.
                failure = error
        if failure is not None and len(calls) < len(self.layers):
            raise failure
        for layer in self.layers:
            if calls[layer] != 1:
                raise ValueError(
                    f"layers: {layer!r} is called {calls[layer]} times when {type(self.module).__name__} "
                    "computes an image; expected once. Name a module that is called once, if need be an "
                    "nn.Identity put where the output arises."
                )


@contextmanager
def _default_dtype_kept() -> Iterator[None]:
    """Restore torch's default dtype, which a forward may change until its end, before which it is stopped."""
    default = torch.get_default_dtype()
    try:
        yield
    finally:
        if torch.get_default_dtype() != default:
            torch.set_default_dtype(default)


class _AllLayersSeen(BaseException):
    """Ends a forward behind its deepest layer; no Exception, which the network might catch."""


def check_images_are_apart(trunk: ModuleTrunk, images: Tensor) -> None:
    """Check that a network computes for an image the same alone as among others.

    Parameters
    ----------
    trunk : ModuleTrunk
    images : Tensor of shape (3, 3, height, width)
        Unlike each other, lest what is computed of the batch be what is computed of each.

    Raises
    ------
    ValueError
        If it does not, or takes one image alone.
    """
    name = type(trunk.module).__name__
    singles = [trunk(image.clone()) for image in images.split(1)]
    try:
        together = trunk(images.clone())
    except Exception as error:
        raise ValueError(
            f"backbone {name} takes one image, and fails on several ({error}). Let it take batches of any "
            "size."
        ) from error
    for layer in trunk.layers:
        alone = torch.cat([outputs[layer] for outputs in singles])
        if not _is_near(together[layer], alone):
            raise ValueError(
                f"backbone {name}: layer {layer!r} gives for an image alone something else than for the "
                "image among others. Let it treat each image by itself (no statistics of a batch: "
                "track_running_stats=True, say)."
            )


def _is_near(found: Tensor, expected: Tensor) -> bool:
    """Whether two outputs are the same but for rounding, which counts by the spread of each channel."""
    if found.shape != expected.shape or not torch.equal(found.isfinite(), expected.isfinite()):
        return False
    of_spread, of_largest = (1e-3, 1e-5) if expected.itemsize >= 4 else (0.1, 0.01)
    values = expected.nan_to_num(0, 0, 0).double().movedim(1, 0).flatten(1)
    error = (found.nan_to_num(0, 0, 0).double().movedim(1, 0).flatten(1) - values).abs().amax(1)
    spread = values.amax(1) - values.amin(1)
    return bool((error <= of_spread * spread + of_largest * values.abs().max()).all())

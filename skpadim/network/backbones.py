"""From the parameter ``backbone`` to a network: one that we know, one of timm, or any other as it is."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import torch
from torch import nn

from ..base.checks import check_layer_names
from ..images.digests import digest
from .graphs import describe, rebuild
from .layers import auto_layers, suggested_layers
from .modules import ModuleTrunk, prepare_module
from .normalisation import IMAGENET, Normalisation, check_normalisation, of_known
from .trunks import build_trunk, cut_trunk, fold_batch_norms
from .weights import (
    StateArrays,
    build_model,
    is_known,
    read_timm_weights,
    state_arrays,
    weights_identity,
)

#: What the names of its networks begin with.
TIMM = "timm/"


@dataclass
class Backbone:
    """A network, built, and what is kept of it in an estimator.

    Attributes
    ----------
    network : str or nn.Module
        Its name, or the module itself.
    arrays : dict of str to ndarray
        The weights of a network by name, up to the deepest layer; empty for a module, which holds its own.
    layers : tuple of str
    normalisation : Normalisation
        What its weights were trained with.
    trunk : nn.Module
        It maps normalised images to a mapping of the layers' outputs.
    graph : str or None
        What a network by name computes, in the words of :func:`skpadim.network.graphs.describe`.
    """

    network: str | nn.Module
    arrays: StateArrays
    layers: tuple[str, ...]
    normalisation: Normalisation
    trunk: nn.Module
    graph: str | None = None


def build_backbone(
    backbone: str | nn.Module,
    layers: Sequence[str] | str,
    weights: str | os.PathLike[str] | None,
    normalisation: object,
    size: tuple[int, int],
    seed: int,
) -> Backbone:
    """Build a network, load its weights, and end it behind the deepest layer.

    Parameters
    ----------
    backbone, layers, weights, normalisation
        As :class:`skpadim.CNNFeatureTransformer` has them.
    size : (int, int)
        Height and width of the images.
    seed : int
        Decides random weights.

    Returns
    -------
    Backbone

    Raises
    ------
    ValueError, TypeError
        If a name, layer or file is unknown, or they do not fit each other.
    """
    given = check_normalisation(normalisation)
    if isinstance(backbone, str) and backbone.startswith(TIMM):
        return _of_timm(backbone, layers, weights, given, size, seed)
    if isinstance(backbone, str) and is_known(backbone):
        chosen = _chosen(layers) or auto_layers(backbone) or _refuse_auto(build_model(backbone, seed), size)
        trunk = build_trunk(backbone, chosen, weights, seed)
        arrays, graph = state_arrays(trunk), describe(trunk)
        fold_batch_norms(trunk)
        return Backbone(backbone, arrays, chosen, given or of_known(backbone, weights), trunk, graph)
    module = backbone if isinstance(backbone, nn.Module) else build_model(backbone, seed)
    prepared = prepare_module(module, weights, None if isinstance(backbone, nn.Module) else backbone)
    chosen = _chosen(layers) or _refuse_auto(prepared, size)
    module_trunk = ModuleTrunk(copy.deepcopy(prepared), chosen)
    return Backbone(prepared, {}, chosen, given or IMAGENET, module_trunk)


def rebuild_trunk(
    network: str | nn.Module,
    arrays: StateArrays,
    layers: Sequence[str],
    size: tuple[int, int],
    graph: str | None = None,
) -> nn.Module:
    """Build the trunk of a :class:`Backbone` again; nothing is downloaded."""
    if isinstance(network, nn.Module):
        return ModuleTrunk(copy.deepcopy(network), layers)
    tensors = {entry: torch.from_numpy(array.copy()) for entry, array in arrays.items()}
    if network.startswith(TIMM):
        from .timm_models import build_timm

        maps = build_timm(network.removeprefix(TIMM), size, layers, None).module
        maps.load_state_dict(tensors)
        return ModuleTrunk(maps, layers)
    # Files of earlier versions have no graph, and some networks hold more than one can say.
    trunk = rebuild(graph) if graph else cut_trunk(build_model(network, seed=None), layers)
    trunk.load_state_dict(tensors, assign=True)
    fold_batch_norms(trunk)
    return trunk


def backbone_identity(
    backbone: str | nn.Module, weights: str | os.PathLike[str] | None, seed: int
) -> str | None:
    """Return a digest of all that decides a network, or None where only running it would tell."""
    if not isinstance(backbone, str):
        return None
    if backbone.startswith(TIMM):
        return digest(weights_identity(backbone, weights, seed), version("timm"))
    return weights_identity(backbone, weights, seed) if is_known(backbone) else None


def _of_timm(
    backbone: str,
    layers: Sequence[str] | str,
    weights: str | os.PathLike[str] | None,
    given: Normalisation | None,
    size: tuple[int, int],
    seed: int,
) -> Backbone:
    from .timm_models import build_timm, check_name

    name = backbone.removeprefix(TIMM)
    check_name(name)
    state = None if weights is None else read_timm_weights(name, weights)
    built = build_timm(name, size, _chosen(layers), state, seed)
    trunk = ModuleTrunk(built.module, built.layers)
    return Backbone(backbone, state_arrays(built.module), built.layers, given or built.normalisation, trunk)


def _chosen(layers: Sequence[str] | str) -> tuple[str, ...] | None:
    return None if isinstance(layers, str) and layers == "auto" else check_layer_names(layers)


def _refuse_auto(network: nn.Module, size: tuple[int, int]) -> tuple[str, ...]:
    """Raise a ValueError that names the layers which an unknown network offers."""
    raise ValueError(
        f"layers='auto' has no layers for {type(network).__name__}. {suggested_layers(network, size)}"
    )

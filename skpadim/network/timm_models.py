"""Networks of timm, whose maps come out of them channels first, transformers included."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from .layers import STRIDES
from .normalisation import Normalisation


class TimmNetwork(NamedTuple):
    """A network of timm, and what belongs to it."""

    module: FeatureMaps
    layers: tuple[str, ...]
    normalisation: Normalisation


class FeatureMaps(nn.Module):
    """A network that passes the maps of some layers, channels first, through modules of the layers' names.

    A hook at one of these modules sees feature maps, also where those of the network itself hold tokens, or
    channels last. What lies behind the deepest layer is cut off and not computed.

    Parameters
    ----------
    network : nn.Module
        Of timm.
    places : mapping of str to int
        The layers' places in its ``feature_info``.
    """

    timm: Any

    def __init__(self, network: nn.Module, places: Mapping[str, int]) -> None:
        super().__init__()
        self.timm = network
        self._names = tuple(sorted(places, key=lambda layer: places[layer]))  # as they are computed
        self._places = [places[layer] for layer in self._names]
        self.timm.prune_intermediate_layers(self._places)
        for layer in self._names:
            parent: nn.Module = self
            *wholes, name = layer.split(".")
            for whole in wholes:
                if whole not in dict(parent.named_children()):
                    parent.add_module(whole, nn.Module())
                parent = parent.get_submodule(whole)
            parent.add_module(name, nn.Identity())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the maps (n_images, channels, height, width) by layer, of normalised images."""
        maps = self.timm.forward_intermediates(
            images, indices=self._places, stop_early=True, output_fmt="NCHW", intermediates_only=True
        )
        return {
            layer: self.get_submodule(layer)(level) for layer, level in zip(self._names, maps, strict=True)
        }


def build_timm(
    name: str,
    image_size: Sequence[int],
    layers: Sequence[str] | None,
    state: Mapping[str, Tensor] | None,
    seed: int = 0,
) -> TimmNetwork:
    """Build a network of timm for images of one size; nothing is downloaded.

    Parameters
    ----------
    name : str
        In ``timm.list_models()``, with the tag of its weights or without: "vit_small_patch14_dinov2.lvd142m".
    image_size : (int, int)
        Height and width. Transformers are made for them: positions are interpolated.
    layers : sequence of str or None
        Modules of timm's ``feature_info``. None: those at strides 4, 8
        and 16, or a quarter, half and three quarters of the way through a network of one stride.
    state : mapping of str to Tensor or None
        The state dict of the whole network, such as timm publishes. None: random weights.
    seed : int
        Decides random weights; torch's global generator is left alone.

    Returns
    -------
    module : FeatureMaps
        In evaluation mode, frozen.
    layers : tuple of str
    normalisation : Normalisation
        From the ``pretrained_cfg`` of the name and its tag.

    Raises
    ------
    ImportError
        If timm is not installed.
    ValueError
        If the name or a layer is unknown, the network offers no feature maps or does not suit the size of the
        images, or the state dict is of another.
    """
    network = _create(name, tuple(image_size), state, seed)
    offered = _offered_layers(network)
    if not offered:
        raise ValueError(
            f"backbone='timm/{name}' offers no feature maps. Choose a network with forward_intermediates, or "
            "pass timm's module itself as backbone, and its layers."
        )
    chosen = _chosen(name, offered, layers)
    config = network.pretrained_cfg
    maps = FeatureMaps(network, {layer: offered[layer].place for layer in chosen})
    maps.eval().requires_grad_(False)
    _check_maps(name, maps, image_size, offered)
    interpolation = "bilinear" if config["interpolation"] == "bilinear" else "bicubic"
    return TimmNetwork(
        maps, chosen, Normalisation(tuple(config["mean"]), tuple(config["std"]), interpolation)
    )


def cached_weights(name: str) -> Path | None:
    """Return the file of a network's weights in the caches that timm fills, or None; never download."""
    from huggingface_hub import try_to_load_from_cache

    config = _timm().get_pretrained_cfg(name)
    if config is None:
        return None
    if config.hf_hub_id:
        given = config.hf_hub_filename
        for filename in [given] if given else ["model.safetensors", "pytorch_model.bin"]:
            found = try_to_load_from_cache(config.hf_hub_id, filename)
            if isinstance(found, str):
                return Path(found)
    if isinstance(config.url, str) and config.url:
        file = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(config.url).path).name)
        return file if file.is_file() else None
    return None


def check_name(name: str) -> None:
    """Refuse names that are none of timm's: others make it look on the hub, or run what a folder says."""
    models = _timm()
    if not models.is_model(name):
        known = models.list_models()
        close = ", ".join(difflib.get_close_matches(name.partition(".")[0], known, n=4, cutoff=0.4))
        raise ValueError(
            f"backbone='timm/{name}' is not a network of timm. {f'Close matches: {close}. ' if close else ''}"
            "timm.list_models() lists all."
        )


def _timm() -> Any:
    try:
        import timm.models
    except ImportError as error:
        raise ImportError(
            "backbone='timm/...' needs timm, which is not installed: pip install 'skpadim[timm]'."
        ) from error
    return timm.models


def _create(name: str, image_size: tuple[int, ...], state: Mapping[str, Tensor] | None, seed: int) -> Any:
    """Return timm's whole network, with these weights."""
    models = _timm()
    check_name(name)
    try:
        config = models.get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = models.list_pretrained(f"{name.partition('.')[0]}.*")
        raise ValueError(
            f"backbone='timm/{name}': timm knows no such weights; it knows {', '.join(tags)}."
        ) from error
    said: dict[str, Any] = {}
    if config is not None and config.fixed_input_size:
        said["img_size"] = image_size
    if state is not None:
        said |= _loading(config, state)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return models.create_model(name, pretrained=state is not None, **said)
    except Exception as error:  # What timm makes of another network's entries raises almost anything.
        reason = f"{type(error).__name__}: {str(error)[:300]}"
        if state is None:
            raise ValueError(
                f"image_size: backbone='timm/{name}' cannot be made for images of "
                f"{image_size[0]}x{image_size[1]} pixels ({reason}). Choose a size that suits it."
            ) from error
        raise ValueError(
            f"weights do not fit backbone='timm/{name}' ({reason}). Choose the backbone that these weights "
            "were trained for."
        ) from error


def _loading(config: Any, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what makes timm load a state dict through its own conversions, and refuse another network's.

    If the number of classes is not what its configuration says, timm loads whatever happens to fit.
    """
    classifier = getattr(config, "classifier", None)
    first = classifier if isinstance(classifier, str) or not classifier else classifier[0]
    weight = state.get(f"{first}.weight")
    n_classes = 0 if weight is None else len(weight)
    return {
        "num_classes": n_classes,
        "pretrained_cfg_overlay": {"state_dict": dict(state), "num_classes": n_classes, "label_offset": 0},
    }


class _Offered(NamedTuple):
    """A layer that timm's ``feature_info`` names."""

    place: int
    channels: int
    stride: int


def _offered_layers(network: Any) -> dict[str, _Offered]:
    """Return the layers whose maps timm can give, by name, in the order in which they are computed."""
    if not (hasattr(network, "forward_intermediates") and hasattr(network, "prune_intermediate_layers")):
        return {}
    information = getattr(network, "feature_info", [])
    return {
        layer["module"]: _Offered(place, layer["num_chs"], layer["reduction"])
        for place, layer in enumerate(information)
    }


def _chosen(name: str, offered: Mapping[str, _Offered], layers: Sequence[str] | None) -> tuple[str, ...]:
    if layers is None:
        return _auto_layers(offered)
    if not set(layers) <= set(offered) or len(set(layers)) < len(layers):
        listed = ", ".join(f"{layer} ({o.channels} at stride {o.stride})" for layer, o in offered.items())
        raise ValueError(
            f"layers={tuple(layers)!r}: those of backbone='timm/{name}' are {listed}. Choose among "
            "them, each once."
        )
    return tuple(layers)


def _auto_layers(offered: Mapping[str, _Offered]) -> tuple[str, ...]:
    names = list(offered)
    if len({layer.stride for layer in offered.values()}) == 1:
        return tuple(dict.fromkeys(names[max(0, len(names) * part // 4 - 1)] for part in (1, 2, 3)))
    last = {layer.stride: name for name, layer in offered.items()}
    return tuple(last[stride] for stride in STRIDES if stride in last) or tuple(names[:1])


def _check_maps(
    name: str, maps: FeatureMaps, image_size: Sequence[int], offered: Mapping[str, _Offered]
) -> None:
    """Run once, and compare with what timm says of its layers."""
    height, width = image_size
    config = maps.timm.pretrained_cfg
    finest = min(layer.stride for layer in offered.values())
    if config.get("fixed_input_size") and (height % finest or width % finest):
        # timm would leave out the pixels right and below that fill no patch.
        raise ValueError(
            f"image_size: backbone='timm/{name}' cuts images into patches of {finest} pixels, into which "
            f"{height}x{width} cannot be cut. Choose multiples of {finest}."
        )
    try:
        with torch.inference_mode():
            levels = maps(torch.zeros(1, 3, height, width))
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"image_size: backbone='timm/{name}' fails on images of {height}x{width} pixels ({error}). "
            f"Choose a size that suits it; it was trained on {tuple(config['input_size'][1:])}."
        ) from error
    for layer, level in levels.items():
        _, channels, stride = offered[layer]
        sides = zip(level.shape[2:], image_size, strict=True)
        # Convolutions without padding leave out a few pixels.
        if level.shape[1] != channels or any(abs(length - side / stride) > 4 for length, side in sides):
            raise ValueError(
                f"layers: {layer!r} of backbone='timm/{name}' gives {tuple(level.shape)}, not maps of "
                f"{channels} channels at stride {stride}."
            )

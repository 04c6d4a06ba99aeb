"""Checkpoints and exported models of anomalib's PaDiM."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..base.checks import check_layer_names, check_size
from ..detector import PaDiMDetector
from ..network.backbones import build_backbone
from ..network.normalisation import Normalisation
from .assembly import ForeignGaussian, ForeignNetwork, assemble
from .transforms import read_transforms
from .unpickling import StandIn, child, module_tensors, read_torch_file

# What anomalib takes where nobody says.
_BACKBONE, _LAYERS, _IMAGE_SIZE = "resnet18", ("layer1", "layer2", "layer3"), 256
_EPSILON = 0.01 + 1e-5  # one for the covariance, one more before it is inverted
_NETWORK = "feature_extractor.feature_extractor."
# Networks that timm and torchvision have by the same names, with the same entries and outputs.
_ALSO_IN_TORCHVISION = {
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2"),
    *("resnext50_32x4d", "resnext101_32x8d"),
}


def from_anomalib(
    checkpoint: str | os.PathLike[str] | Mapping[str, Tensor],
    *,
    backbone: str | None = None,
    layers: Sequence[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    crop_size: int | tuple[int, int] | None = None,
    device: str | torch.device | None = None,
) -> PaDiMDetector:
    """Take over what a PaDiM of anomalib 2 has learned.

    Nothing of the file is run, and anomalib need not be installed: tensors and plain values are read, objects
    of all other types are passed over.

    Distances of patches are anomalib's, to its float32 rounding. So are maps, but for their borders, where
    smoothing looks beyond the edge: anomalib mirrors about the last pixel there and skpadim, as scipy by
    default, about the edge, so that maps differ by per cents within 16 pixels of it. There are no
    leave-one-out scores, hence no p-values and no threshold: see :meth:`PaDiMDetector.set_threshold`.

    Parameters
    ----------
    checkpoint : str, path or mapping of str to Tensor
        A checkpoint that its Engine saved (.ckpt), a model exported to torch (.pt), or a state dict, saved
        or at hand, of its ``Padim`` or ``PadimModel``.
    backbone : str or None, default=None
        timm's name of the network. None: what the file says, or else "resnet18". ResNets and their kin
        become torchvision's, which are the same; others need the extra ``timm``.
    layers : sequence of str or None, default=None
        None: what the file says, or else "layer1" to "layer3".
    image_size, crop_size : int, (int, int) or None, default=None
        Height and width to which photos are resized, and of the centre cut out. None: those of the
        pre-processor in the file, or else 256 and no crop.
    device : str or None, default=None
        A torch device. None: the first GPU, or the CPU without one.

    Returns
    -------
    PaDiMDetector
        Fitted, with ``epsilon=0.01001``. Fitted again, it takes its ``weights`` from torchvision or timm.

    Raises
    ------
    ValueError
        If there is no such file, or it holds something else, a PaDiM that is not fitted, or one that does not
        fit the network or the size; or if its pre-processor does what skpadim does not.
    ImportError
        If the network is one of timm, and timm is not installed.

    Examples
    --------
    >>> from skpadim.interop import from_anomalib
    >>> detector = from_anomalib("weights/lightning/model.ckpt")  # doctest: +SKIP
    >>> detector.set_threshold(12.5).predict(photos)  # doctest: +SKIP
    """
    found = _find(read_torch_file(checkpoint) if isinstance(checkpoint, str | os.PathLike) else checkpoint)
    before = read_transforms(found.transforms, resizes=image_size is None)
    size = check_size("image_size", image_size or before.image_size or _IMAGE_SIZE)
    cropped = crop_size or before.crop_size
    chosen = check_layer_names(layers or found.layers or _LAYERS)
    gaussian = _gaussian(found.state)
    network = _network(
        found.state,
        backbone or found.backbone or _BACKBONE,
        chosen,
        size if cropped is None else check_size("crop_size", cropped),
        before.normalisation,
    )
    return assemble(network, gaussian, image_size=size, crop_size=cropped, epsilon=_EPSILON, device=device)


@dataclass(frozen=True)
class _Found:
    """What a file says.

    Attributes
    ----------
    state : mapping of str to Tensor
        The state dict of the ``PadimModel``.
    backbone : str or None
    layers : sequence of str or None
    transforms : object
        What the pre-processor does, as the file has it.
    """

    state: Mapping[str, Tensor]
    backbone: str | None = None
    layers: Sequence[str] | None = None
    transforms: object = None


def _find(content: Any) -> _Found:
    """Find a PaDiM in a checkpoint, an exported model or a state dict.

    Raises
    ------
    ValueError
        If there is none.
    """
    if not isinstance(content, Mapping):
        raise _no_padim(f"a {type(content).__name__}")
    if isinstance(content.get("state_dict"), Mapping):
        said = _settings(content, "hyper_parameters")
        # Before 2.7 the pre-processor itself stood among the hyperparameters.
        transforms = _settings(content, "anomalib_pre_processor_config").get(
            "transform", child(said.get("pre_processor"), "transform")
        )
        return _Found(_of_model(content["state_dict"]), *_network_said(said), transforms)
    if isinstance(content.get("model"), StandIn):
        whole = content["model"]
        model = child(whole, "model") or whole
        transforms = child(child(whole, "pre_processor"), "transform")
        state = _of_model(dict(module_tensors(whole)))
        return _Found(state, *_network_said(model.state), transforms)
    return _Found(_of_model(content))


def _settings(content: Mapping[Any, Any], name: str) -> Mapping[str, Any]:
    """Return the settings that a checkpoint has under a name, if any."""
    settings = content.get(name)
    if settings is None:
        return {}
    if not isinstance(settings, Mapping):
        raise _odd(name, settings, "a dict")
    return settings


def _network_said(settings: Mapping[str, Any]) -> tuple[str | None, Sequence[str] | None]:
    """Return the network's name and its layers, where settings say them."""
    backbone, layers = settings.get("backbone"), settings.get("layers")
    if not isinstance(backbone, str | None):
        raise _odd("backbone", backbone, "a name")
    try:
        return backbone, None if layers is None else check_layer_names(layers)
    except (TypeError, ValueError) as error:
        raise _odd("layers", layers, "a list of names") from error


def _odd(what: str, found: object, expected: str) -> ValueError:
    return ValueError(
        f"checkpoint: its {what} should be {expected}, and is {found!r}: it is damaged, or no checkpoint of "
        "anomalib 2. Pass its state_dict alone, with backbone, layers and image_size of the fit."
    )


def _of_model(state: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return the part of a state dict that is the ``PadimModel``'s."""
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    last = "gaussian.inv_covariance"
    prefixes = [name.removesuffix(last) for name in tensors if name.endswith(last)]
    if len(prefixes) != 1:
        some = f"{len(tensors)} tensors ({', '.join(list(tensors)[:3])}{', ...' * (len(tensors) > 3)})"
        raise _no_padim(some if tensors else "no tensors")
    return {
        name.removeprefix(prefixes[0]): value
        for name, value in tensors.items()
        if name.startswith(prefixes[0])
    }


def _no_padim(found: str) -> ValueError:
    return ValueError(
        f"checkpoint holds {found}, and no PaDiM of anomalib 2, which has one 'gaussian.inv_covariance'. "
        "Pass a checkpoint of its Engine (.ckpt), a model exported to torch (.pt), or a state dict."
    )


def _gaussian(state: Mapping[str, Tensor]) -> ForeignGaussian:
    """Return what anomalib has learned of every patch."""
    names = ("idx", "gaussian.mean", "gaussian.inv_covariance")
    absent = [name for name in names if name not in state]
    if absent:
        raise ValueError(
            f"checkpoint is damaged: it has no {' and no '.join(absent)}. Expected {', '.join(names)}: save "
            "it again, whole."
        )
    indices, mean, inverse = (state[name] for name in names)
    if not inverse.numel():
        raise ValueError("checkpoint holds a PaDiM that is not fitted. Save it after Engine.fit().")
    n = indices.numel()
    of_patches = indices.ndim == 1 and mean.ndim == 2 and len(mean) == n
    if not of_patches or inverse.shape != (mean.shape[1], n, n):
        raise ValueError(
            f"checkpoint is damaged: idx has shape {tuple(indices.shape)}, gaussian.mean {tuple(mean.shape)} "
            f"and gaussian.inv_covariance {tuple(inverse.shape)}; expected (n,), (n, m) and (m, n, n)."
        )
    if indices.is_floating_point() or not (mean.is_floating_point() and inverse.is_floating_point()):
        raise ValueError(
            f"checkpoint is damaged: idx has dtype {indices.dtype}, gaussian.mean {mean.dtype} and "
            f"gaussian.inv_covariance {inverse.dtype}; expected ints, floats and floats."
        )

    def precision_of(patches: Tensor) -> Tensor:
        chosen = inverse[patches].double()
        # Inverted in float32, they are symmetric to its rounding only; a distance sees the symmetric part.
        return (chosen + chosen.mT) / 2

    return ForeignGaussian(indices.long().numpy(), mean, precision_of)


def _network(
    state: Mapping[str, Tensor],
    backbone: str,
    layers: tuple[str, ...],
    size: tuple[int, int],
    normalisation: Normalisation,
) -> ForeignNetwork:
    """Return the network of a state dict, as torchvision has it, or else timm."""
    name = backbone if backbone in _ALSO_IN_TORCHVISION else f"timm/{backbone}"
    expected = build_backbone(name, layers, None, "imagenet", size, seed=0).arrays
    arrays = {}
    for entry, like in expected.items():
        theirs = _NETWORK + entry.removeprefix("timm.")
        # timm lists the stages of some networks without the module that holds them.
        value = state.get(theirs, state.get(_NETWORK + entry.removeprefix("timm.").replace(".", "_", 1)))
        if value is None or tuple(value.shape) != like.shape:
            found = "none" if value is None else str(tuple(value.shape))
            raise ValueError(
                f"checkpoint: its network is not {backbone!r} up to {layers[-1]!r}: {theirs} should have "
                f"shape {like.shape}, and has {found}. Pass the backbone and the layers of the fit."
            )
        array = value.numpy().astype(like.dtype)
        array.setflags(write=False)
        arrays[entry] = array
    return ForeignNetwork(name, layers, arrays, normalisation)

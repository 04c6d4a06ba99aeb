"""What anomalib's pre-processor does with photos, in the parameters of a detector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..base.checks import check_size
from ..network.normalisation import IMAGENET, UNCHANGED, Normalisation, check_normalisation
from .unpickling import StandIn

# They change the type of an image, which is a float from 0 to 1 by then.
_OF_TYPES = ("Identity", "ToDtype", "ToImage")


@dataclass(frozen=True)
class PhotoTransform:
    """How photos come to the network; None: not said.

    Attributes
    ----------
    image_size, crop_size : (int, int) or None
    normalisation : Normalisation
    """

    image_size: tuple[int, int] | None = None
    crop_size: tuple[int, int] | None = None
    normalisation: Normalisation = IMAGENET


def read_transforms(said: object, *, resizes: bool) -> PhotoTransform:
    """Read the transform of a pre-processor.

    Parameters
    ----------
    said : object
        anomalib's plain description, the stand-in of a transform of torchvision, or None: its default.
    resizes : bool
        Whether its resizing counts. Where the user states the size, it does not.

    Returns
    -------
    PhotoTransform

    Raises
    ------
    ValueError
        If it does what a detector does not.
    """
    if said is None:
        return PhotoTransform()
    try:
        steps = list(_steps(said))
        return _read(steps, resizes=resizes)
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"checkpoint: its pre-processor cannot be understood ({type(error).__name__}: {error}): it is "
            "damaged, or none of anomalib 2. Pass its state_dict alone, with backbone, layers and image_size "
            "of the fit."
        ) from error


def _read(steps: Sequence[tuple[str, Mapping[str, Any]]], *, resizes: bool) -> PhotoTransform:
    result = PhotoTransform(normalisation=UNCHANGED)
    for name, settings in steps:
        if name == "Normalize":
            scales = check_normalisation((settings["mean"], settings["std"])) or IMAGENET
            way = result.normalisation.interpolation
            result = replace(result, normalisation=replace(scales, interpolation=way))
        elif name == "CenterCrop":
            result = replace(result, crop_size=check_size("checkpoint: its crop", settings["size"]))
        elif name == "Resize" and resizes and result.crop_size is None:
            size, way = _resize(settings)
            scales = replace(result.normalisation, interpolation=way)
            result = replace(result, image_size=size, normalisation=scales)
        elif name not in _OF_TYPES and not (name == "Resize" and result.crop_size is None):
            raise ValueError(
                f"checkpoint: its pre-processor has a {name}, where skpadim does nothing of the kind. A "
                "detector resizes, crops the centre and normalises, in this order."
            )
    return result


def _steps(said: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield names and settings of transforms, those that others hold in their place."""
    if isinstance(said, StandIn):
        name, settings = type(said).__name__, said.state
    else:
        name, settings = str(said["class_path"]).rpartition(".")[2], said["init_args"]
    if name != "Compose":
        yield name, settings
        return
    for each in settings["transforms"]:
        yield from _steps(each)


def _resize(settings: Mapping[str, Any]) -> tuple[tuple[int, int], str]:
    """Return size and interpolation, if a detector resizes so."""
    way = settings.get("interpolation", "bilinear")
    way = str(way.arguments[0]) if isinstance(way, StandIn) and way.arguments else str(way)
    size = settings["size"]
    sides = isinstance(size, list | tuple) and len(size) == 2
    if sides and way in ("bilinear", "bicubic") and settings.get("antialias", True):
        return check_size("checkpoint: its size", size), way
    raise ValueError(
        f"checkpoint: its pre-processor resizes to {size} by {way}, antialias={settings.get('antialias')}. A "
        "detector resizes to a height and a width, bilinear or bicubic, with antialiasing. Pass image_size, "
        "and photos that have this size already."
    )

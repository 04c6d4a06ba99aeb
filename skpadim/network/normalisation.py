"""What pixels go through before a network sees them: it belongs to the weights."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, replace
from typing import Any

from . import efficientnet_lite

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation per channel, for pixels in [0, 1], and how images are best resized.

    A network is fed ``(pixels - mean) / std``.

    Parameters
    ----------
    mean, std : (float, float, float)
        Of red, green and blue.
    interpolation : {"bilinear", "bicubic"}
        By which images were resized when the network was trained.
    """

    mean: Triple
    std: Triple
    interpolation: str = "bilinear"


#: The statistics of ImageNet, with which most weights were trained.
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: From -1 to 1, as the Inception networks have it.
INCEPTION = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
#: (bytes - 127) / 128, as TensorFlow trained EfficientNet-Lite.
EFFICIENTNET_LITE = Normalisation((127 / 255,) * 3, (128 / 255,) * 3)
#: For networks that normalise their images themselves.
UNCHANGED = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

_NAMED = {"imagenet": IMAGENET, "inception": INCEPTION}

# Their weights come from TensorFlow. Built with them, the networks of torchvision take images with ImageNet's
# statistics and undo these: x * std / 0.5 + (mean - 0.5) / 0.5. Built without, as ours are, they do not.
_FROM_TENSORFLOW = {"googlenet", "inception_v3", "quantized_googlenet", "quantized_inception_v3"}


def of_torchvision(name: str, weights: str) -> Normalisation:
    """Return what torchvision's weights were trained with.

    It is for the network built with ``weights=None``, which then loads them. Detection networks normalise
    their images themselves: theirs is no change. Networks for videos have one as well, if no use for images.

    Parameters
    ----------
    name : str
        A network of ``torchvision.models.list_models()``.
    weights : str
        One of its weights, "DEFAULT" included.

    Raises
    ------
    ValueError
        If the weights are unknown, or the network compares two images (optical flow).

    Examples
    --------
    >>> of_torchvision("efficientnet_v2_l", "DEFAULT")
    Normalisation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation='bicubic')
    """
    from torchvision.models import get_model_weights

    known = get_model_weights(name)
    if weights not in known.__members__:
        raise ValueError(
            f"weights={weights!r} are none of torchvision's for {name}: {', '.join(known.__members__)}."
        )
    transforms = known[weights].transforms()
    if len(inspect.signature(transforms.forward).parameters) > 1:
        raise ValueError(f"backbone={name!r} compares two images; choose a network that looks at one.")
    if not hasattr(transforms, "mean"):
        return UNCHANGED
    interpolation = transforms.interpolation.value
    if name in _FROM_TENSORFLOW:
        return replace(INCEPTION, interpolation=interpolation)
    return Normalisation(tuple(transforms.mean), tuple(transforms.std), interpolation)


def of_known(name: str, weights: object) -> Normalisation:
    """Return what a network that we know was trained with.

    Parameters
    ----------
    name : str
        See :func:`skpadim.network.weights.is_known`.
    weights : str, path or None
        For a file, and random weights, those that torchvision has by default for the network count.
    """
    if name in efficientnet_lite.NAMES:
        return EFFICIENTNET_LITE
    from torchvision.models import get_model_weights

    known = get_model_weights(name).__members__
    named = str(weights) if str(weights) in known else "DEFAULT"
    return of_torchvision(name, named) if known else IMAGENET


def check_normalisation(value: Any) -> Normalisation | None:
    """Return what the parameter ``normalisation`` means, or None for "auto": what belongs to the weights.

    Parameters
    ----------
    value : {"auto", "imagenet", "inception"} or (mean, std)
        Mean and standard deviation per channel, three numbers each, for pixels in [0, 1].

    Raises
    ------
    ValueError
        If it is none of these.

    Examples
    --------
    >>> check_normalisation(([0, 0, 0], [1, 1, 1]))
    Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), interpolation='bilinear')
    """
    if isinstance(value, str):
        if value == "auto":
            return None
        if value in _NAMED:
            return _NAMED[value]
    elif hasattr(value, "__len__") and len(value) == 2:
        mean, std = _triple(value, value[0], "mean"), _triple(value, value[1], "std")
        return Normalisation(mean, std)
    raise ValueError(
        f"normalisation={value!r} is none of 'auto', {', '.join(map(repr, _NAMED))} and a pair (mean, std), "
        "three numbers each, for pixels in [0, 1]."
    )


def _triple(pair: Any, values: Any, what: str) -> Triple:
    """Return one part of a pair as three floats that can be a mean, or a standard deviation."""
    where = f"normalisation={pair!r}: {what}"
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where} holds no numbers. Pass three: of red, green and blue.") from error
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{where} is not three finite numbers. Pass one each for red, green and blue.")
    if max(numbers) > 1:
        raise ValueError(
            f"{where} is above 1, but is meant for pixels in [0, 1]. Divide what is for bytes by 255."
        )
    if what == "std" and min(numbers) <= 0:
        raise ValueError(f"{where} must be above 0; 1 leaves pixels as they are.")
    if min(numbers) < 0:
        raise ValueError(f"{where} must not be below 0, as no pixel is.")
    return numbers

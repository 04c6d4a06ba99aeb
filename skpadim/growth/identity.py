"""What two parts must have in common to be parts of one fit, told by content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from ..images.digests import digest

if TYPE_CHECKING:
    from ..features import CNNFeatureTransformer
    from .detectors import Steps

_DIGITS = 16
# What files do not say that were written before there was a choice.
_BEFORE = {"resize": "'stretch'", "decoding": "'exact'", "padding, by the sizes of its photos": "None"}

#: What decides statistics and scores, by the parameter that decides it; equal only for equal content.
Identity = dict[str, str]


def identity(steps: Steps) -> Identity:
    """Return what decides what is accumulated, and what is made of it.

    Parameters
    ----------
    steps : Steps
        Features and channels fitted.

    Returns
    -------
    dict of str to str
    """
    features, channels, gaussian = steps
    sizes = features.resized_size_, features.input_size_
    ignored, aligner = features.ignored_, features.aligner_
    return {
        "estimator": "PaDiMDetector",
        # What the user sets comes before what follows from it, so that a message names the cause.
        "random_state": f"seed {features.random_state}",
        "image_size": repr(sizes[0]),
        "resize": repr(features.resize_),
        "crop_size": repr(sizes[1]),
        "decoding": repr(features.decoding_),
        "patch_stride": repr(features.pooling_),
        "value_range": repr(features.value_range),
        "align": "None" if aligner is None else f"a template {_short(*aligner.identity())}",
        "padding, by the sizes of its photos": _padding(features),
        "ignore": "None" if ignored is None else f"a mask {_short(ignored)}",
        "precision": repr(features.precision),
        "engine": repr(features.engine),
        "epsilon": repr(gaussian.epsilon),
        "sigma": repr(float(gaussian.sigma)),
        "n_calibration": repr(int(gaussian.n_calibration)),
        "layers": repr(features.layer_names_),
        "normalisation": repr(features.normalisation_),
        "backbone and weights": _network(features.backbone_, features.trunk_arrays_),
        "n_channels": f"{len(channels.channel_indices_)} channels {_short(channels.channel_indices_)}",
    }


def refuse_others(kinds: Sequence[Mapping[str, str]], names: Sequence[str] | None = None) -> None:
    """Raise if parts are not of one kind.

    Parameters
    ----------
    kinds : sequence of dict of str to str
        See `identity`.
    names : sequence of str, optional
        What to call the parts.

    Raises
    ------
    ValueError
        It names the first part that differs from the first of all, and in what.
    """
    for number, kind in enumerate(kinds[1:], start=1):
        for name, value in kinds[0].items():
            found = kind.get(name, _BEFORE.get(name))
            if found != value:
                other, first = (names[number], names[0]) if names else (f"part {number}", "part 0")
                raise ValueError(
                    f"{other} has another {name}, {found}, than {first}, {value}. Parts of one fit "
                    "have the same network, channels, sizes and parameters: fit all of them with the same, "
                    "random_state included."
                )


def _padding(features: CNNFeatureTransformer) -> str:
    """Return which places most photos leave to padding, and which nobody has therefore learned."""
    if features.resize_ != "pad" or features.ignored_ is None:
        return "None"
    return f"{features.ignored_.mean():.0%} of all, a mask {_short(features.ignored_)}"


def _network(backbone: str | nn.Module, arrays: Mapping[str, np.ndarray]) -> str:
    if isinstance(backbone, str):
        return f"{backbone!r} {_short(*arrays, *arrays.values())}"
    state = {name: value.detach().cpu().numpy() for name, value in backbone.state_dict().items()}
    return f"{type(backbone).__name__} {_short(*state, *state.values())}"


def _short(*parts: object) -> str:
    return digest(*parts)[:_DIGITS]

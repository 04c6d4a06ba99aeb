"""A fitted detector as one ONNX file that takes photos and decides."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from sklearn.utils.validation import check_is_fitted

import skpadim

from ..base.checks import check_size
from ..detector import PaDiMDetector
from ..images.arrays import Size
from ..images.resizing import centre_window
from ..pyramid import CoarseToFine
from ..network.onnx_trunk import OPSET, write_trunk
from .builder import IR_VERSION, GraphBuilder, as_float
from .decision import add_decisions, add_maps
from .distances import add_distances
from .pixels import add_resize
from .verification import check_file

_TWO_GIGABYTES = 2**31 - 1
_OUTPUTS = {
    "score": (TensorProto.FLOAT, ["n"]),
    "is_anomaly": (TensorProto.BOOL, ["n"]),
    "p_value": (TensorProto.FLOAT, ["n"]),
    "anomaly_map": (TensorProto.FLOAT, ["n", "rows", "columns"]),
    "mask": (TensorProto.BOOL, ["n", "rows", "columns"]),
}


def to_onnx(
    detector: PaDiMDetector,
    path: str | os.PathLike[str],
    *,
    photo_size: int | tuple[int, int] | None = None,
) -> Path:
    """Write a fitted detector as one ONNX file, from photos to decisions.

    The graph takes ``photos`` (n, height, width, 3), uint8, and gives ``score`` (n,), ``is_anomaly`` (n,),
    ``p_value`` (n,), ``anomaly_map`` and ``mask`` (n, rows, columns) at the size that the network sees. Before
    the file is put in its place onnxruntime runs it beside the detector.

    Parameters
    ----------
    detector : PaDiMDetector
        Fitted.
    path : str or path-like
        The file to write.
    photo_size : int, (int, int) or None, default=None
        Height and width of the photos of one camera, for which the resize is baked in; None: any.

    Returns
    -------
    Path

    Raises
    ------
    ImportError
        If the extra "export" is not installed.
    ValueError
        If the detector cannot be exported, or the file computes something else.
    """
    path = Path(path)
    size = None if photo_size is None else check_size("photo_size", photo_size)
    model = build_model(detector, size)
    partial = path.with_name(f"{path.name}.part")
    data = f"{path.name}.data" if model.ByteSize() > _TWO_GIGABYTES else None
    try:
        onnx.save(model, partial, save_as_external_data=data is not None, location=data)
        check_file(partial, detector, size)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def build_model(detector: PaDiMDetector, photo_size: Size | None = None) -> onnx.ModelProto:
    """Return a fitted detector as a model of ONNX; see `to_onnx`."""
    check_is_fitted(detector)
    features, channels, gaussian = detector.pipeline_.named_steps.values()
    height, width = features.input_size_
    graph = GraphBuilder()
    window = centre_window(features.resized_size_, features.input_size_)
    mean, std, interpolation = features.normalisation_
    pixels = add_resize(graph, "photos", features.resized_size_, window, interpolation, photo_size)
    if features.ignored_ is not None:
        colour = np.round(255 * as_float(mean)).reshape(3, 1, 1)
        pixels = graph.op("Where", graph.constant(features.ignored_), graph.constant(colour), pixels)
    scale = 1 / (255 * np.array(std)).reshape(3, 1, 1)
    offset = (-np.array(mean) / np.array(std)).reshape(3, 1, 1)
    scaled = graph.op("Mul", pixels, graph.constant(scale, np.float32))
    normal = graph.op("Add", scaled, graph.constant(offset, np.float32))
    trunk = write_trunk(features.trunk_copy(), features.layer_names_, features.input_size_)
    levels = graph.include(onnx.load_from_string(trunk).graph, [normal], "trunk.")
    kept = channels.by_layer([shape[0] for shape in features.level_shapes_])
    order, scorer = CoarseToFine(gaussian.level_shapes_), gaussian.cpu_scorer()
    distances = add_distances(
        graph, order.sort(levels), order.sort(kept), gaussian.whitening_, scorer
    )
    maps = add_maps(graph, distances, scorer, gaussian.ignored_)
    add_decisions(graph, maps, -gaussian.offset_, gaussian.loo_scores_)
    of_photos = ["n", *(photo_size or ("height", "width")), 3]
    sizes = {"rows": height, "columns": width}
    made = helper.make_graph(
        graph.nodes,
        "skpadim",
        [helper.make_tensor_value_info("photos", TensorProto.UINT8, of_photos)],
        [
            helper.make_tensor_value_info(name, kind, [sizes.get(side, side) for side in shape])
            for name, (kind, shape) in _OUTPUTS.items()
        ],
        list(graph.initializers.values()),
    )
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="skpadim",
        producer_version=skpadim.__version__,
    )
    helper.set_model_props(model, _metadata(detector))
    return model


def _metadata(detector: PaDiMDetector) -> dict[str, str]:
    """Return what a tool may want to know of a file, each value as JSON."""
    features, _, gaussian = detector.pipeline_.named_steps.values()
    values: Mapping[str, Any] = {
        "skpadim.format": 1,
        "skpadim.version": skpadim.__version__,
        "skpadim.created": datetime.now(UTC).isoformat(timespec="seconds"),
        "skpadim.torch_version": torch.__version__,
        "skpadim.network": features.backbone_ if isinstance(features.backbone_, str) else "module",
        "skpadim.layers": list(features.layer_names_),
        "skpadim.n_channels": len(detector.channel_indices_),
        "skpadim.resized_size": list(features.resized_size_),
        "skpadim.input_size": list(features.input_size_),
        "skpadim.interpolation": features.normalisation_[2],
        "skpadim.threshold": -gaussian.offset_,
        "skpadim.false_alarm_rate": detector.false_alarm_rate,
        "skpadim.n_learned": gaussian.n_samples_seen_,
        "skpadim.loo_scores": np.sort(gaussian.loo_scores_).tolist(),
        "skpadim.precision": "float32",
    }
    return {name: json.dumps(value) for name, value in values.items()}

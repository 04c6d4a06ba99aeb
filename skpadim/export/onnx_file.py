"""A fitted detector as one ONNX file that takes photos and decides."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

import skpadim

from ..base.checks import check_size
from ..base.whole_files import all_beside, refuse_absent_folder
from ..detector import PaDiMDetector
from ..images.arrays import Size
from ..images.resizing import centre_window
from ..network.onnx_trunk import OPSET
from ..pyramid import CoarseToFine
from .builder import IR_VERSION, GraphBuilder, as_float
from .decision import add_decisions, add_maps
from .distances import add_distances
from .metadata import metadata_of
from .pixels import add_resize
from .precision import at_precision, store_in_half
from .refusals import refuse_what_files_cannot
from .verification import check_scores, onnxruntime_scores

#: ONNX holds 2 GB in a file, of which some are for the graph and what it says of itself.
MOST_BYTES_OF_WEIGHTS = 2**31 - 2**26
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
    precision: str = "float32",
    photos: Any = None,
) -> Path:
    """Write a fitted detector as one ONNX file, from photos to decisions.

    The graph takes ``photos`` (n, height, width, 3), uint8, RGB, and gives ``score`` (n,), ``is_anomaly``
    (n,), ``p_value`` (n,), ``anomaly_map`` and ``mask`` (n, rows, columns) at the size that the network sees.
    What a tool may want to know stands in the metadata, as JSON. Before the file is put in its place,
    onnxruntime runs it beside the detector.

    Parameters
    ----------
    detector : PaDiMDetector
        Fitted.
    path : str or path-like
        The file to write. Weights of more than 2 GB go into a second file, of the same name with ".data"
        behind.
    photo_size : int, (int, int) or None, default=None
        Height and width of the photos of one camera, for which the resize is baked in; None: any.
    precision : {"float32", "float16", "int8"}, default="float32"
        "float16": weights and Gaussians are stored in half precision, and computed with in float32. "int8":
        the network's convolutions compute in eight bits.
    photos : images, optional
        The good photos of the fit, by which Gaussians and threshold are learned anew in another precision.

    Returns
    -------
    Path

    Raises
    ------
    ImportError
        If the extra "export" is not installed.
    ValueError
        If the detector cannot be exported, the file computes something else, or it has no place.

    Notes
    -----
    Photos are resized by two matrix products that have the weights, and the rounding, of torch's antialiased
    resize of bytes. Of a million pixels at most some hundreds differ, by one of 255; with `photo_size` none.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import onnxruntime
    >>> from skpadim import PaDiMDetector
    >>> from skpadim.datasets import make_inspection_images
    >>> from skpadim.export import to_onnx
    >>> photos = make_inspection_images(n_train=20, n_good=1, n_defective=1, image_size=64)
    >>> detector = PaDiMDetector(image_size=64).fit(photos.X_train)
    >>> with TemporaryDirectory() as folder:
    ...     file = to_onnx(detector, Path(folder, "line3.onnx"))
    ...     session = onnxruntime.InferenceSession(file)
    >>> session.run(["is_anomaly"], {"photos": photos.X_test})[0]
    array([False,  True])
    """
    path = Path(path)
    refuse_absent_folder(path)
    size = None if photo_size is None else check_size("photo_size", photo_size)
    model, as_written = build_model(detector, photo_size=size, precision=precision, photos=photos)
    with all_beside(path) as part:
        save_model(model, part)
        check_scores(onnxruntime_scores(part), as_written, size)
    return path


def save_model(model: onnx.ModelProto, path: Path) -> None:
    """Save a model, its weights in a second file "NAME.data" beside it if one cannot hold them."""
    # Counted by hand: where one file cannot hold a model, protobuf cannot tell its size either.
    n_bytes = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if n_bytes > MOST_BYTES_OF_WEIGHTS:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data")
    else:
        onnx.save(model, path)


def build_model(
    detector: PaDiMDetector,
    *,
    photo_size: Size | None,
    precision: str,
    photos: Any,
    engine: str = "onnxruntime",
) -> tuple[onnx.ModelProto, PaDiMDetector]:
    """Return a fitted detector as a model of ONNX, and the detector that computes the same; see `to_onnx`."""
    refuse_what_files_cannot(detector)
    detector, trunk = at_precision(detector, precision, photos, engine=engine)
    graph = GraphBuilder()
    _add_detector(graph, detector, trunk, photo_size)
    model = helper.make_model(
        _with_values(graph, detector.pipeline_[0].input_size_, photo_size),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="skpadim",
        producer_version=skpadim.__version__,
    )
    graph.put_initializers(model.graph)
    if precision == "float16":
        store_in_half(model)
    helper.set_model_props(model, metadata_of(detector, precision))
    return model, detector


def _add_detector(
    graph: GraphBuilder, detector: PaDiMDetector, trunk: bytes, photo_size: Size | None
) -> None:
    features, channels, gaussian = detector.pipeline_.named_steps.values()
    window = centre_window(features.resized_size_, features.input_size_)
    mean, std, interpolation = features.normalisation_
    pixels = add_resize(graph, "photos", features.resized_size_, window, interpolation, photo_size)
    if features.ignored_ is not None:
        colour = np.round(255 * as_float(mean)).reshape(3, 1, 1)
        pixels = graph.op("Where", graph.constant(features.ignored_), graph.constant(colour), pixels)
    # Bit for bit the detector's, which rounds once: a pixel's last bit may decide a step of eight bits.
    scale = 1 / (as_float(std) * np.float32(255)).reshape(3, 1, 1)
    black = (-as_float(mean) / as_float(std)).reshape(3, 1, 1)
    scaled = graph.op("Mul", graph.cast(pixels, TensorProto.DOUBLE), graph.constant(scale, np.float64))
    precise = graph.op("Add", scaled, graph.constant(black, np.float64))
    normal = graph.cast(precise, TensorProto.FLOAT)
    levels = graph.include(onnx.load_from_string(trunk).graph, [normal], "trunk.")
    levels = [
        graph.op("AveragePool", level, kernel_shape=[n, n], strides=[n, n]) if n > 1 else level
        for level, n in zip(levels, features.pooling_ or [1] * len(levels), strict=True)
    ]
    kept = channels.by_layer([shape[0] for shape in features.level_shapes_])
    order, scorer = CoarseToFine(gaussian.level_shapes_), gaussian.cpu_scorer()
    distances = add_distances(graph, order.sort(levels), order.sort(kept), gaussian.whitening_, scorer)
    maps = add_maps(graph, distances, scorer, gaussian.ignored_)
    add_decisions(graph, maps, detector.threshold(), gaussian.loo_scores_)


def _with_values(graph: GraphBuilder, size: Size, photo_size: Size | None) -> onnx.GraphProto:
    """Return the graph with what goes in and comes out, its initialisers not yet in it."""
    sides = {"rows": size[0], "columns": size[1]}
    of_photos = ["n", *(photo_size or ("height", "width")), 3]
    return helper.make_graph(
        graph.nodes,
        "skpadim",
        [helper.make_tensor_value_info("photos", TensorProto.UINT8, of_photos)],
        [
            helper.make_tensor_value_info(name, kind, [sides.get(side, side) for side in shape])
            for name, (kind, shape) in _OUTPUTS.items()
        ],
    )

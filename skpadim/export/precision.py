"""Half precision and eight bits: the network is rounded, and what rests on it is learned again.

A threshold belongs to the precision that it was calibrated in. So the Gaussians and the leave-one-out scores
are those of the rounded network, from the photos of the fit.
"""

from __future__ import annotations

import copy
import math
import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from torch import Tensor

from ..base.randomness import draw_seed
from ..calibration import conformal_threshold
from ..detector import PaDiMDetector
from ..features import CNNFeatureTransformer
from ..gaussian import PatchGaussian
from ..growth.growth import Growth, paths_of
from ..images.collection import Images
from ..network.extractor import normalised_pixels
from ..network.normalisation import Normalisation
from ..network.onnx_trunk import write_trunk

PRECISIONS = ("float32", "float16", "int8")
#: The initialisers of a file that are rounded: the network's weights, and the rows of the Gaussians.
ROUNDED = r"trunk\.|gaussian\.\d+\.whitening"
# Smaller arrays are biases and shapes: rounding them saves nothing.
_FEWEST_TO_ROUND = 1024
# Photos by which eight bits are laid over the range of each activation.
_N_RANGES = 100


def at_precision(
    detector: PaDiMDetector, precision: str, photos: Any, *, engine: str = "onnxruntime"
) -> tuple[PaDiMDetector, bytes]:
    """Return a detector that computes at a precision, calibrated in it, and its network as a model of ONNX.

    Parameters
    ----------
    detector : PaDiMDetector
        Fitted.
    precision : {"float32", "float16", "int8"}
    photos : images or None
        Those of the fit; for "float32" nobody needs them.
    engine : {"onnxruntime", "openvino"}, default="onnxruntime"
        In which the rounded network will run: engines round eight bits each in a way of their own.

    Raises
    ------
    ValueError
        If the precision is unknown, or photos are missing.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r} must be one of {', '.join(map(repr, PRECISIONS))}.")
    features, channels, _ = detector.pipeline_.named_steps.values()
    trunk = write_trunk(features.trunk_copy(), features.layer_names_, features.input_size_)
    if precision == "float32":
        return detector, trunk
    if photos is None:
        raise ValueError(
            f"precision={precision!r} moves scores, so its threshold must be calibrated anew: pass the good "
            "photos of the fit as photos."
        )
    if getattr(detector.pipeline_[-1], "n_groups_", None) is not None:  # files of earlier versions have none
        raise ValueError(
            f"precision={precision!r} moves scores, so its threshold must be calibrated anew, and this "
            "detector was calibrated with groups, which it does not keep. Export it in float32."
        )
    rounded = (
        in_half(trunk)
        if precision == "float16"
        else in_bytes(trunk, features, features.images(photos, on_error=detector.on_error))
    )
    elsewhere = features.run_elsewhere(engine, rounded)
    learned = _learned_again(detector, elsewhere, photos, half_rows=precision == "float16")
    other = copy.copy(detector)
    other.pipeline_ = Pipeline([("features", elsewhere), ("channels", channels), ("gaussian", learned)])
    return other, rounded


def _learned_again(
    detector: PaDiMDetector, features: CNNFeatureTransformer, photos: Any, *, half_rows: bool
) -> PatchGaussian:
    """Return the Gaussians of photos by other features, with a threshold of the same meaning."""
    _, channels, gaussian = detector.pipeline_.named_steps.values()
    kept = channels.by_layer([shape[0] for shape in features.level_shapes_])
    images = features.images(photos, on_error=detector.on_error)
    learned: PatchGaussian = clone(gaussian)
    # By the contents of photos, so that those calibrate that did in the fit.
    growth = Growth(gaussian.n_calibration, draw_seed(gaussian.random_state))
    growth.begin()
    for batch in features.stream(images, kept, measure=True):
        growth.add(batch, paths_of(images, batch.indices))
    growth.end(len(images), images.failures)
    learned.calibrate(
        learned.learn(growth.patches, features.input_size_, features.ignored_, growth.photos.membership())
    )
    if learned.n_samples_seen_ != gaussian.n_samples_seen_:
        raise ValueError(
            f"photos: {learned.n_samples_seen_} could be read, and the detector has learned "
            f"{gaussian.n_samples_seen_}. Pass the good photos of the fit, all of them and no others."
        )
    if half_rows:
        calibration = features.batches(images, only=learned.loo_indices_.tolist())
        _round_rows(learned, [features.extract(batch, kept) for batch in calibration])
    if _has_own_threshold(gaussian):
        return learned.set_threshold(-gaussian.offset_)
    return learned.set_false_alarm_rate(gaussian.false_alarm_rate)


def _round_rows(gaussian: PatchGaussian, calibration: Sequence[Sequence[Tensor]]) -> None:
    """Round whitening rows to half precision, and move leave-one-out scores as their photos' scores move."""

    def scores() -> NDArray[np.float64]:
        return np.concatenate(
            [gaussian.image_scores(gaussian.distances(b)).cpu().numpy() for b in calibration]
        )

    before = scores()
    gaussian.whitening_ = [part.astype(np.float16).astype(np.float32) for part in gaussian.whitening_]
    del gaussian._scorer
    gaussian.loo_scores_ = gaussian.loo_scores_ * (scores() / before)


def _has_own_threshold(gaussian: PatchGaussian) -> bool:
    """Whether somebody set the threshold by hand."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few scores, which the fit has told
        usual = conformal_threshold(gaussian.loo_scores_, gaussian.false_alarm_rate)
    return bool(-gaussian.offset_ != usual)


def in_half(model: bytes) -> bytes:
    """Return a model whose weights are rounded to half precision; it computes in float32."""
    proto = onnx.load_from_string(model)
    for tensor in proto.graph.initializer:
        if is_large(tensor):
            tensor.CopyFrom(numpy_helper.from_array(halved(tensor).astype(np.float32), tensor.name))
    return proto.SerializeToString()


def is_large(tensor: onnx.TensorProto) -> bool:
    """Whether an initialiser is worth being stored in half precision."""
    return tensor.data_type == TensorProto.FLOAT and math.prod(tensor.dims) >= _FEWEST_TO_ROUND


def halved(tensor: onnx.TensorProto) -> NDArray[np.float16]:
    """Return an initialiser in half precision.

    Raises
    ------
    ValueError
        If a value is too large for it.
    """
    values = numpy_helper.to_array(tensor)
    if np.abs(values).max() > np.finfo(np.float16).max:
        raise ValueError(
            f"precision='float16' cannot hold {tensor.name}, whose values reach {np.abs(values).max():.3g}: "
            "export in float32."
        )
    return values.astype(np.float16)


def store_in_half(model: onnx.ModelProto) -> None:
    """Store the large initialisers of a model in half precision; it computes in float32."""
    graph, widened = model.graph, []
    for tensor in graph.initializer:
        if is_large(tensor) and re.match(ROUNDED, tensor.name):
            name = f"{tensor.name}.half"
            widened.append(helper.make_node("Cast", [name], [tensor.name], name=name, to=TensorProto.FLOAT))
            # Field by field: protobuf copies a tensor by serialising it, which fails above 2 GB.
            tensor.name, tensor.raw_data = name, halved(tensor).tobytes()
            tensor.data_type = TensorProto.FLOAT16
    nodes = [*widened, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def in_bytes(model: bytes, features: CNNFeatureTransformer, images: Images) -> bytes:
    """Return a model whose convolutions compute in eight bits, by the ranges of activations on photos."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    normalisation = Normalisation(*features.normalisation_)
    some = range(0, len(images), -(-len(images) // _N_RANGES))
    pixels = (
        {"pixels": normalised_pixels(b.pixels, normalisation, torch.float32).numpy()}
        for b in features.batches(images, only=some)
    )
    with tempfile.TemporaryDirectory() as folder:
        prepared, path = Path(folder, "prepared.onnx"), Path(folder, "trunk.onnx")
        # The shapes alone: torch's exporter has folded what there is to fold.
        quant_pre_process(
            onnx.load_from_string(model), prepared, skip_optimization=True, skip_symbolic_shape=True
        )
        quantize_static(
            prepared,
            path,
            _Reader(pixels),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            op_types_to_quantize=["Conv"],
        )
        return path.read_bytes()


class _Reader:
    """Batches as onnxruntime asks for them."""

    def __init__(self, batches: Iterator[dict[str, NDArray[np.float32]]]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._batches, None)

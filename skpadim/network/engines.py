"""Other engines than torch, which run a network's trunk on a processor: the extra ``export``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..base.devices import resolve_device

#: From normalised pixels (n, 3, height, width), float32, to the outputs of the layers by name.
RunTrunk: TypeAlias = Callable[[Tensor], dict[str, Tensor]]

ENGINES = ("torch", "onnxruntime", "openvino")


def check_engine(engine: str, device: str | torch.device | None, precision: str | None) -> None:
    """Refuse an engine for what it cannot do, or that is not installed.

    Parameters
    ----------
    engine : {"torch", "onnxruntime", "openvino"}
    device : str, torch.device or None
        As it was asked for: without a GPU, torch would compute on the CPU instead, and nobody be told.
    precision : str or None

    Raises
    ------
    ValueError, ImportError
    """
    if engine == "torch":
        return
    chosen = resolve_device(None) if device is None else device
    if str(chosen).partition(":")[0] != "cpu":
        raise ValueError(
            f"engine={engine!r} runs on a processor, and device is {str(chosen)!r}: pass device='cpu'."
        )
    if precision not in (None, "float32"):
        raise ValueError(f"engine={engine!r} computes in float32, and precision is {precision!r}: pass None.")
    try:
        __import__(engine)
        __import__("onnxscript")
    except ImportError as error:
        raise ImportError(
            f"engine={engine!r} needs {error.name}: install the extra, pip install 'skpadim[export]'."
        ) from error


def run_in(engine: str, model: bytes, layers: Sequence[str]) -> RunTrunk:
    """Return a trunk at work in an engine, with as many threads as torch has.

    Parameters
    ----------
    engine : {"onnxruntime", "openvino"}
    model : bytes
        See :func:`skpadim.network.onnx_trunk.write_trunk`.
    layers : sequence of str
        Names of the outputs, in order.
    """
    return {"onnxruntime": _in_onnxruntime, "openvino": _in_openvino}[engine](model, tuple(layers))


def _in_onnxruntime(model: bytes, layers: tuple[str, ...]) -> RunTrunk:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Its threads would go on turning, in wait for more, where torch's want to compute the distances.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (name,) = (each.name for each in session.get_inputs())

    def run(pixels: Tensor) -> dict[str, Tensor]:
        outputs = session.run(None, {name: np.ascontiguousarray(pixels.numpy())})
        return {layer: torch.from_numpy(output) for layer, output in zip(layers, outputs, strict=True)}

    return run


def _in_openvino(model: bytes, layers: tuple[str, ...]) -> RunTrunk:
    import openvino

    # Its own default on some processors is bfloat16, which moves distances by per cents.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", settings)

    def run(pixels: Tensor) -> dict[str, Tensor]:
        request = compiled.create_infer_request()  # one for each thread that scores
        outputs = request.infer([np.ascontiguousarray(pixels.numpy())], share_inputs=True)
        return {layer: torch.from_numpy(outputs[index].copy()) for index, layer in enumerate(layers)}

    return run

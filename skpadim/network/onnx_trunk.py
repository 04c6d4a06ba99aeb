"""The network's trunk as a graph of ONNX, by torch's exporter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from .extractor import NETWORK_LOCK
from .modules import ModuleTrunk
from .weights import first_line

#: The operators that all of onnxruntime, its web build and OpenVINO read.
OPSET = 18
#: A model in memory, as engines take it, holds 2 GB, of which some are for the graph.
MOST_BYTES_OF_WEIGHTS = 2**31 - 2**26


class _Layers(nn.Module):
    """A network that returns its layers' outputs, in order."""

    def __init__(self, trunk: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self.trunk = trunk
        self.layers = tuple(layers)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of the layers."""
        if not isinstance(self.trunk, ModuleTrunk):
            outputs = self.trunk(pixels)
            return tuple(outputs[layer] for layer in self.layers)
        # Stopping behind the deepest layer is for running: what nobody takes, the exporter leaves out.
        taken: dict[str, Tensor] = {}
        module = self.trunk.module
        with ExitStack() as hooks:
            for layer in self.layers:
                hook = partial(_take, taken, layer)
                hooks.enter_context(module.get_submodule(layer).register_forward_hook(hook))
            module(pixels)
        return tuple(taken[layer] for layer in self.layers)


def _take(taken: dict[str, Tensor], layer: str, _module: nn.Module, _given: object, output: Tensor) -> None:
    taken[layer] = output.clone()


def write_trunk(trunk: nn.Module, layers: Sequence[str], size: tuple[int, int]) -> bytes:
    """Return a model of ONNX from normalised pixels (n, 3, height, width) to the layers' outputs.

    Parameters
    ----------
    trunk : nn.Module
        On the CPU, in float32.
    layers : sequence of str
    size : (int, int)
        Height and width of the pixels.

    Raises
    ------
    ValueError
        If torch's exporter cannot follow the network, or its weights take more than 2 GB.
    """
    pixels = torch.zeros(2, 3, *size)
    try:
        with NETWORK_LOCK, torch.inference_mode(False), torch.no_grad(), _quietly():
            program = torch.onnx.export(
                _Layers(trunk, layers).eval(),
                (pixels,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("n_images")},),
                opset_version=OPSET,
                input_names=["pixels"],
                output_names=[f"level_{index}" for index in range(len(layers))],
                external_data=False,
                verbose=False,
            )
            assert program is not None
    except Exception as error:  # Whatever a stranger's network raises.
        raise ValueError(
            f"backbone: torch cannot write {type(trunk).__name__} as ONNX ({first_line(error)}). A module's "
            "own Python must be such that torch.export can follow it."
        ) from error
    _refuse_large(program, layers)
    return bytes(program.model_proto.SerializeToString())


def _refuse_large(program: torch.onnx.ONNXProgram, layers: Sequence[str]) -> None:
    weights = (value.const_value for value in program.model.graph.initializers.values())
    n_bytes = sum(tensor.nbytes for tensor in weights if tensor is not None)
    if n_bytes > MOST_BYTES_OF_WEIGHTS:
        raise ValueError(
            f"backbone: up to {layers[-1]!r} its weights take {n_bytes / 1e9:.3g} GB, and a model of ONNX in "
            f"memory holds {MOST_BYTES_OF_WEIGHTS / 1e9:.3g}. Fit a smaller network, or leave out its "
            "deepest layer."
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back what the exporter says of its own workings."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

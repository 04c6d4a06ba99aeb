"""What a fitted transformer keeps of its network, and that network at work."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import astuple
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .base.devices import resolve_device
from .base.state import Estimator
from .images.digests import digest
from .network.backbones import TIMM, rebuild_trunk
from .network.engines import check_engine, run_in
from .network.extractor import NETWORK_LOCK, FeatureExtractor
from .network.normalisation import IMAGENET, Normalisation
from .network.sharing import at_work_once
from .network.weights import StateArrays


class FittedNetwork(Estimator):
    """An estimator that keeps a network as arrays, text and bytes, and builds it where it is needed."""

    backbone_: str | nn.Module
    layer_names_: tuple[str, ...]
    normalisation_: tuple[Any, ...]
    input_size_: tuple[int, int]
    trunk_arrays_: StateArrays
    #: Files of earlier versions have neither.
    trunk_graph_: str | None = None
    trunk_onnx_: NDArray[np.uint8] | None = None

    _rebuilt: tuple[str, ...] = ("_extractor",)
    device: str | torch.device | None
    precision: str | None
    engine: str
    _extractor: FeatureExtractor

    def _fitted_extractor(self) -> FeatureExtractor:
        """Return the network at work, built again from its arrays where a file was loaded."""
        with NETWORK_LOCK:
            if not hasattr(self, "_extractor"):
                self._take(self.trunk_arrays_, self._rebuilt_at_work)
            return self._extractor

    def run_elsewhere(self, engine: str, onnx: bytes) -> Self:
        """Return a copy whose network is what another engine makes of a model.

        Parameters
        ----------
        engine : {"onnxruntime", "openvino"}
        onnx : bytes
            See :func:`skpadim.network.onnx_trunk.write_trunk`: this network, or one rounded or quantised.

        Returns
        -------
        CNNFeatureTransformer
            It keeps no features in ``memory``, in which those of this network are.
        """
        other = copy.copy(self).set_params(engine=engine, device="cpu", precision=None, memory=None)
        other.trunk_onnx_ = np.frombuffer(onnx, dtype=np.uint8)
        vars(other).pop("_extractor", None)
        return other

    def trunk_copy(self) -> nn.Module:
        """Return the network up to its deepest layer, on the CPU in float32, folded: a copy."""
        trunk = self._fitted_extractor().trunk
        with NETWORK_LOCK:
            return copy.deepcopy(trunk).to("cpu", torch.float32)

    def _rebuilt_at_work(self) -> FeatureExtractor:
        layers, arrays = self.layer_names_, self.trunk_arrays_
        trunk = rebuild_trunk(self.backbone_, arrays, layers, self.input_size_, self.trunk_graph_)
        extractor = self._at_work(trunk, layers, Normalisation(*self.normalisation_))
        self.trunk_onnx_ = self._in_engine(extractor, self.trunk_onnx_)
        return extractor

    def _take(self, arrays: StateArrays, build: Callable[[], FeatureExtractor]) -> None:
        """Take a network at work and its weights from those in this process, or else add them to these."""
        if not arrays:  # A module may change at any time.
            self.trunk_arrays_, self._extractor = arrays, build()
            return
        sized = self.input_size_ if str(self.backbone_).startswith(TIMM) else None
        key = (self.backbone_, self.trunk_graph_, self.layer_names_, self.normalisation_, sized)
        model = b"" if self.trunk_onnx_ is None else self.trunk_onnx_
        how = (str(resolve_device(self.device)), self.precision, self.engine, model)
        self._extractor = at_work_once(digest(key, how, *arrays, *arrays.values()), arrays, build)
        self.trunk_arrays_ = self._extractor.arrays

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what was saved; refuse modules of earlier versions, which kept their weights elsewhere."""
        super().__setstate__(state)
        if not hasattr(self, "backbone_"):
            return
        if not hasattr(self, "normalisation_"):
            self.normalisation_ = astuple(IMAGENET)  # all there was, in earlier versions
        if isinstance(self.backbone_, nn.Module) and self.trunk_arrays_:
            raise ValueError(
                f"backbone {type(self.backbone_).__name__}: an earlier version of skpadim saved this module "
                "apart from its weights, to trace it anew. Modules now run as they are: fit again."
            )

    def _in_engine(
        self, extractor: FeatureExtractor, onnx: NDArray[np.uint8] | None
    ) -> NDArray[np.uint8] | None:
        """Let another engine than torch compute, and return what it runs, written anew if need be."""
        if self.engine == "torch":
            return None
        check_engine(self.engine, self.device, self.precision)
        if onnx is None:
            from .network.onnx_trunk import write_trunk

            written = write_trunk(extractor.trunk, extractor.layers, self.input_size_)
            onnx = np.frombuffer(written, dtype=np.uint8)
        extractor.run = run_in(self.engine, onnx.tobytes(), extractor.layers)
        return onnx

    def _at_work(
        self, trunk: nn.Module, layers: tuple[str, ...], normalisation: Normalisation
    ) -> FeatureExtractor:
        device = resolve_device(self.device)
        return FeatureExtractor(trunk, layers, normalisation, device, self.precision)

"""PaDiM and the paper's ablations: maps and their metrics."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.metrics import roc_auc_score

from skpadim import (
    FeaturePyramid,
    PatchGaussian,
    PCAChannelReducer,
    RandomChannelSelector,
    SemiOrthogonalProjection,
)
from skpadim.metrics import pimo_score, pixel_roc_auc_score, pro_score

from .data import Mask

Maps = NDArray[np.floating[Any]]

METRICS = ("image_roc_auc", "pixel_roc_auc", "pro", "aupimo")
# Dimensions that the paper compares random channels and principal components at.
_REDUCED = (100, 200)


class Models:
    """All models of one category: Gaussians of features that are computed once.

    Parameters
    ----------
    train, test : FeaturePyramid
    epsilon : float or "auto"
        As in `PatchGaussian`.
    seed : int
        Decides everything random.
    """

    def __init__(
        self, train: FeaturePyramid, test: FeaturePyramid, epsilon: float | str = 0.01, seed: int = 0
    ) -> None:
        self.train, self.test, self.epsilon, self.seed = train, test, epsilon, seed

    def of_paper(self, n_channels: int) -> Iterator[tuple[str, Maps]]:
        """Yield the model of the paper's tables."""
        yield f"random {n_channels}", self._reduced_maps(self._random(n_channels))

    def layer_ablation(self, n_channels: int | None) -> Iterator[tuple[str, Maps]]:
        """Yield each layer alone, the sum of these models' maps, and all layers in one Gaussian.

        Of each layer `n_channels` are drawn, where there are more. None: all are kept. The last model has the
        same channels as those before it, so that it differs by the covariances between layers alone.
        """
        layers = self.train.layer_names
        widths = [level.shape[1] for level in self.train.levels]
        kept = [None if n_channels is None else min(n_channels, width) for width in widths]
        alone = [
            self._reduce(self._random(n_kept, layers=[layer]))
            for n_kept, layer in zip(kept, layers, strict=True)
        ]
        maps = [self._maps(train, test) for train, test in alone]
        for layer, of_layer in zip(layers, maps, strict=True):
            yield f"{layer} alone", of_layer
        yield "sum of the layers", np.sum(maps, axis=0)
        trains, tests = zip(*alone, strict=True)
        yield "all layers together", self._maps(_joined(trains), _joined(tests))

    def reduction_ablation(self) -> Iterator[tuple[str, Maps]]:
        """Yield random channels, principal components and random projections, as many of each."""
        for n_channels in _REDUCED:
            if n_channels <= self.train.shape[1]:
                for name, reducer in (
                    ("random", self._random(n_channels)),
                    ("PCA", PCAChannelReducer(n_channels)),
                    ("semi-orthogonal", SemiOrthogonalProjection(n_channels, random_state=self.seed)),
                ):
                    yield f"{name} {n_channels}", self._reduced_maps(reducer)

    def _random(self, n_channels: int | None, layers: list[str] | None = None) -> RandomChannelSelector:
        return RandomChannelSelector(n_channels, layers=layers, random_state=self.seed)

    def _reduced_maps(self, reducer: TransformerMixin) -> Maps:
        return self._maps(*self._reduce(reducer))

    def _reduce(self, reducer: TransformerMixin) -> tuple[FeaturePyramid, FeaturePyramid]:
        return reducer.fit_transform(self.train), reducer.transform(self.test)

    def _maps(self, train: FeaturePyramid, test: FeaturePyramid) -> Maps:
        # The threshold is not looked at: one calibration image will do, and its warning is for users.
        gaussian = PatchGaussian(self.epsilon, n_calibration=1, false_alarm_rate=0.5)
        return gaussian.fit(train).anomaly_map(test)


def _joined(pyramids: Sequence[FeaturePyramid]) -> FeaturePyramid:
    """Return the levels of several pyramids of the same photos as one."""
    levels = [level for pyramid in pyramids for level in pyramid.levels]
    names = [name for pyramid in pyramids for name in pyramid.layer_names]
    return FeaturePyramid(levels, names, pyramids[0].image_size)


def measure(maps: Maps, y_test: NDArray[np.int64], masks: list[Mask]) -> tuple[dict[str, float], list[str]]:
    """Return the metrics in per cent, and what there is to say about them.

    A defective photo without a marked pixel counts for the photos only; without any mark, the metrics of
    pixels are NaN.
    """
    scores = dict.fromkeys(METRICS, np.nan)
    scores["image_roc_auc"] = 100 * roc_auc_score(y_test, -maps.max(axis=(1, 2)))
    used = pixel_photos(y_test, masks)
    if np.any(y_test[used] == -1):
        marks, maps = [masks[index] for index in used], maps[used]
        scores["pixel_roc_auc"] = 100 * pixel_roc_auc_score(marks, maps)
        scores["pro"] = 100 * pro_score(marks, maps)
        with warnings.catch_warnings(record=True, action="always") as caught:
            scores["aupimo"] = 100 * float(np.nanmean(pimo_score(marks, maps)))
        return scores, [f"AUPIMO: {warning.message}" for warning in caught]
    return scores, ["No photo of a defect has a mask: the metrics of pixels are left empty."]


def pixel_photos(y_test: NDArray[np.int64], masks: list[Mask]) -> list[int]:
    """Return which photos count for the metrics of pixels: good ones, and those with a marked pixel."""
    return [
        index
        for index, (label, mask) in enumerate(zip(y_test, masks, strict=True))
        if label == 1 or (mask is not None and mask.any())
    ]

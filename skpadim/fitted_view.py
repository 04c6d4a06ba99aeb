"""What a fitted transformer knows of where photos lie in what its network sees."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.frozen import FrozenEstimator
from torch import Tensor

from .alignment.aligner import PartAligner
from .alignment.choice import fit_aligner
from .alignment.view import AlignedView
from .base.devices import host_tensor
from .base.state import Estimator
from .images.arrays import Size
from .images.arriving import ArrivingImages
from .images.collection import Images
from .images.hidden import touched_patches
from .images.ignore import ignored_window
from .images.placing import colour_of_nothing
from .stream import FeatureBatch
from .view import PhotoView, uncounted

# Places that most photos leave to padding are learned from the sizes of so many.
_N_SIZED = 200
_NOTHING_LEFT = (
    "is of {} x {} pixels, and of what the network sees of it, {} x {}, no patch is left to judge: what is "
    "padded, moved out of sight or ignored covers all. Pass an image_size, (height, width), that is nearer "
    "to its aspect, or leave it out."
)


class FittedView(Estimator):
    """An estimator that learns where parts lie, and which places of photos count for nothing."""

    #: Files of earlier versions have none.
    ignored_: NDArray[np.bool_] | None = None
    painted_: NDArray[np.bool_] | None = None
    aligner_: PartAligner | None = None
    resize_: str = "stretch"

    ignore: ArrayLike | str | os.PathLike[str] | None
    align: str | PartAligner | FrozenEstimator | None
    resized_size_: Size
    input_size_: Size
    level_shapes_: list[tuple[int, int, int]]
    normalisation_: tuple[Any, ...]
    _rebuilt: tuple[str, ...] = ("_view",)

    def learn_places(self, X: Images | ArrivingImages | None) -> Self:
        """Learn what good photos show of what the network sees: what :meth:`fit` does with images.

        Where their parts lie, if ``align`` says so, and which places most of them leave to padding.

        Parameters
        ----------
        X : Images, ArrivingImages or None
            None: there are none at hand.

        Returns
        -------
        self
        """
        aligner = fit_aligner(self.align, X, self.resize_, self.resized_size_)
        if self.resize_ != "pad" or X is None:
            return self._take_places(aligner, [])
        images = X if isinstance(X, Images) else X.first(_N_SIZED)
        return self._take_places(aligner, images.sizes(images.spread(_N_SIZED)))

    def take_sizes(self, sizes: Sequence[Size]) -> Self:
        """Learn which places most good photos leave to padding by the sizes of some.

        Parameters
        ----------
        sizes : sequence of (int, int)
            Height and width of each.

        Returns
        -------
        self
        """
        return self._take_places(self.aligner_, sizes)

    def _take_places(self, aligner: PartAligner | None, sizes: Sequence[Size]) -> Self:
        """Take an aligner, and find the pixels of all photos that count for nothing."""
        self.aligner_ = aligner
        self.__dict__.pop("_view", None)
        # Of moved photos it is what they are moved to that the mask lies on.
        way = self.resize_ if aligner is None else "stretch"
        where = (self.resized_size_, self.input_size_, way)
        given = None if self.ignore is None else ignored_window(self.ignore, *where)
        self.ignored_, self.painted_ = uncounted(self._at_sight(), given, sizes)
        return self

    def _at_sight(self) -> PhotoView | AlignedView:
        """Return what the network sees of photos: as they lie, or through the aligner."""
        if not hasattr(self, "_view"):
            patches = max(shape[1:] for shape in self.level_shapes_)
            sizes = (self.resized_size_, self.input_size_, patches)
            if self.aligner_ is None:
                mean, _, interpolation = self.normalisation_
                self._view: PhotoView | AlignedView = PhotoView(self.resize_, *sizes, interpolation, mean)
            else:
                self._view = AlignedView(self.aligner_, *sizes)
        return self._view

    def _painted(self, pixels: Tensor) -> Tensor:
        """Return pixels with one colour, of which the network makes 0, where nothing counts."""
        if self.painted_ is None:
            return pixels
        colour = colour_of_nothing(self.normalisation_[0], pixels.dtype)[:, None, None]
        return torch.where(host_tensor(self.painted_), colour, pixels)

    def _without_unseen(self, images: Images, batch: FeatureBatch) -> FeatureBatch:
        """Refuse photos of which no patch is left to judge, or leave them out where such are skipped."""
        hidden = batch.hidden()
        if hidden is None:
            return batch
        if self.ignored_ is not None:
            grid = (hidden.shape[1], hidden.shape[2])
            hidden = hidden | touched_patches(self.ignored_, grid).to(hidden.device)
        unseen = hidden.flatten(1).all(dim=1).tolist()
        for index, size, nothing in zip(batch.indices, batch.original_sizes, unseen, strict=True):
            if nothing:
                images.leave_out(index, _NOTHING_LEFT.format(*size, *self.resized_size_))
        left = [row for row, nothing in enumerate(unseen) if not nothing]
        return batch if len(left) == len(unseen) else batch.only(left)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what was saved; earlier versions painted all that they ignored."""
        if "painted_" not in state and "ignored_" in state:
            state = {**state, "painted_": state["ignored_"]}
        super().__setstate__(state)

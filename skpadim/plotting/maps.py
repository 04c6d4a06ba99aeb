"""AnomalyMapDisplay: photos, and where on them a detector sees anomalies."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._optional_dependencies import check_matplotlib_support

from ..images.collection import check_images
from ..images.inputs import as_collection
from ..images.masks import Masks
from .checks import check_like_photos, check_masks, check_names, check_scores, check_threshold
from .choice import check_choice, choose, peaks, take
from .figures import figure_image, make_pairs
from .marks import DEFECT, MARKED, draw_outline, hatch, legend_handles, over_grey
from .overlays import opacity, scale_limits, scale_position

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from PIL.Image import Image

_LABELS = {1: "good", -1: "defective"}
_BAR_HEIGHT = 5.0  # inches at most, as a taller one is no easier to read


class AnomalyMapDisplay:
    """Photos, and over them their anomaly maps, all on one colour scale with the threshold in its middle.

    Make one with :meth:`from_estimator` or :meth:`from_maps`; the parameters are stored as attributes.

    Parameters
    ----------
    images : images
        Photos as :meth:`PaDiMDetector.fit` takes them; a few, each gets a pair of cells.
    maps : iterable of ndarray of shape (height, width)
        The anomaly map of each photo at its own size; higher = more anomalous, NaN = not looked at.
    threshold : float
        The anomaly score above which an image is an anomaly: minus ``offset_``.
    segments : iterable of ndarray of shape (height, width), default=None
        The pixels marked as anomalous. None: those of the map above the threshold.
    masks : iterable of (height, width) array-like, path or None, default=None
        The true defect of each photo, None for a good one; see :func:`skpadim.metrics.pro_score`.
    y : array-like of shape (n_images,), default=None
        A title for each photo: +1 for a good part and -1 for a defective one, or names.
    scores : array-like of shape (n_images,), default=None
        The anomaly score of each photo, for its title. None: the title says the peak of its map.
    p_values : array-like of shape (n_images,), default=None
        For the title, too.
    indices : array-like of int of shape (n_images,), default=None
        Where these are chosen from more photos, the index of each among them. None: 0, 1, ...
    n_chosen_from : int, default=None
        How many photos they are chosen from. None: these are all.

    Attributes
    ----------
    ax_ : ndarray of shape (n_images, 2) of Axes
        Photos to the left, the same with their maps over them to the right.
    figure_ : Figure
    colorbar_ : Colorbar

    See Also
    --------
    ScoreDisplay : Scores of many photos at a glance.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skpadim import AnomalyMapDisplay, PaDiMDetector
    >>> from skpadim.datasets import make_inspection_images
    >>> photos = make_inspection_images(n_train=20, n_good=1, n_defective=2, image_size=64)
    >>> detector = PaDiMDetector(weights=None, image_size=64).fit(photos.X_train)
    >>> display = AnomalyMapDisplay.from_estimator(
    ...     detector, photos.X_test, photos.defects_test, photos.masks_test
    ... )
    >>> display.ax_.shape
    (3, 2)
    >>> display.to_pil(dpi=50).mode
    'RGB'
    >>> plt.close(display.figure_)
    """

    ax_: NDArray[np.object_]

    def __init__(
        self,
        images: Any,
        maps: Sequence[NDArray[Any]] | NDArray[Any],
        threshold: float,
        *,
        segments: Sequence[NDArray[np.bool_]] | NDArray[np.bool_] | None = None,
        masks: Masks | None = None,
        y: ArrayLike | None = None,
        scores: ArrayLike | None = None,
        p_values: ArrayLike | None = None,
        indices: ArrayLike | None = None,
        n_chosen_from: int | None = None,
    ) -> None:
        self.images = _decode(images)
        everything = np.arange(len(self.images))
        self.indices = everything if indices is None else np.asarray(indices)
        if self.indices.shape != everything.shape or self.indices.dtype.kind not in "iu":
            raise ValueError(f"indices must be an integer for each of the {len(everything)} images.")
        self.threshold = check_threshold(threshold)
        self.maps = check_like_photos("maps", maps, self.images, self.indices)
        if segments is None:
            # In float64, as predict compares.
            segments = [single.astype(np.float64) > self.threshold for single in self.maps]
        self.segments = check_like_photos("segments", segments, self.images, self.indices)
        if not all(np.isin(single, (0, 1)).all() for single in self.segments):
            raise ValueError("segments holds other values than True and False, which mark pixels or do not.")
        self.masks = None if masks is None else check_masks(masks, self.images, self.indices)
        self.y = None if y is None else check_names(y, len(self.images))
        self.scores = self._check_numbers("scores", scores)
        self.p_values = self._check_numbers("p_values", p_values)
        self.n_chosen_from = len(everything) if n_chosen_from is None else n_chosen_from

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike | None = None,
        masks: Masks | None = None,
        *,
        max_images: int | None = 12,
        order: str = "score",
        ax: Axes | NDArray[np.object_] | None = None,
        cmap: str | Colormap = "cividis",
        alpha: float = 0.6,
    ) -> Self:
        """Draw photos with the maps and marks of a fitted detector, their scores and p-values.

        Parameters
        ----------
        estimator : PaDiMDetector
            Fitted.
        X : images
            See :meth:`PaDiMDetector.fit`.
        y, masks
            Of each photo; see :class:`AnomalyMapDisplay`.
        max_images : int or None, default=12
            How many photos are shown at most; the figure says of how many. None: all.
        order : {"score", "given"}, default="score"
            "score": the photos of the highest scores, highest first. "given": the first ones, as they come.
        ax, cmap, alpha
            See :meth:`plot`.

        Returns
        -------
        AnomalyMapDisplay

        Raises
        ------
        TypeError
            If the estimator draws no anomaly maps of images.
        ValueError
            If an image cannot be read, ``y`` or ``masks`` do not match the images, or another parameter has
            no such value.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        draws = getattr(estimator, "anomaly_map", None)
        if draws is None or "original_size" not in inspect.signature(draws).parameters:
            raise TypeError(
                f"estimator is a {type(estimator).__name__}, which draws no anomaly maps of images; pass "
                "a PaDiMDetector (of a search, its best_estimator_)."
            )
        check_choice(max_images, order)
        photos = check_images(X, value_range=estimator.value_range)
        n = len(photos)
        names = None if y is None else check_names(y, n)
        scores = estimator.inspect(X).scores
        chosen = choose(scores, max_images, order)
        every = as_collection(X)
        shown = [every[index] for index in chosen]  # as given: only so the detector knows their range
        found = estimator.inspect(shown, maps=True, masks=True, original_size=True)
        display = cls(
            [photos.original(index) for index in chosen],
            [one.map for one in found],
            -estimator.offset_,
            # Not from these maps: resampled to a photo's size, a peak that predict sees may be lost.
            segments=[one.mask for one in found],
            masks=take("masks", masks, chosen, n),
            y=take("y", names, chosen, n),
            scores=scores[chosen],
            p_values=found.p_values,
            indices=chosen,
            n_chosen_from=n,
        )
        return display.plot(ax, cmap=cmap, alpha=alpha)

    @classmethod
    def from_maps(
        cls,
        images: Any,
        maps: Sequence[NDArray[Any]] | NDArray[Any],
        threshold: float,
        *,
        segments: Sequence[NDArray[np.bool_]] | NDArray[np.bool_] | None = None,
        masks: Masks | None = None,
        y: ArrayLike | None = None,
        scores: ArrayLike | None = None,
        p_values: ArrayLike | None = None,
        max_images: int | None = 12,
        order: str = "score",
        ax: Axes | NDArray[np.object_] | None = None,
        cmap: str | Colormap = "cividis",
        alpha: float = 0.6,
    ) -> Self:
        """Draw photos with maps that are there already.

        Parameters
        ----------
        images, maps, threshold, segments, masks, y, scores, p_values
            See :class:`AnomalyMapDisplay`. Without scores the peaks of the maps decide what is shown.
        max_images, order
            See :meth:`from_estimator`.
        ax, cmap, alpha
            See :meth:`plot`.

        Returns
        -------
        AnomalyMapDisplay

        Raises
        ------
        ValueError
            If an image cannot be read, the threshold is not finite, or the rest does not match the images.
        """
        check_matplotlib_support(f"{cls.__name__}.from_maps")
        check_choice(max_images, order)
        photos = check_images(images)
        n = len(photos)
        names = None if y is None else check_names(y, n)
        by = peaks(maps) if scores is None else check_scores("scores", scores)
        take("maps" if scores is None else "scores", by, np.arange(0), n)  # one per image, or an error
        chosen = choose(by, max_images, order)
        display = cls(
            [photos.original(index) for index in chosen],
            take("maps", maps, chosen, n) or [],
            threshold,
            segments=take("segments", segments, chosen, n),
            masks=take("masks", masks, chosen, n),
            y=take("y", names, chosen, n),
            scores=None if scores is None else by[chosen],
            p_values=take("p_values", p_values, chosen, n),
            indices=chosen,
            n_chosen_from=n,
        )
        return display.plot(ax, cmap=cmap, alpha=alpha)

    def plot(
        self,
        ax: Axes | NDArray[np.object_] | None = None,
        *,
        cmap: str | Colormap = "cividis",
        alpha: float = 0.6,
    ) -> Self:
        """Draw a grid of pairs: each photo, and beside it the same photo under its map.

        The higher the map, the more opaque it is, so that the photo shows where nothing is found. The colour
        bar shows the colours as they look over middle grey.

        Parameters
        ----------
        ax : Axes, or ndarray of shape (n_images, 2) of Axes, default=None
            Where to draw; a single Axes is divided. None: a new figure.
        cmap : str or Colormap, default="cividis"
            The default turns from blue to yellow at the threshold, for any kind of colour vision. In grey
            print the outlines tell what is beyond the threshold.
        alpha : float, default=0.6
            Opacity of the map at its highest, in [0, 1]: at 0 it vanishes.

        Returns
        -------
        self
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        self.ax_ = make_pairs(ax, [photo.shape[0] / photo.shape[1] for photo in self.images])
        self.figure_ = self.ax_[0, 0].figure
        is_small = ax is None and len(self.images) > 3
        norm = Normalize(*scale_limits(self.threshold))
        for index, (photo_axes, map_axes) in enumerate(self.ax_):
            size = "small" if is_small else "medium"
            photo_axes.imshow(self.images[index])
            photo_axes.set_title(self._title(index), fontsize=size, parse_math=False)
            map_axes.imshow(self.images[index])
            # Clipped, because matplotlib takes infinity for missing.
            shown = np.clip(self.maps[index], norm.vmin, norm.vmax)
            opacities = np.nan_to_num(opacity(scale_position(self.maps[index], self.threshold)))
            map_axes.imshow(shown, cmap=cmap, norm=norm, alpha=alpha * opacities)
            map_axes.set_title(self._verdict(index), fontsize=size)
            self._mark(index, map_axes, 1.0 if is_small else 1.5)
        height = self.figure_.bbox.height / self.figure_.dpi
        self.colorbar_ = self.figure_.colorbar(
            ScalarMappable(norm, over_grey(cmap, alpha)),
            ax=list(self.ax_.flat),
            aspect=30,
            shrink=min(1.0, _BAR_HEIGHT / height),
            anchor=(0.0, 1.0),
            panchor=False,  # Narrow photos stay in the middle of their cells.
            extend="both" if any((single < norm.vmin).any() for single in self.maps) else "max",
            label="anomaly map (line: threshold)",
        )
        self.colorbar_.ax.axhline(self.threshold, color="black", linewidth=2)
        self._explain(is_own=ax is None)
        return self

    def to_pil(self, dpi: float = 100) -> Image:
        """Return the figure as a PIL image, drawn first where it is not yet.

        Parameters
        ----------
        dpi : float, default=100
            Pixels per inch.

        Returns
        -------
        PIL.Image.Image
            RGB. For one photo under its map at the photo's own size see :func:`skpadim.plotting.overlay`.
        """
        if not hasattr(self, "figure_"):
            self.plot()
        return figure_image(self.figure_, dpi)

    def _check_numbers(self, name: str, given: ArrayLike | None) -> NDArray[np.float64] | None:
        if given is None:
            return None
        array = check_scores(name, given)
        if len(array) != len(self.images):
            raise ValueError(f"{name} holds {len(array)}, expected one per image: {len(self.images)}.")
        return array

    def _title(self, index: int) -> str:
        if self.y is None:
            return f"image {self.indices[index]}"
        name = _LABELS.get(self.y[index], str(self.y[index]))
        is_as_given = np.array_equal(self.indices, np.arange(self.n_chosen_from))
        return name if is_as_given else f"{self.indices[index]}: {name}"

    def _verdict(self, index: int) -> str:
        if self.scores is not None:
            numbers = f"score {self.scores[index]:.4g}"
        else:
            numbers = f"peak {peaks(self.maps[index : index + 1])[0]:.4g}"
        if self.p_values is not None:
            numbers += f", p {self.p_values[index]:.2g}"
        return f"{'anomaly' if self.segments[index].any() else 'no anomaly'}\n{numbers}"

    def _mark(self, index: int, axes: Axes, width: float) -> None:
        """Draw around what is marked and what is defective, and hatch what was not looked at."""
        draw_outline(axes, self.segments[index], width, **MARKED)
        if self.masks is not None:
            draw_outline(axes, self.masks[index], width, **DEFECT)
        unseen = np.isnan(self.maps[index])
        hatch(axes, unseen)
        height, width_ = unseen.shape
        axes.set(xlim=(-0.5, width_ - 0.5), ylim=(height - 0.5, -0.5))

    def _explain(self, *, is_own: bool) -> None:
        """Say of how many photos these are, and below the photos what is there to see."""
        handles = legend_handles(self.segments, self.masks or [], self.maps)
        n = len(self.images)
        caption = "" if n == self.n_chosen_from else f"{n} of {self.n_chosen_from} photos"
        if is_own:
            if caption:
                self.figure_.suptitle(caption)
            if handles:
                self.figure_.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
        elif handles or caption:  # The title of a caller's figure is the caller's.
            self.ax_[-1, 1].legend(
                handles=handles, title=caption, loc="upper left", bbox_to_anchor=(0, 0), frameon=False
            )


def _decode(images: Any) -> list[NDArray[Any]]:
    photos = check_images(images)
    return [photos.original(index) for index in range(len(photos))]

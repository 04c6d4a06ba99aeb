"""AnomalyMapDisplay: photos, and where on them a detector sees anomalies."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._optional_dependencies import check_matplotlib_support

from ..images.collection import check_images
from ..images.masks import Masks, check_pairs
from .scores import check_labels, check_threshold

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, ListedColormap, Normalize

_LABELS = {1: "good", -1: "defective"}
# ITU-R BT.601: the lightness of a colour, in which the photo lies under a map.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_PHOTO_WIDTH = 3.2  # inches
_MARKED: dict[str, Any] = {"color": "black", "linestyle": "-"}
_DEFECT: dict[str, Any] = {"color": "black", "linestyle": ":"}
_HATCH = "xxx"


class AnomalyMapDisplay:
    """Photos, and over them their anomaly maps, all on one colour scale with the threshold in its middle.

    Make one with :meth:`from_estimator` or :meth:`from_maps`; the parameters are stored as attributes.

    Parameters
    ----------
    images : images
        Photos as :meth:`PaDiMDetector.fit` takes them; a few, each gets a row.
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

    Attributes
    ----------
    ax_ : ndarray of shape (n_images, 2) of Axes
        Photos to the left, maps to the right.
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
    ) -> None:
        self.images = _decode(images)
        self.threshold = check_threshold(threshold)
        self.maps = self._check_like_images("maps", maps)
        if segments is None:
            # In float64, as predict compares.
            segments = [single.astype(np.float64) > self.threshold for single in self.maps]
        self.segments = self._check_like_images("segments", segments)
        if not all(np.isin(single, (0, 1)).all() for single in self.segments):
            raise ValueError("segments holds other values than True and False, which mark pixels or do not.")
        self.masks = None
        if masks is not None:
            # Where a map is NaN the defect is true all the same.
            pairs = check_pairs(masks, (np.nan_to_num(single) for single in self.maps))
            self.masks = [mask for mask, _ in pairs]
        self.y = None if y is None else np.asarray(y)
        if self.y is not None and not all(isinstance(name, str) for name in self.y.flat):
            check_labels(self.y)
        if self.y is not None and self.y.shape != (len(self.images),):
            raise ValueError(
                f"y has shape {self.y.shape}, expected ({len(self.images)},): one label per image."
            )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike | None = None,
        masks: Masks | None = None,
        *,
        ax: Axes | NDArray[np.object_] | None = None,
        cmap: str | Colormap = "cividis",
        alpha: float = 0.6,
    ) -> Self:
        """Draw photos with the maps and marks of a fitted detector.

        Parameters
        ----------
        estimator : PaDiMDetector
            Fitted.
        X : images
            See :meth:`PaDiMDetector.fit`; a few, each gets a row.
        y : array-like of shape (n_images,), default=None
            A title for each photo: +1 for a good part and -1 for a defective one, or names.
        masks : iterable of (height, width) array-like, path or None, default=None
            The true defect of each photo at its own size, None for a good one.
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
            If an image cannot be read, or ``y`` or ``masks`` do not match the images.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        draws = getattr(estimator, "anomaly_map", None)
        if draws is None or "original_size" not in inspect.signature(draws).parameters:
            raise TypeError(
                f"estimator is a {type(estimator).__name__}, which draws no anomaly maps of images; pass "
                "a PaDiMDetector (of a search, its best_estimator_)."
            )
        images = _decode(X)  # Once for all three.
        maps = estimator.anomaly_map(images, original_size=True)
        # Not from these maps: resampled to a photo's size, a peak that predict sees may be lost.
        segments = estimator.segment(images, original_size=True)
        display = cls(images, maps, -estimator.offset_, segments=segments, masks=masks, y=y)
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
        ax: Axes | NDArray[np.object_] | None = None,
        cmap: str | Colormap = "cividis",
        alpha: float = 0.6,
    ) -> Self:
        """Draw photos with maps that are there already.

        Parameters
        ----------
        images, maps, threshold, segments, masks, y
            See :class:`AnomalyMapDisplay`.
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
        display = cls(images, maps, threshold, segments=segments, masks=masks, y=y)
        return display.plot(ax, cmap=cmap, alpha=alpha)

    def plot(
        self,
        ax: Axes | NDArray[np.object_] | None = None,
        *,
        cmap: str | Colormap = "cividis",
        alpha: float = 0.6,
    ) -> Self:
        """Draw a row per photo: the photo, and its map over the photo in shades of middle grey.

        The colour bar shows the colours as they look over the middle of these shades.

        Parameters
        ----------
        ax : Axes, or ndarray of shape (n_images, 2) of Axes, default=None
            Where to draw; a single Axes is divided. None: a new figure.
        cmap : str or Colormap, default="cividis"
            The default turns from blue to yellow at the threshold, for any kind of colour vision, and grows
            lighter all the way. In grey, too, what is at the threshold is lighter than anything below half
            of it, whatever the photo (for ``alpha`` of 0.6 and more); the outlines say exactly.
        alpha : float, default=0.6
            Opacity of the map over its photo, in [0, 1]: at 1 the photo vanishes, at 0 the map.

        Returns
        -------
        self
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        from matplotlib.cm import ScalarMappable

        self.ax_ = self._make_axes(ax)
        self.figure_ = self.ax_[0, 0].figure
        norm = self._norm()
        for index, (photo_axes, map_axes) in enumerate(self.ax_):
            photo_axes.imshow(self.images[index])
            photo_axes.set_title(self._title(index), parse_math=False)
            white = 255 if self.images[index].dtype == np.uint8 else 1
            # From black to white it spans a fifth of the greys, lest its lightness pass for that of the map.
            map_axes.imshow(self.images[index] @ _LUMA, cmap="gray", vmin=-2 * white, vmax=3 * white)
            # Clipped, because matplotlib takes infinity for missing.
            map_axes.imshow(
                np.clip(self.maps[index], norm.vmin, norm.vmax), cmap=cmap, norm=norm, alpha=alpha
            )
            map_axes.set_title("anomaly" if self.segments[index].any() else "no anomaly")
            self._outline(index, map_axes)
        self.colorbar_ = self.figure_.colorbar(
            ScalarMappable(norm, _over_grey(cmap, alpha)),
            ax=list(self.ax_[:, 1]),
            aspect=30,
            panchor=False,  # Narrow photos stay in the middle, as on the left.
            extend="both" if any((single < norm.vmin).any() for single in self.maps) else "max",
            label="anomaly map (line: threshold)",
        )
        self.colorbar_.ax.axhline(self.threshold, color="black", linewidth=2)
        self._add_legend()
        return self

    def _check_like_images(self, name: str, given: Any) -> list[NDArray[Any]]:
        arrays = [np.asarray(single) for single in given]
        if len(arrays) != len(self.images):
            raise ValueError(f"{name} holds {len(arrays)}, expected one per image: {len(self.images)}.")
        for index, (array, photo) in enumerate(zip(arrays, self.images, strict=True)):
            if array.shape != photo.shape[:2]:
                raise ValueError(
                    f"{name}[{index}] has shape {array.shape}, its photo {photo.shape[:2]}. Compute it at "
                    "the photo's own size, for example by PaDiMDetector.anomaly_map(X, original_size=True)."
                )
        return arrays

    def _norm(self) -> Normalize:
        """Return the scale: the threshold is its middle, and twice the threshold its end.

        It depends on no map, so a few extreme values leave the others as they are.
        """
        from matplotlib.colors import CenteredNorm

        return CenteredNorm(self.threshold, abs(self.threshold) or 1.0)

    def _make_axes(self, ax: Any) -> NDArray[np.object_]:
        import matplotlib.pyplot as plt
        from matplotlib.axes import Axes

        shape = (len(self.images), 2)
        # Height over width; photos narrower than 1 : 3 are drawn narrower than the others.
        ratios = [min(image.shape[0] / image.shape[1], 3.0) for image in self.images]
        if ax is None:
            size = (2 * _PHOTO_WIDTH + 1, sum(_PHOTO_WIDTH * ratio + 0.3 for ratio in ratios) + 0.5)
            axes = plt.figure(figsize=size, layout="constrained").subplots(
                *shape, squeeze=False, height_ratios=ratios
            )
        elif isinstance(ax, Axes):
            if (place := ax.get_subplotspec()) is None:
                raise ValueError("ax has a free position and cannot be divided; make it by plt.subplots().")
            ax.set_axis_off()
            axes = place.subgridspec(*shape, height_ratios=ratios).subplots(squeeze=False)
        elif np.shape(ax) == shape or (len(self.images) == 1 and np.size(ax) == 2):
            axes = np.reshape(ax, shape)
        else:
            raise ValueError(f"ax has shape {np.shape(ax)}, expected {shape}: a photo and a map per image.")
        for single in axes.flat:
            single.set(xticks=[], yticks=[])
        return axes

    def _title(self, index: int) -> str:
        if self.y is None:
            return f"image {index}"
        return _LABELS.get(self.y[index], str(self.y[index]))

    def _outline(self, index: int, axes: Axes) -> None:
        """Draw around what is marked and what is defective, and hatch what was not looked at."""
        _contour(axes, self.segments[index], **_MARKED)
        if self.masks is not None:
            _contour(axes, self.masks[index], **_DEFECT)
        unseen = np.isnan(self.maps[index])
        if unseen.any():
            axes.contourf(*_padded(unseen), levels=[0.5, 1.5], colors="none", hatches=[_HATCH])
        height, width = unseen.shape
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))

    def _add_legend(self) -> None:
        """Explain below the last map what is there to see."""
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        handles: list[Any] = [_with_halo(Line2D([], [], label="marked as anomalous", **_MARKED))]
        if self.masks is not None:
            handles.append(_with_halo(Line2D([], [], label="true defect", **_DEFECT)))
        if any(np.isnan(single).any() for single in self.maps):
            handles.append(Patch(facecolor="none", hatch=_HATCH, label="not looked at"))
        self.ax_[-1, 1].legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 0), frameon=False)


def _decode(images: Any) -> list[NDArray[Any]]:
    photos = check_images(images)
    return [photos.original(index) for index in range(len(photos))]


def _over_grey(cmap: str | Colormap, alpha: float) -> ListedColormap:
    """Return the colours that a map has over middle grey."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap

    colours = plt.get_cmap(cmap)(np.linspace(0, 1, 256))[:, :3]
    return ListedColormap(alpha * colours + (1 - alpha) * 0.5)


def _padded(mask: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return x, y and values of a mask with a margin, so that outlines close at the photo's border."""
    height, width = mask.shape
    return np.arange(-1, width + 1), np.arange(-1, height + 1), np.pad(mask.astype(float), 1)


def _contour(axes: Axes, mask: NDArray[np.bool_], color: str, linestyle: str) -> None:
    if mask.any():  # matplotlib warns of a contour of nothing.
        _with_halo(axes.contour(*_padded(mask), levels=[0.5], colors=color, linestyles=linestyle))


def _with_halo(line: Any) -> Any:
    """Edge a line in white, for photos as dark as the line."""
    from matplotlib.patheffects import withStroke

    line.set(path_effects=[withStroke(linewidth=3.5, foreground="white")])
    return line

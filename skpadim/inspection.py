"""Everything about each photo from one pass of the network: score, p-value, label and anomalous places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .calibration import conformal_p_values
from .camera import PhotoCheck, PhotoChecker
from .coordinates import PhotoFrame
from .gaussian import PatchGaussian
from .images.arrays import Size
from .images.collection import Images
from .regions import Region, find_regions
from .stream import FeatureBatch

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a detector finds of one photo.

    Attributes
    ----------
    index : int
        Index of the photo in `X`.
    path : str or None
        Of its file, if it is one.
    size : (int, int) or None
        Height and width of the photo in pixels; None if it could not be read.
    score : float
        Anomaly score, minus ``score_samples``: higher = more anomalous. NaN if the photo could not be read.
    p_value : float
        How rarely a good photo scores as high; see :meth:`PaDiMDetector.p_values`. NaN without leave-one-out
        scores.
    label : int
        +1 good, -1 anomaly, as ``predict`` says.
    threshold : float
        Photos that score higher are anomalies.
    error : str or None
        Why the photo could not be read.
    map : ndarray of shape (height, width) or None
        If asked for, the anomaly map; as :meth:`PaDiMDetector.anomaly_map`.
    mask : ndarray of shape (height, width), bool, or None
        If asked for, the marked pixels; as :meth:`PaDiMDetector.segment`.
    regions : tuple of Region or None
        If asked for, the connected regions that are marked, the highest peak first.
    check : PhotoCheck or None
        If asked for, whether it looks as good photos do; see :meth:`PaDiMDetector.check`.
    """

    index: int
    path: str | None
    size: Size | None
    score: float
    p_value: float
    label: int
    threshold: float
    error: str | None = None
    map: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None
    regions: tuple[Region, ...] | None = None
    check: PhotoCheck | None = None

    @property
    def is_anomaly(self) -> bool:
        """Whether the label is -1."""
        return self.label == -1


class Inspections(Sequence[Inspection]):
    """What a detector finds of some photos, in the order of `X`; a sequence of :class:`Inspection`.

    Parameters
    ----------
    found : iterable of Inspection

    Attributes
    ----------
    scores, p_values : ndarray of shape (n_images,)
        Of every photo; NaN where one could not be read.
    labels : ndarray of shape (n_images,)
        +1 good, -1 anomaly.

    Examples
    --------
    >>> from skpadim import PaDiMDetector
    >>> from skpadim.datasets import make_inspection_images
    >>> photos = make_inspection_images(n_train=20, n_good=1, n_defective=1, image_size=64)
    >>> detector = PaDiMDetector(image_size=64).fit(photos.X_train)
    >>> found = detector.inspect(photos.X_test, regions=True)
    >>> found.labels
    array([ 1, -1])
    >>> found[1].regions[0].peak == found[1].score
    True
    """

    def __init__(self, found: Iterable[Inspection]) -> None:
        self._found = tuple(found)

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self._found)

    @overload
    def __getitem__(self, index: int) -> Inspection: ...

    @overload
    def __getitem__(self, index: slice) -> Inspections: ...

    def __getitem__(self, index: int | slice) -> Inspection | Inspections:
        """Return what was found of one photo, or of some."""
        if isinstance(index, slice):
            return Inspections(self._found[index])
        return self._found[index]

    def __repr__(self) -> str:
        """Say how many photos are anomalies, and how many could not be read."""
        unread = sum(one.error is not None for one in self)
        anomalies = sum(one.is_anomaly for one in self) - unread
        return f"<{len(self)} photos: {anomalies} anomalies, {unread} could not be read>"

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """Anomaly scores; higher = more anomalous."""
        return np.array([one.score for one in self], dtype=np.float64)

    @cached_property
    def p_values(self) -> NDArray[np.float64]:
        """Conformal p-values; small = anomalous."""
        return np.array([one.p_value for one in self], dtype=np.float64)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """+1 good, -1 anomaly."""
        return np.array([one.label for one in self], dtype=np.int64)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row per photo.

        Returns
        -------
        pandas.DataFrame
            Its index is that of the photos in `X`. The columns: path, height, width, score, p_value, label,
            threshold, error; and, if asked for, n_regions and largest_area, and outside: in words, what is
            unusual about the photo as a photo.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return _frame([_row(one) for one in self], index=[one.index for one in self])

    def regions_to_frame(self) -> pd.DataFrame:
        """Return a table with a row per marked region.

        Returns
        -------
        pandas.DataFrame
            The columns: index and path of the photo, and the attributes of :class:`Region`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        ValueError
            If regions were not asked for.
        """
        if any(one.regions is None and one.error is None for one in self):
            raise ValueError("There are no regions, as nobody asked for them: inspect(X, regions=True).")
        columns = ["index", "path", *Region.__dataclass_fields__]
        rows = [
            {"index": one.index, "path": one.path, **vars(region)}
            for one in self
            for region in one.regions or ()
        ]
        return _frame(rows, columns=columns)


def _row(one: Inspection) -> dict[str, Any]:
    height, width = one.size or (None, None)
    row = {"path": one.path, "height": height, "width": width, "score": one.score, "p_value": one.p_value}
    row |= {"label": one.label, "threshold": one.threshold, "error": one.error}
    if one.regions is not None:
        row["n_regions"] = len(one.regions)
        row["largest_area"] = max((region.area for region in one.regions), default=0)
    if one.check is not None:
        row["outside"] = ", ".join(f"{name} {found}" for name, found in one.check.outside.items())
    return row


def _frame(rows: list[dict[str, Any]], **options: Any) -> pd.DataFrame:
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("A table needs pandas: pip install pandas.") from error
    return pd.DataFrame(rows, **options)


@dataclass(frozen=True)
class Request:
    """What is wanted of every photo beside score, p-value and label.

    Attributes
    ----------
    maps, masks, regions : bool
    original_size : bool
        Whether maps and masks come at the size of the photo; regions always do.
    min_area : int
        Smaller regions, in pixels of the photo, are left out.
    check : PhotoChecker or None
        What compares photos with good ones.
    """

    maps: bool = False
    masks: bool = False
    regions: bool = False
    original_size: bool = False
    min_area: int = 1
    check: PhotoChecker | None = None

    def __post_init__(self) -> None:
        """Refuse an area that is none."""
        area: Any = self.min_area
        if not isinstance(area, int | np.integer) or isinstance(area, bool) or area < 1:
            raise ValueError(f"min_area={self.min_area!r} must be a number of pixels, an int of at least 1.")


def inspect_photos(
    images: Images,
    batches: Iterable[FeatureBatch],
    gaussian: PatchGaussian,
    request: Request,
) -> Iterator[Inspection]:
    """Yield what is found of each photo, in order, those that could not be read among them.

    Parameters
    ----------
    images : Images
    batches : iterable of FeatureBatch
        Of these images, placed; measured, if checks are wanted.
    gaussian : PatchGaussian
        Fitted.
    request : Request

    Yields
    ------
    Inspection
    """
    threshold, n_yielded = gaussian.threshold(), 0

    def unread(stop: int) -> Iterator[Inspection]:
        for index in range(n_yielded, stop):
            error = images.failures[index]
            yield Inspection(
                images.first + index, images.path(index), None, np.nan, np.nan, -1, threshold, error
            )

    for batch in batches:
        for found in _inspect_batch(images, batch, gaussian, request):
            yield from unread(found.index - images.first)
            yield found
            n_yielded = found.index - images.first + 1
    yield from unread(len(images))
    images.warn_of_failures()


def _inspect_batch(
    images: Images, batch: FeatureBatch, gaussian: PatchGaussian, request: Request
) -> Iterator[Inspection]:
    """Yield what is found of each photo of a batch."""
    placed = batch.placed
    assert placed is not None
    distances, hidden = gaussian.distances(batch.levels), placed.hidden
    # As score_samples has them, so that all agree to the bit.
    scores = gaussian.image_scores(distances, hidden).cpu().numpy()
    labels = np.where(-scores - gaussian.offset_ >= 0, 1, -1)
    p_values = conformal_p_values(gaussian.loo_scores_, scores)
    maps = gaussian.maps(distances, hidden).cpu() if request.maps or request.regions else None
    masks = gaussian.mark(distances, hidden).cpu() if request.masks or request.regions else None
    checks = None
    if request.check is not None:
        assert batch.statistics is not None
        indices = [images.first + index for index in batch.indices]
        checks = request.check(batch.statistics, scores, indices, placed.fits)
    for place, (index, size) in enumerate(zip(batch.indices, batch.original_sizes, strict=True)):
        shown: dict[str, Any] = {}
        own = placed.frames[place]
        if maps is not None and request.maps:
            shown["map"] = _shown(maps[place], own, size, request)
        if masks is not None and request.masks:
            shown["mask"] = _shown(masks[place], own, size, request)
        if maps is not None and masks is not None and request.regions:
            shown["regions"] = find_regions(maps[place], masks[place], size, own, request.min_area)
        if checks is not None:
            shown["check"] = checks[place]
        yield Inspection(
            index=images.first + index,
            path=images.path(index),
            size=size,
            score=float(scores[place]),
            p_value=float(p_values[place]),
            label=int(labels[place]),
            threshold=-gaussian.offset_,
            **shown,
        )


def _shown(seen: Tensor, frame: PhotoFrame, size: Size, request: Request) -> NDArray[Any]:
    """Return a map or mask at the size that is wanted, as an array of its own."""
    if not request.original_size:
        # A view would keep the whole batch.
        shown = frame.as_it_lies(seen).clone()
    else:
        shown = frame.mask_at(seen, size) if seen.dtype == torch.bool else frame.map_at(seen, size)
    return shown.numpy()

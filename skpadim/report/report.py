"""Report: photos are added as they are inspected, then a page is written."""

from __future__ import annotations

import hashlib
import os
import tempfile
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import repeat
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from ..base.whole_files import beside
from ..images.collection import check_images
from ..images.masks import Masks, check_mask
from ..inspection import Inspection
from ..verdicts import reason
from .outlines import outline
from .page import PAGE_BYTES, Source, render, require_jinja
from .parts import Entry, Parts, Pictures
from .summaries import GOOD
from .thumbnails import encode_map, encode_photo

# What 500 photos of a page may take each, text around them aside.
_PHOTO_BYTES = PAGE_BYTES // 500 - 3600
_MOST_REGIONS = 12
_PARTS_NAME = "report.parts"


class Report:
    """One self-contained HTML page of what a detector found: verdicts, scores, photos and their maps.

    Photos are added one at a time, as :meth:`PaDiMDetector.iter_inspect` yields them. Their thumbnails go to
    a file, so that memory holds a few hundred bytes of each; :meth:`write` makes the page of it, which loads
    nothing from anywhere and takes at most 15 MB. There is room for the pictures of 500 photos and more;
    where there is none for all, the page says of how many it shows them. Plot and counts are of all photos.

    Parameters
    ----------
    model_card : mapping
        What is known of the model, to be shown: any of name, created, folder, n_photos, network, layers,
        image_size, false_alarm_rate, skipped, versions and digest; and ``training``, a list of dicts with
        path, loo_score and, if there is one, thumbnail. What it lacks is taken from the detector.
    detector : PaDiMDetector
        Fitted: its threshold and leave-one-out scores are those of the plot.
    title : str, default="Inspection"
    thumbnails : mapping of str to bytes, optional
        JPEG pictures of training photos, by the names that ``training`` has for them.
    folder_for_parts : str or path-like, optional
        Where to keep what is added, as ``report.parts``, so that :meth:`resume` can go on with it. Default: a
        temporary file, which goes with the report.

    Attributes
    ----------
    parts_path : str
        The file that :meth:`resume` takes.
    paths : set of str
        Of the photos that were added.

    See Also
    --------
    write_report : All of it in one call.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skpadim import PaDiMDetector
    >>> from skpadim.datasets import make_inspection_images
    >>> from skpadim.report import Report
    >>> photos = make_inspection_images(n_train=20, n_good=1, n_defective=1, image_size=64)
    >>> detector = PaDiMDetector(image_size=64).fit(photos.X_train)
    >>> everything = dict(maps=True, masks=True, regions=True, checks=True, original_size=True)
    >>> with tempfile.TemporaryDirectory() as folder, Report({}, detector) as report:
    ...     for found in detector.iter_inspect(photos.X_test, **everything):
    ...         report.add(found, photos.X_test[found.index], kind=photos.defects_test[found.index])
    ...     report.write(Path(folder, "report.html"))
    ...     Path(folder, "report.html").read_text(encoding="utf-8")[:15]
    '<!DOCTYPE html>'
    """

    def __init__(
        self,
        model_card: Mapping[str, Any],
        detector: Any,
        *,
        title: str = "Inspection",
        thumbnails: Mapping[str, bytes] | None = None,
        folder_for_parts: str | os.PathLike[str] | None = None,
    ) -> None:
        self._set_up(model_card, detector, title, thumbnails)
        self._is_temporary = folder_for_parts is None
        if folder_for_parts is None:
            handle, path = tempfile.mkstemp(suffix=f".{_PARTS_NAME}")
            os.close(handle)
        else:
            path = os.path.join(folder_for_parts, _PARTS_NAME)
        self._parts = Parts.new(path, self._header())

    @classmethod
    def resume(
        cls,
        parts_path: str | os.PathLike[str],
        model_card: Mapping[str, Any],
        detector: Any,
        *,
        title: str = "Inspection",
        thumbnails: Mapping[str, bytes] | None = None,
    ) -> Self:
        """Go on with the parts of a report that was interrupted.

        Parameters
        ----------
        parts_path : str or path-like
            Of the file ``report.parts``; a photo whose line was cut off is left out.
        model_card, detector, title, thumbnails
            See :class:`Report`.

        Returns
        -------
        Report
            Its ``paths`` are those of the photos that need not be added again.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it was written with another model or threshold, or is no such file.
        """
        report = cls.__new__(cls)
        report._set_up(model_card, detector, title, thumbnails)
        report._is_temporary = False
        report._parts = Parts.reopen(os.fspath(parts_path), report._header())
        return report

    def _set_up(
        self, model_card: Mapping[str, Any], detector: Any, title: str, thumbnails: Mapping[str, bytes] | None
    ) -> None:
        require_jinja()
        check_is_fitted(detector)
        self._card, self._detector, self._title = dict(model_card), detector, title
        self._thumbnails = dict(thumbnails or {})
        self._threshold = float(-detector.offset_)

    def _header(self) -> dict[str, Any]:
        scores = np.ascontiguousarray(self._detector.loo_scores_, dtype=np.float64)
        return {"threshold": self._threshold, "model": hashlib.sha256(scores.tobytes()).hexdigest()}

    @property
    def parts_path(self) -> str:
        """The file of what was added."""
        return self._parts.path

    @property
    def paths(self) -> set[str]:
        """Paths of the photos that were added; ``X[3]`` of one that is no file."""
        return self._parts.paths

    def __len__(self) -> int:
        """Return the number of photos that were added."""
        return len(self._parts.entries)

    def __enter__(self) -> Self:
        """Return the report."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove a temporary file of parts."""
        self.close()

    def close(self) -> None:
        """Remove the file of parts, if it is a temporary one."""
        if self._is_temporary and os.path.exists(self.parts_path):
            os.remove(self.parts_path)

    def add(
        self,
        inspection: Inspection,
        photo: NDArray[np.uint8] | NDArray[np.float32] | None,
        *,
        kind: str | None = None,
        mask: ArrayLike | str | os.PathLike[str] | None = None,
    ) -> None:
        """Add a photo.

        Parameters
        ----------
        inspection : Inspection
            With map, mask and regions at the size of the photo: of
            ``iter_inspect(X, maps=True, masks=True, regions=True, checks=True, original_size=True)``.
        photo : ndarray of shape (height, width, 3) or None
            uint8 in 0..255, or float32 in [0, 1]. None, if the photo could not be read.
        kind : str, optional
            "good", or the kind of its defect. Default: nobody knows.
        mask : (height, width) array-like or path, optional
            Where the defect is: bool, or 0 and 255.

        Raises
        ------
        ValueError
            If the threshold was moved since the report was begun, or map and masks are not there or not of
            the photo's size.
        """
        path = f"X[{inspection.index}]" if inspection.path is None else inspection.path
        if inspection.threshold != self._threshold:
            raise ValueError(
                f"The threshold for {path} is {inspection.threshold!r}, and was {self._threshold!r} when the "
                "report was begun: inspect all its photos with one threshold."
            )
        outside = {} if inspection.check is None else inspection.check.outside
        entry = Entry(
            path=path,
            score=float(inspection.score),
            p_value=float(inspection.p_value),
            kind=None if kind is None else str(kind),
            error=reason(inspection),
            outside={name: (found.value, found.low, found.high) for name, found in outside.items()},
        )
        pictures = None if inspection.error is not None else self._pictures(inspection, photo, mask, path)
        self._parts.add(entry, pictures)

    def _pictures(
        self,
        inspection: Inspection,
        photo: NDArray[np.uint8] | NDArray[np.float32] | None,
        mask: ArrayLike | str | os.PathLike[str] | None,
        path: str,
    ) -> Pictures:
        size = _check_photo(photo, path)
        assert photo is not None
        shown, marked, regions = inspection.map, inspection.mask, inspection.regions
        if shown is None or marked is None or regions is None:
            raise ValueError(
                f"The inspection of {path} lacks its map, mask or regions: iter_inspect(X, maps=True, "
                "masks=True, regions=True, original_size=True)."
            )
        truth = None if mask is None else check_mask(mask, f"mask of {path}")
        for name, found in (("map", shown), ("mask", marked), ("true mask", truth)):
            if found is not None and found.shape != size:
                raise ValueError(
                    f"The {name} of {path} has shape {found.shape}, its photo {size}: inspect with "
                    "original_size=True, and give masks at the size of their photos."
                )
        encoded_map = _text(encode_map(shown, self._threshold))
        around_marked = outline(marked)
        around_truth = None if truth is None else outline(truth)
        # A path is there twice, as a line and its halo.
        paths = [2 * len(found.path) for found in (around_marked, around_truth) if found is not None]
        return Pictures(
            *size,
            # Base64 has four characters for three bytes.
            photo=_text(encode_photo(photo, (_PHOTO_BYTES - len(encoded_map) - sum(paths)) * 3 // 4)),
            map=encoded_map,
            marked=None if around_marked is None else asdict(around_marked),
            truth=None if around_truth is None else asdict(around_truth),
            regions=[asdict(region) for region in regions[:_MOST_REGIONS]],
            n_regions=len(regions),
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the page: beside its place first, then moved there.

        Parameters
        ----------
        path : str or path-like
            Of the HTML file. One that is there is replaced.
        """
        source = Source(self._parts, self._card, self._detector, self._thumbnails, self._title)
        # Names that are no text are shown by their bytes.
        with (
            beside(path) as part,
            part.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file,
        ):
            file.writelines(render(source))


def _check_photo(photo: Any, path: str) -> tuple[int, int]:
    is_photo = isinstance(photo, np.ndarray) and photo.ndim == 3 and photo.shape[2] == 3
    if not is_photo or photo.dtype not in (np.uint8, np.float32, np.float64):
        found = f"{photo.dtype} of shape {photo.shape}" if isinstance(photo, np.ndarray) else repr(photo)
        raise ValueError(
            f"The photo of {path} is {found}, expected an array (height, width, 3) of uint8, or of floats in "
            "[0, 1]."
        )
    return photo.shape[0], photo.shape[1]


def _text(content: bytes) -> str:
    return b64encode(content).decode("ascii")


def write_report(
    detector: Any,
    X: Any,
    path: str | os.PathLike[str],
    *,
    y: ArrayLike | None = None,
    masks: Masks | None = None,
    title: str = "Inspection",
    card: Mapping[str, Any] | None = None,
) -> None:
    """Inspect photos and write the report of them, one self-contained HTML page.

    Parameters
    ----------
    detector : PaDiMDetector
        Fitted.
    X : images
        See :meth:`PaDiMDetector.fit`. None that the detector was fitted on: their scores are too low.
    path : str or path-like
        Of the HTML file. One that is there is replaced.
    y : array-like of shape (n_images,), optional
        What the parts are: "good" and names of defects, or +1 for a good and -1 for a defective one. The page
        counts misses and false alarms then.
    masks : iterable of (height, width) array-like, path or None, optional
        Where the defects are, at the sizes of the photos; None for a good part.
    title : str, default="Inspection"
    card : mapping, optional
        What is known of the model; see :class:`Report`.

    Raises
    ------
    ImportError
        If Jinja2 is not installed.
    ValueError
        If an image cannot be read and the detector has ``on_error="raise"``, or ``y`` or ``masks`` do not
        fit to X.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skpadim import PaDiMDetector
    >>> from skpadim.datasets import make_inspection_images
    >>> from skpadim.report import write_report
    >>> photos = make_inspection_images(n_train=20, n_good=1, n_defective=1, image_size=64)
    >>> detector = PaDiMDetector(image_size=64).fit(photos.X_train)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = Path(folder, "report.html")
    ...     write_report(detector, photos.X_test, page, y=photos.defects_test, masks=photos.masks_test)
    ...     page.stat().st_size < 200_000
    True
    """
    with Report(card or {}, detector, title=title) as report:
        images = check_images(X, value_range=detector.value_range, on_error=detector.on_error)
        kinds = _check_kinds(y, len(images))
        found = detector.iter_inspect(X, maps=True, masks=True, regions=True, checks=True, original_size=True)
        of_each: Iterable[Any] = repeat(None, len(images)) if masks is None else masks
        for inspection, kind, mask in zip(found, kinds, of_each, strict=True):
            photo = images.original(inspection.index) if inspection.error is None else None
            report.add(inspection, photo, kind=kind, mask=mask)
        report.write(path)


def _check_kinds(y: ArrayLike | None, n_images: int) -> list[str | None]:
    if y is None:
        return [None] * n_images
    values = np.asarray(y)
    if values.shape != (n_images,):
        raise ValueError(f"y has shape {values.shape}, expected ({n_images},): one label per image.")
    if values.dtype.kind in "US" or all(isinstance(value, str) for value in values):
        return [str(value) for value in values]
    names = {1: GOOD, -1: "defective"}
    for index, value in enumerate(values.tolist()):
        if isinstance(value, bool) or value not in names:
            raise ValueError(
                f'y[{index}] is {value!r}, expected +1 or -1, or names: "good", or that of a defect.'
            )
    return [names[value] for value in values.tolist()]

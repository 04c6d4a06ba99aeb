"""The report of an inspection, which an interrupted run can go on with."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.whole_files import refuse_absent_folder
from .thumbnails import original

if TYPE_CHECKING:
    from ..datasets.bunches import Photo
    from ..inspection import Inspection
    from ..model_file import Model

_PARTS = "report.parts"


class ReportFile:
    """The page that grows in ``FILE.part``, a folder, photo by photo, and is written in the end.

    Parameters
    ----------
    path : Path
        Of the HTML file.
    model : Model
    labelled : mapping of str to Photo
        What is known of photos by their paths: kinds of defects, and masks.
    done : set of str
        Photos that an earlier run judged, which the report must hold already.

    Raises
    ------
    ValueError
        If there is no folder to write to, or the report lacks photos that are judged already.
    """

    def __init__(self, path: Path, model: Model, labelled: Mapping[str, Photo], done: Set[str]) -> None:
        from ..report import Report

        refuse_absent_folder(path)
        self._path, self._model, self._labelled = path, model, labelled
        self._folder = path.with_name(path.name + ".part")
        known: dict[str, Any] = {"title": _title(model), "thumbnails": model.thumbnails()}
        card = {**model.card, "digest": model.digest}
        parts, lacking = self._folder / _PARTS, done
        if done and parts.is_file():
            self._report = Report.resume(parts, card, model.detector, **known)
            lacking = done - self._report.paths
        if lacking:
            raise ValueError(
                f"The report {str(path)!r} would lack {len(lacking)} photos that are judged already, the "
                f"first {min(lacking)!r}. Leave --report out, or begin anew without --resume."
            )
        if not done:
            self._folder.mkdir(exist_ok=True)
            self._report = Report(card, model.detector, folder_for_parts=self._folder, **known)

    def add(self, found: Inspection) -> None:
        """Add a photo."""
        assert found.path is not None
        if found.path in self._report.paths:  # An earlier run was stopped before its verdict was written.
            return
        photo = None if found.error is not None else original(found.path, self._model.detector)
        known = self._labelled.get(found.path)
        mask: Any = None if known is None or found.error is not None else known.mask
        self._report.add(found, photo, kind=None if known is None else known.defect, mask=mask)

    def finish(self) -> None:
        """Write the page, and remove its parts."""
        self._report.write(self._path)
        self.discard()

    def discard(self) -> None:
        """Remove the parts, with which no run can go on."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _title(model: Model) -> str:
    return f"Inspection by {model.card['name'] or model.path.name}"

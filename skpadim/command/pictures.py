"""Pictures of what was found, a file for each photo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..base.whole_files import beside
from .photos import Chosen
from .thumbnails import original

if TYPE_CHECKING:
    from PIL import Image

    from ..detector import PaDiMDetector
    from ..inspection import Inspection


class PictureFolder:
    """A folder with a PNG for each photo, by the photo's name below its root, and ``.png``.

    Parameters
    ----------
    folder : Path
        It is made if need be.
    chosen : Chosen
    detector : PaDiMDetector
    """

    def __init__(self, folder: Path, chosen: Chosen, detector: PaDiMDetector) -> None:
        self._folder, self._chosen, self._detector = folder, chosen, detector

    def write_map(self, found: Inspection) -> None:
        """Write the photo with the anomaly map laid over it; nothing of one that could not be read."""
        from ..plotting.overlays import overlay

        if found.map is not None and found.path is not None:
            photo = original(found.path, self._detector)
            self._save(overlay(photo, found.map, found.threshold), found.path)

    def write_mask(self, found: Inspection) -> None:
        """Write the marked pixels, white on black."""
        from PIL import Image

        if found.mask is not None and found.path is not None:
            self._save(Image.fromarray(found.mask), found.path)

    def _save(self, picture: Image.Image, path: str) -> None:
        name = self._chosen.name(path)
        target = self._folder / name.with_name(f"{name.name}.png")
        target.parent.mkdir(parents=True, exist_ok=True)
        with beside(target) as part:
            picture.save(part, "PNG")

"""``skpadim fit``: learn from a folder, write the model file, tell what was learned."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.whole_files import refuse_absent_folder
from ..decisions import decisions_in_words
from .messages import say, show
from .photos import find_training_groups, find_training_photos
from .progress import FitProgress, Progress
from .thumbnails import thumbnail

if TYPE_CHECKING:
    from ..detector import PaDiMDetector

# Pictures of the training photos that are least like the others.
_N_THUMBNAILS = 12
# How many of them are named.
_N_NAMED = 5
# A fit that needs more memory says so.
_LARGE = 10**9


def fit(
    folder: Path, output: Path, name: str | None, parameters: Mapping[str, Any], *, by_group: bool = False
) -> None:
    """Learn from the photos in a folder, and write a model file.

    Parameters
    ----------
    folder : Path
    output : Path
    name : str or None
        What to call the model. None: as the file.
    parameters : mapping
        Of `PaDiMDetector`.
    by_group : bool, default=False
        Whether the photos lie in a folder for every group, which is left out as a whole.
    """
    from ..detector import PaDiMDetector
    from ..growth.patches import MIN_IMAGES
    from ..images.resizing import images_at_a_time
    from ..model_file import describe, save_model
    from ..needs import in_words

    refuse_absent_folder(output)
    groups = None
    if by_group:
        found, groups = find_training_groups(folder)
    else:
        found = find_training_photos(folder)
    paths = [str(path) for path in found]
    detector = PaDiMDetector(**parameters)
    # Of fewer photos the fit itself says that they are too few.
    need = detector.memory_need(max(MIN_IMAGES, len(paths))).fit
    if need > _LARGE:
        say(f"Learning takes about {in_words(need)} of memory.")
    begin = time.perf_counter()
    with Progress("Learning", len(paths)) as progress:
        at_a_time = images_at_a_time(detector.batch_size, _size_seen(detector))
        detector.set_callbacks(FitProgress(progress, at_a_time)).fit(paths, groups=groups)
    detector.set_callbacks()
    seconds = time.perf_counter() - begin
    card = describe(detector)
    card |= {"name": name or output.stem, "folder": str(folder.absolute()), "seconds": round(seconds, 1)}
    card["skipped"] = {paths[int(index)]: reason for index, reason in card["skipped"].items()}
    thumbnails = _name_training(card["training"], paths, detector)
    save_model(detector, output, card=card, thumbnails=thumbnails)
    _tell(card, folder, groups)
    show(f"Written: {output} ({output.stat().st_size / 1e6:.1f} MB)")


def _size_seen(detector: PaDiMDetector) -> tuple[int, int]:
    """Return height and width in pixels of what the network of a detector sees, fitted or not."""
    from ..base.checks import check_size

    if detector.crop_size is not None:
        return check_size("crop_size", detector.crop_size)
    return check_size("image_size", detector.image_size)


def _name_training(
    training: Sequence[dict[str, Any]], paths: Sequence[str], detector: PaDiMDetector
) -> dict[str, bytes]:
    """Add paths and p-values to the rows of training photos, and return small pictures of the first."""
    # The p-value of each by all others; the photo itself counts among those that score as high.
    scores = [row["loo_score"] for row in training]
    n_as_high = {score: place for place, score in enumerate(scores, start=1)}
    thumbnails = {}
    for place, row in enumerate(training):
        row["path"] = paths[row["index"]]
        row["p_value"] = n_as_high[row["loo_score"]] / len(training)
        if place < _N_THUMBNAILS:
            row["thumbnail"] = f"training/{place:03}.jpg"
            thumbnails[row["thumbnail"]] = thumbnail(row["path"], detector)
    return thumbnails


def _tell(card: Mapping[str, Any], folder: Path, groups: Sequence[str] | None) -> None:
    training, threshold = card["training"], card["threshold"]
    rate = 100 * card["false_alarm_rate"]
    n_above = sum(row["loo_score"] > threshold for row in training)
    others = "others" if groups is None else f"of other groups ({len(set(groups))} folders)"
    height, width = card["crop_size"] or card["image_size"]
    show(f"Learned {card['n_photos']} photos of good parts in {folder} ({card['seconds']:.0f} s).")
    for path, reason in card["skipped"].items():
        say(f"Not read: {path}: {reason}")
    show(f"Network: {card['network']}, layers {', '.join(card['layers'])}, {width} x {height} px.")
    if card["align"] is not None or card["align_by_auto"]:
        show(f"Parts: {decisions_in_words(card)['parts']}.")
    show(
        f"Threshold: {threshold:.4g}. Of new photos of good parts, about {rate:.3g} % "
        "score higher: the false-alarm rate."
    )
    show(
        f"Each training photo against all {others}: {n_above} of {len(training)} score above the threshold. "
        "The highest:"
    )
    for row in training[:_N_NAMED]:
        mark = " above the threshold" if row["loo_score"] > threshold else ""
        show(f"  {row['loo_score']:8.4g}  {row['path']}{mark}")
    show("Look at these: a defective part among the good ones is found here.")

"""``skpadim inspect``: a verdict on every photo, and files and pictures of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..verdicts import verdict_of
from .messages import Stopped, say
from .outputs import Output, VerdictList, kept_files, kept_verdicts, refuse_shared_names, verdict_outputs
from .photos import Chosen
from .pictures import PictureFolder
from .progress import Progress
from .reporting import ReportFile

if TYPE_CHECKING:
    from ..inspection import Inspection
    from ..model_file import Model

Taker = Callable[["Inspection"], None]


@dataclass(frozen=True)
class Wanted:
    """What is to be written of an inspection.

    Attributes
    ----------
    csv, json : str or None
        Files of verdicts; "-" is stdout.
    maps, masks : Path or None
        Folders of pictures.
    report : Path or None
        An HTML file.
    min_area : int
        Of regions, in pixels of the photo.
    listed : bool
        Whether to print verdicts where no file of them is named.
    resume : bool
        Whether to go on with an earlier run.
    """

    csv: str | None = None
    json: str | None = None
    maps: Path | None = None
    masks: Path | None = None
    report: Path | None = None
    min_area: int = 1
    listed: bool = True
    resume: bool = False


def set_up(
    model: Model,
    *,
    threshold: float | None = None,
    false_alarm_rate: float | None = None,
    batch_size: int | None = None,
    decoders: int | None = None,
    jobs: int | None = None,
) -> None:
    """Set what a command may choose anew of a fitted detector."""
    detector = model.detector
    if threshold is not None and false_alarm_rate is not None:
        raise ValueError("--threshold and --false-alarm-rate both place the threshold: pass one of them.")
    if threshold is not None:
        detector.set_threshold(threshold)
    if false_alarm_rate is not None:
        detector.set_false_alarm_rate(false_alarm_rate)
    if batch_size is not None:
        detector.set_params(batch_size=batch_size)
    if decoders is not None:
        detector.set_params(n_decoders=decoders)
    if jobs is not None:
        detector.set_params(n_jobs=jobs)
    # One photo that cannot be read is no reason to lose the others.
    detector.set_params(on_error="skip")


def inspect(model: Model, chosen: Chosen, wanted: Wanted) -> dict[str, int]:
    """Judge photos, and write what is wanted of them.

    Parameters
    ----------
    model : Model
        Set up.
    chosen : Chosen
    wanted : Wanted

    Returns
    -------
    dict
        How many photos are "good", "anomaly" and "error", those of an earlier run among them.
    """
    options = ("csv", "json", "maps", "masks", "report")
    refuse_shared_names({f"--{option}": getattr(wanted, option) for option in options}, model.path)
    outputs = verdict_outputs(wanted.csv, wanted.json, listed=wanted.listed)
    kept = kept_verdicts(outputs, wanted.resume, model.digest, -model.detector.offset_)
    counts = {"good": 0, "anomaly": 0, "error": 0}
    for verdict in kept:
        counts[verdict["verdict"]] += 1
    done = {verdict["path"] for verdict in kept}
    n_left = len(set(chosen.paths) - done)
    listed = any(isinstance(output, VerdictList) for output in outputs)
    with ExitStack() as stack:
        takers = _takers(model, chosen, wanted)
        report = _report(model, chosen, wanted, done)
        if report is not None:
            takers.append(report.add)
        for output in outputs:
            stack.callback(output.close)
            output.begin(kept)
        try:
            with Progress("Inspecting", n_left, silent=listed) as progress:
                for found in inspect_rest(model, chosen.paths, done, wanted):
                    for take in takers:
                        take(found)
                    verdict = verdict_of(found, model.digest)
                    for output in outputs:
                        output.write(verdict)
                    counts[verdict["verdict"]] += 1
                    progress.advance()
        except KeyboardInterrupt:
            if report is not None and not kept_files(outputs):
                report.discard()
            raise Stopped(_left_behind(sum(counts.values()), len(chosen.paths), outputs)) from None
    if report is not None:
        report.finish()
    for output in outputs:
        output.finish()
    return counts


def inspect_rest(model: Model, paths: Sequence[str], done: set[str], wanted: Wanted) -> Iterator[Inspection]:
    """Yield what is found of the photos that are not done.

    Batches are those of a run that does all: scores depend on the batch by float32 rounding, and a run that
    was interrupted should end with the same.
    """
    from ..images.resizing import images_at_a_time

    detector = model.detector
    first = next((place for place, path in enumerate(paths) if path not in done), len(paths))
    at_a_time = images_at_a_time(detector.batch_size, detector.pipeline_[0].input_size_)
    rest = list(paths[first - first % at_a_time :])
    if first == len(paths):
        return
    found = detector.iter_inspect(
        rest,
        maps=wanted.maps is not None or wanted.report is not None,
        masks=wanted.masks is not None or wanted.report is not None,
        regions=True,
        checks=can_check(model),
        original_size=True,
        min_area=wanted.min_area,
    )
    yield from (one for one in found if one.path not in done)


def can_check(model: Model) -> bool:
    """Say whether the detector learned what photos look like; those of earlier versions did not."""
    return hasattr(model.detector, "photo_statistics_")


def tell_counts(counts: dict[str, int]) -> None:
    """Say how many photos there were, and what of."""
    total = sum(counts.values())
    say(f"{total} photos: {counts['good']} good, {counts['anomaly']} anomalies, {counts['error']} errors.")


def _takers(model: Model, chosen: Chosen, wanted: Wanted) -> list[Taker]:
    """Return what takes pictures of what is found."""
    takers: list[Taker] = []
    if wanted.maps is not None:
        takers.append(PictureFolder(wanted.maps, chosen, model.detector).write_map)
    if wanted.masks is not None:
        takers.append(PictureFolder(wanted.masks, chosen, model.detector).write_mask)
    return takers


def _report(model: Model, chosen: Chosen, wanted: Wanted, done: set[str]) -> ReportFile | None:
    if wanted.report is None:
        return None
    return ReportFile(wanted.report, model, chosen.labels, done)


def _left_behind(n_judged: int, n_photos: int, outputs: Sequence[Output]) -> str:
    files = kept_files(outputs)
    said = f"{n_judged} of {n_photos} photos are judged"
    if not files:
        return f"{said}."
    parts = " and ".join(str(file.part) for file in files)
    return f"{said}; their verdicts are in {parts}. The same command with --resume goes on."

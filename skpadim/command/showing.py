"""What a model file says, where its threshold is and may be, and what the camera checks find."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..decisions import decisions_in_words
from .messages import ANOMALIES, ERRORS, GOOD, say, show
from .progress import Progress

if TYPE_CHECKING:
    from ..model_file import Model

# Rates for which `threshold` shows thresholds.
_RATES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1)
_N_NAMED = 5
_MODEL_SUFFIX = ".skpadim"


def tell_values(values: Mapping[str, Any]) -> None:
    """Print what an exported file says; of long lists, how long they are."""
    for name, value in values.items():
        show(f"{name:<18}{f'{len(value)} values' if isinstance(value, list) and len(value) > 8 else value}")


def tell_card(card: Mapping[str, Any]) -> None:
    """Print what a card says as a person reads it."""
    rate, training = card["false_alarm_rate"], card["training"]
    by = "set as a score" if rate is None else f"false-alarm rate {rate:.3g}"
    lines = {
        "Name": card["name"],
        "Made": card.get("created"),
        "Learned": f"{card['n_photos']} photos" + (f" in {card['folder']}" if card["folder"] else ""),
        "Not read": f"{len(card['skipped'])} photos" if card["skipped"] else None,
        "Network": f"{card['network']}, layers {', '.join(card['layers'])}, {card['n_channels']} channels",
        "Sees": _sizes(card),
        **{name.capitalize(): text for name, text in decisions_in_words(card).items()},
        "Threshold": f"{card['threshold']:.6g} ({by})",
        "Versions": ", ".join(f"{name} {version}" for name, version in card.get("versions", {}).items()),
    }
    for name, value in lines.items():
        if value:
            show(f"{name:<12}{value}")
    show(f"Training photos least like the others (leave-one-out score; {len(training)} have one):")
    for row in training[:_N_NAMED]:
        mark = "  above the threshold" if row["loo_score"] > card["threshold"] else ""
        name = row["path"] or f"photo {row['index']}"
        show(f"  {row['loo_score']:8.4g}  {name}{mark}")


_WAYS = {"stretch": "resized to", "pad": "padded to", "crop": "cropped to"}


def _sizes(card: Mapping[str, Any]) -> str:
    height, width = card["image_size"]
    way = _WAYS[card.get("resize", "stretch")]  # files of earlier versions say nothing of it
    drafts = "JPEGs as drafts, " if card.get("decoding", "exact") == "draft" else ""
    text = f"{drafts}photos {way} {width} x {height} px"
    if card["crop_size"]:
        height, width = card["crop_size"]
        text += f", of them the centre, {width} x {height} px"
    return text


def tell_thresholds(model: Model) -> None:
    """Print the threshold, and what it would be at other false-alarm rates."""
    from ..calibration import conformal_threshold

    detector, rate = model.detector, model.card["false_alarm_rate"]
    threshold, scores = -detector.offset_, detector.loo_scores_
    by = "set as a score" if rate is None else f"for a false-alarm rate of {rate:.3g}"
    show(f"Threshold {threshold:.6g}, {by}.")
    show(f"{int((scores > threshold).sum())} of {len(scores)} training photos score higher (leave-one-out).")
    show("Thresholds by false-alarm rate:")
    for each in _RATES:
        with warnings.catch_warnings(record=True) as too_few:
            warnings.simplefilter("always")
            placed = conformal_threshold(scores, each)
        needs = f"  needs {round(1 / each) - 1} photos: the highest score" if too_few else ""
        show(f"  {each:<8.3g}{placed:.6g}{needs}")


def move_threshold(model: Model, rate: float | None, value: float | None, output: Path | None) -> None:
    """Set the threshold in the file, which is written anew beside and moved into place.

    Parameters
    ----------
    model : Model
    rate, value : float or None
        One of them.
    output : Path or None
        Where to write. None: to the file itself.
    """
    from ..model_file import describe, save_model

    if rate is not None and value is not None:
        raise ValueError("--false-alarm-rate and --value both place the threshold: pass one of them.")
    target = output or model.path
    if target.suffix.lower() != _MODEL_SUFFIX:
        raise ValueError(
            f"{str(target)!r} is no {_MODEL_SUFFIX} file, and only these are written: name one by --output."
        )
    before, detector = -model.detector.offset_, model.detector
    if value is not None:
        detector.set_threshold(value)
    elif rate is not None:
        detector.set_false_alarm_rate(rate)
    moved = describe(detector)
    card = {**model.card, **{name: moved[name] for name in ("threshold", "false_alarm_rate")}}
    save_model(detector, target, card=card, thumbnails=model.thumbnails())
    show(f"Threshold {-detector.offset_:.6g} (before: {before:.6g}).")
    n_above = int((detector.loo_scores_ > -detector.offset_).sum())
    show(f"{n_above} of {len(detector.loo_scores_)} training photos score higher (leave-one-out).")
    show(f"Written: {target}")


def check(model: Model, paths: list[str], rate: float, as_json: bool) -> int:
    """Print which photos do not look as photos of good parts do, and return the status to end with."""
    detector = model.detector
    with Progress("Checking", len(paths), silent=as_json) as progress:
        found = {one.index: one for one in detector.check(paths, false_alarm_rate=rate)}
        progress.advance(len(paths))
    for index, path in enumerate(paths):
        one = found.get(index)
        outside = {} if one is None else {name: str(out) for name, out in one.outside.items()}
        if as_json:
            record = {"path": path, "readable": one is not None, "outside": outside}
            show(json.dumps(record))
        elif one is None:
            show(f"not read  {path}")
        elif outside:
            show(f"unusual   {path}: " + ", ".join(f"{name} {words}" for name, words in outside.items()))
    n_unread, n_unusual = len(paths) - len(found), sum(not one.ok for one in found.values())
    say(f"{len(paths)} photos: {n_unusual} unusual, {n_unread} could not be read.")
    return ERRORS if n_unread else ANOMALIES if n_unusual else GOOD

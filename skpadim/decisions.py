"""What was decided of how photos are taken and judged: for the card of a model, and as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .detector import PaDiMDetector

_WAYS = {
    None: "taken as they lie",
    "rigid": "turned and shifted to where good photos have them",
    "shift": "shifted to where good photos have them",
}


def decisions(detector: PaDiMDetector) -> dict[str, Any]:
    """Return what the fit of a detector decided, and was told, of how photos are taken and judged.

    Parameters
    ----------
    detector : PaDiMDetector
        Fitted.

    Returns
    -------
    dict
        It can be written as JSON. ``align``, how parts are moved: "rigid", "shift", or None;
        ``align_by_auto``, whether ``align="auto"`` decided that; ``patch_stride``; ``ignore``, whether there
        is a mask; and ``n_groups``, of how many groups the photos with leave-one-out scores are, None without
        groups.
    """
    features = detector.pipeline_["features"]
    return {
        "align": None if features.aligner_ is None else features.aligner_.motion,
        "align_by_auto": isinstance(features.align, str) and features.align == "auto",
        "patch_stride": None if features.patch_stride is None else int(features.patch_stride),
        "ignore": features.ignore is not None,
        "n_groups": detector.n_groups_,
    }


def decisions_in_words(card: Mapping[str, Any]) -> dict[str, str]:
    """Return names and texts of what `decisions` returned, as far as a card of an earlier version has it.

    Parameters
    ----------
    card : mapping

    Returns
    -------
    dict of str to str
        Without what is as it is by default, but for parts.

    Examples
    --------
    >>> decisions_in_words({"align": None, "align_by_auto": True, "n_groups": 5})["parts"]
    'taken as they lie, as align="auto" decided'
    """
    said = {}
    if "align" in card:
        by_whom = ', as align="auto" decided' if card.get("align_by_auto") else ""
        said["parts"] = _WAYS[card["align"]] + by_whom
    if card.get("patch_stride") is not None:
        said["patches"] = f"at least {card['patch_stride']} px apart"
    if card.get("ignore"):
        said["ignored"] = f"a region of all {'photos' if card.get('align') is None else 'aligned photos'}"
    if card.get("n_groups") is not None:
        left_out = "each left out as a whole: a threshold by a false-alarm rate is one for new groups"
        said["groups"] = f"{card['n_groups']}, {left_out}"
    return said

"""Values of options that are more than a word or a number: sizes, ranges, lists of layers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import typer


def size(text: str | None) -> int | tuple[int, int] | None:
    """Return "224" as 224, "240x320" as (240, 320)."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)(?:[x*](\d+))?", text.strip().lower())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no size: expected one number, 224, or HEIGHTxWIDTH, 240x320.")
    height, width = found.groups()
    return int(height) if width is None else (int(height), int(width))


def value_range(text: str) -> str | int | tuple[float, float]:
    """Return "auto" and "dtype" as they are, "12" as 12 bits, "0,4095" as (0.0, 4095.0)."""
    if text in ("auto", "dtype"):
        return text
    try:
        ends = [float(end) for end in text.split(",")]
        if len(ends) == 1:
            return int(text)
        low, high = ends
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no range: expected auto, dtype, a number of bits, 12, or LOW,HIGH, 0,4095."
        ) from None
    return low, high


def n_channels(text: str) -> str | int | None:
    """Return "auto" as it is, "all" as None, "100" as 100."""
    if text == "auto":
        return text
    if text == "all":
        return None
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is no number of channels: expected auto, all, or a number, 100.")
    return int(text)


def number_or_auto(text: str) -> str | float:
    """Return "auto" as it is, and else a number."""
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r}: expected auto, or a number.") from None


def layers(names: Sequence[str]) -> str | list[str]:
    """Return the names of layers, given one by one or with commas; "auto" for none."""
    found = [name for text in names for name in text.split(",") if name]
    return "auto" if found in ([], ["auto"]) else found

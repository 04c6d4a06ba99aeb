"""Values of options that are more than a word or a number."""

from __future__ import annotations

import pytest
import typer

from skpadim.command import values


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (values.size, "224", 224),
        (values.size, "240x320", (240, 320)),
        (values.size, None, None),
        (values.value_range, "auto", "auto"),
        (values.value_range, "12", 12),
        (values.value_range, "0,4095", (0.0, 4095.0)),
        (values.value_range, "0.1,0.9", (0.1, 0.9)),
        (values.n_channels, "auto", "auto"),
        (values.n_channels, "all", None),
        (values.n_channels, "100", 100),
        (values.number_or_auto, "auto", "auto"),
        (values.number_or_auto, "0.01", 0.01),
        (values.layers, [], "auto"),
        (values.layers, ["auto"], "auto"),
        (values.layers, ["a,b", "c"], ["a", "b", "c"]),
    ],
)
def test_what_they_mean(read, text, expected):
    found = read(text)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (values.size, "224x"),
        (values.size, "large"),
        (values.value_range, "0,1,2"),
        (values.value_range, "1.5"),
        (values.value_range, "deep"),
        (values.n_channels, "-3"),
        (values.number_or_auto, "small"),
    ],
)
def test_what_they_do_not(read, text):
    with pytest.raises(typer.BadParameter, match="expected"):
        read(text)

"""The page and the figure of growth.py: powers, bends, and what they come from."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pages import command, machine, table


class Point(NamedTuple):
    """What is measured: photos to learn, pixels a side, and channels (0: as by default)."""

    photos: int
    side: int
    channels: int

    def along(self, axis: str) -> int:
        return {"photos": self.photos, "pixels": self.side**2, "channels": self.channels}[axis]

    def label(self, axis: str) -> str:
        return f"{self.side} px" if axis == "pixels" else f"{self.along(axis):,}"


# Filters within the default's two blocks: 240 channels on its finer grid, 672 on its coarser one.
WIDE_LAYERS = ["blocks.4.depthwise", "blocks.10.depthwise"]
FIT = ("building", "network", "photo statistics", "moments")
FIT += ("factors", "leave-one-out", "layout", "maps", "rest")
SCORE = ("network", "distances", "maps", "rest")
KINDS = {"fit": FIT, "alone": SCORE, "batch": SCORE}
NAMES = {"fit": "A fit", "alone": "A photo alone", "batch": "A photo in batches of 32"}
N_CALIBRATION, BATCH = 500, 32
#: Neighbouring powers that differ by more are a bend; parts with such a share of the time are named there.
BEND, SHARE = 0.15, 0.1
ABOUT = {
    "photos": "Photos of 224 px; scores by the number of photos that the fit had. Expected: a fit is linear, "
    "scores are flat.",
    "pixels": "Fits of 48 photos. Powers are of the number of pixels. Expected: linear.",
    "channels": "Fits of 64 photos of 224 px. The default's layers have 152 channels; here they are drawn of "
    f"the 912 of `{'` and `'.join(WIDE_LAYERS)}`, wide filters within the same blocks, on the same grids. "
    "Expected: distances between linear and quadratic, factors cubic, the network flat.",
}
WHY = {
    "photos": "Building, factors and layout come once a fit, whatever its photos: the flat beginning. "
    "Network, photo statistics and moments take each photo once. Leave-one-out scores, and the maps that "
    f"they are read from, are of at most {N_CALIBRATION} photos: they grow up to there, and are flat beyond. "
    "So is memory, which holds the features of these photos, and of others some bytes to know them by. What "
    "is fitted is as large whatever it has learned from, so scores do not see the number of photos.",
    "pixels": "Patches are one for 64 pixels, so moments, factors, leave-one-out scores, distances and what "
    "memory holds of them are linear. The network takes as many photos together as keep each activation "
    "below 32 MB: of larger photos fewer, and at last one, whose activations may be larger than that: then "
    "they come from the system anew at each call, page by page, and leave the caches. Maps "
    "are two products of matrices a photo, whose work grows with the cube of a side: power 1.5. Where a "
    "power is below 1, what comes once a call or once a fit still has a share.",
    "channels": "The rows of the inverse factors that a distance reads and multiplies are as many as the "
    "square of the channels, and so are the co-moments: quadratic, once that outweighs what each channel "
    "costs (features gathered and centred: linear) and each call (flat). Factors are products of matrices: "
    "cubic, once these outweigh reading and writing, which is quadratic. Powers in between are mixtures. A "
    "whole bends up where one of these outgrows the network, which is the same for all. Memory at the "
    "fewest channels is that of the network and of photos on their way; statistics come on top.",
}
#: Axis, unit, curves, and straight lines through the last point of a curve, with what power.
PANELS = [
    ("photos", "s", ("fit", "fit network", "fit factors", "fit leave-one-out"), [("fit", 1)]),
    ("photos", "ms a photo", ("alone", "batch"), [("alone", 0), ("batch", 0)]),
    ("pixels", "ms a photo", ("fit", "alone", "batch"), [("alone", 1), ("batch", 1)]),
    (
        "channels",
        "ms a photo",
        ("fit", "fit factors", "alone distances", "batch distances"),
        [("fit factors", 3), ("batch distances", 1), ("batch distances", 2)],
    ),
]
TITLES = ("(a) a fit", "(a) scores, by photos of the fit", "(b) by pixels a side", "(c) by channels")
POWERS = ("flat", "linear", "quadratic", "cubic")
# Okabe and Ito's, told apart by colour-blind eyes.
COLOURS = {"fit": "#0072B2", "alone": "#E69F00", "batch": "#009E73"} | {
    "fit network": "#56B4E9",
    "fit factors": "#D55E00",
    "fit leave-one-out": "#CC79A7",
}
Found = dict[Point, dict[str, float]]


def powers(axis: str, points: list[Point], found: Found, key: str) -> list[float]:
    """Return the slopes of a curve on logarithmic axes, from each point to the next."""
    logs = [(math.log(p.along(axis)), math.log(max(found[p][key], 1e-9))) for p in points]
    return [(y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in pairwise(logs)]


def shown(point: Point, found: Found, key: str, unit: str) -> float:
    """Return a time in seconds, or in milliseconds a photo."""
    per = point.photos if key.startswith("fit") else 1
    return found[point][key] * (1 if unit == "s" else 1000 / per)


def tables(axis: str, points: list[Point], found: Found) -> list[str]:
    """Return the tables of an axis: time and memory, and the parts of the time."""
    of_kind = {kind: ["", *(f"{p:.2f}" for p in powers(axis, points, found, kind))] for kind in KINDS}
    keys = [f"{kind} {part}" for kind, names in KINDS.items() for part in names]
    wholes, parts = [], []
    for number, point in enumerate(points):
        row = [point.label(axis), f"{found[point]['fit']:.2f}"]
        for kind, slopes in of_kind.items():
            row += [f"{shown(point, found, kind, 'ms'):.2f}", slopes[number]]
        row += [f"{found[point][key] / 1e6:.0f}" for key in ("peak", "taken", "sample", "score peak")]
        wholes.append([*row, f"{found[point]['together']:.0f}"])
        of_fit, of_scores = keys[: len(FIT)], keys[len(FIT) :]
        parts.append([point.label(axis), *(f"{found[point][key]:.3f}" for key in of_fit)])
        parts[-1] += [f"{1000 * found[point][key]:.2f}" for key in of_scores]
    for name, pair in (("power at first", points[:2]), ("power at last", points[-2:])):
        parts.append([name, *(f"{powers(axis, pair, found, key)[0]:.2f}" for key in keys)])
    head = [axis, "fit, s", "a photo, ms", "power", "score alone, ms", "power"]
    head += ["in batches, ms a photo", "power", "peak of a fit, MB", "beside what was there, MB"]
    head += ["of these, features of the sample, MB", "peak of scores, MB", "photos that pass together"]
    of_parts = [axis, *(key.replace(" ", ": ") for key in keys)]
    between = ["", "By parts, of a fit in seconds, of scores in milliseconds a photo:", ""]
    return [*table(head, wholes), *between, *table(of_parts, parts), ""]


def bends(axis: str, points: list[Point], found: Found, kind: str) -> str:
    """Say where a curve bends, and what its larger parts, each a curve of its own, do there."""
    slopes = powers(axis, points, found, kind)
    (whole,) = powers(axis, [points[0], points[-1]], found, kind)
    last = len(slopes) - 1
    pairs = [(at, at + 1) for at in range(last) if abs(slopes[at + 1] - slopes[at]) > BEND]
    if not pairs and abs(slopes[last] - slopes[0]) > BEND:
        pairs = [(0, last)]
    said = []
    for before, behind in pairs:
        where = f"at {points[behind].label(axis)}" if behind == before + 1 else "little by little"
        parts = []
        for part in KINDS[kind]:
            key = f"{kind} {part}"
            begin, end = (found[p][key] / found[p][kind] for p in (points[before], points[behind + 1]))
            own = powers(axis, points, found, key)
            if max(begin, end) >= SHARE:
                parts.append(f"{part} {begin:.0%} to {end:.0%} ({own[before]:.2f}, then {own[behind]:.2f})")
        change = f"{slopes[before]:.2f} to {slopes[behind]:.2f}"
        said.append(f"it bends {where}, from {change}: {', '.join(parts)}")
    return f"- **{NAMES[kind]}**: power {whole:.2f} from end to end; {'; '.join(said or ['no bend'])}."


def draw(axes: dict[str, list[Point]], found: Found, path: Path) -> None:
    """Draw the curves on logarithmic axes, and straight lines of whole powers."""
    from matplotlib import pyplot as plt  # which the processes that are measured do without

    plt.rcParams |= {"font.size": 8, "svg.hashsalt": path.name, "lines.markersize": 3}
    figure, panels = plt.subplots(2, 2, figsize=(7, 6), layout="constrained")
    for panel, title, (axis, unit, keys, lines) in zip(panels.flat, TITLES, PANELS, strict=True):
        points = axes[axis]
        xs = np.array([point.along(axis) for point in points], dtype=float)
        ys = {key: np.array([shown(point, found, key, unit) for point in points]) for key in keys}
        for key in keys:
            kind, _, part = key.partition(" ")
            name = f"{NAMES[kind]}: {part}" if part else NAMES[kind]
            style, colour = "o--" if part else "o-", COLOURS.get(key, COLOURS[kind])
            panel.loglog(xs, ys[key], style, color=colour, label=name)
        low, high = panel.get_ylim()
        for key, power in lines:
            line = ys[key][-1] * (xs / xs[-1]) ** power
            panel.plot(xs, line, color="0.6", linewidth=0.7, zorder=0)
            at = int(np.argmax(line >= low))
            panel.text(xs[at], line[at], POWERS[power], color="0.4", fontsize=7, va="top")
        panel.set(title=title, ylabel=unit, ylim=(low / 2, high * 4))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.set_xticks(xs, [point.label(axis).removesuffix(" px") for point in points])
        panel.minorticks_off()
        panel.legend(frameon=False, fontsize=7, loc="upper left")
    figure.savefig(path, metadata={"Date": None})


def page(axes: dict[str, list[Point]], found: Found, n_rounds: int, figure: str) -> str:
    lines = [
        "# How time and memory grow\n",
        f"Made by `{command('growth.py')}` on {machine()}, torch {torch.__version__}: the default detector, "
        f"two threads, medians of {n_rounds} rounds, in each of which every point has a process of its own. "
        "Photos are small drawn ones enlarged, with noise, made by threads beside the network. A power is "
        "the slope to the point before on logarithmic axes: 0 is flat, 1 linear, 2 quadratic. Peaks are "
        "those of the whole process.\n",
        f"![Time against photos, pixels and channels, on logarithmic axes]({figure})\n",
        "A curve bends where neighbouring powers, or else the first and the last, differ by more than "
        f"{BEND}. Below the tables stands where, and of the parts with {SHARE:.0%} of the time or more their "
        "share at the point before and at the point behind, and in brackets their own powers. Rest is "
        "all else, such as waiting for photos, telling copies from others, and keeping the sample.\n",
    ]
    for axis, points in axes.items():
        lines += [f"## {axis.capitalize()}\n", ABOUT[axis] + "\n", *tables(axis, points, found)]
        (memory,) = powers(axis, [points[0], points[-1]], found, "taken")
        of_memory = f"- **Memory of a fit**, beside what was there: power {memory:.2f} from end to end."
        bent = [bends(axis, points, found, kind) for kind in KINDS]
        lines += [*bent, of_memory, "", WHY[axis] + "\n"]
    return "\n".join(lines)

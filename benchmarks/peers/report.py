"""What was measured, kept cell by cell and written as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from pages import command, machine, table

from .processes import BEFORE

SCORES = {
    "score": "batch of 32",
    "score_singly": "single image",
    "png": "PNG files",
    "jpeg": "JPEG files",
}
FILES = (
    "From files, too, smoothed maps come out, but of trunks, which have none. Pillow decodes for all: for "
    "skpadim beside the network, for the others one file after the other, before torchvision's transforms. "
    "Threads that decode: "
)
NOTES = """\
- trunk: the network to its third layer, batch norms folded, channels last; normalised tensors in, channels
  last, a whole batch at a time. Its fit is one pass over the images, 32 at a time. On a CPU, skpadim passes a
  batch through the network a few images at a time, and fuses convolutions with what follows (see "What
  paid"), so a ratio may be below one. "trunk split" takes eight images at a time.
- "default": skpadim's default detector, EfficientNet-Lite0 with trained weights, and its trunk, to which its
  ratio is; all others have the network named above. With onnxruntime, that runs the network; its fit
  includes writing the network for it.
- skpadim before: the earlier commit that is named above, in an environment of its own. The commit under
  "Versions" is what the installation there says of itself. Who has such an environment is refused if its
  library is not imported from there.
- skpadim: uint8 arrays or paths in; smoothed maps out. Its fit includes the leave-one-out scores that set the
  threshold.
- Peers and reference: normalised float tensors in, smoothed maps out. Normalising is not in their times, but
  for files, which all but skpadim read as the peers' documents do.
- Every fit but the trunk's includes building the network from a state-dict file. Weights are random, and the
  same for all; so are the channels.
- anomalib adds another 0.00001 to the variances, which shows in its map difference.
- reference: the formulas of the first public implementation in plain NumPy and SciPy; its inverses are taken
  in the fit, not when scoring.
- Contenders run in turns, each in a process of its own. Times are medians over the turns, ratios the medians
  of the ratios in the same turn. Scores are taken up to 7 times a turn, for 4 s at most, single
  images 16 times, and count by their median. A fit of more than 60 s is timed once. A dash: nothing to
  measure, or not tried because the contender had failed before.
- Peak memory is the process's resident memory at its highest (VmHWM) minus what imports and photos take; on a
  GPU, the host's alone. "With scoring" is after a fit on the smallest number of images and all the scoring;
  "whole process" is the same with imports and photos.
- On disk: what was fitted, without the network, as each library saves it.
- The map difference is the largest of any patch of four images, relative, before upsampling and smoothing."""


class Results:
    """Values, one per turn, and failures of every contender and measure."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], list[float]] = {}
        self.failures: dict[tuple[str, str], str] = {}
        self.versions: dict[str, str] = {}

    def add(self, name: str, measure: str, value: float) -> None:
        self.values.setdefault((name, measure), []).append(value)

    def fail(self, name: str, measure: str, message: str) -> None:
        self.failures.setdefault((name, measure), message)

    def failed(self, name: str, measure: str) -> bool:
        return (name, measure) in self.failures

    def median(self, name: str, measure: str) -> float:
        return statistics.median(self.values[name, measure])

    def ratios(self, name: str, measure: str, to: str) -> list[float]:
        """Return the ratio to another contender's value in every turn."""
        pairs = zip(self.values.get((name, measure), []), self.values.get((to, measure), []), strict=False)
        return [value / base for value, base in pairs]

    def ratio(self, name: str, measure: str, to: str) -> float | None:
        ratios = self.ratios(name, measure, to)
        return statistics.median(ratios) if ratios else None

    def cell(self, name: str, measure: str, form: str, scale: float = 1.0) -> str:
        if message := self.failures.get((name, measure)):
            return message if message.startswith(">") or message == "out of memory" else "failed"
        if (name, measure) not in self.values:
            return "-"
        return format(scale * self.median(name, measure), form)

    def timed_cell(self, name: str, measure: str, form: str, scale: float = 1.0) -> str:
        """Return a time and, in brackets, its ratio to the trunk's: the median, and the turns' extremes."""
        cell = self.cell(name, measure, form, scale)
        trunk = "trunk default" if name.endswith("default") else "trunk"
        ratios = [] if self.failed(name, measure) else self.ratios(name, measure, trunk)
        if not ratios or name == trunk:
            return cell
        spread = f"; {min(ratios):.2f} to {max(ratios):.2f}" if len(ratios) > 1 else ""
        return f"{cell} ({statistics.median(ratios):.2f}{spread})"


def fit_table(results: Results, names: Sequence[str], sizes: Sequence[int]) -> list[str]:
    head = ["fit"]
    head += [f"{size:,} images, s" for size in sizes] + [f"peak at {size:,}, MB" for size in sizes]
    rows = [
        [name]
        + [results.timed_cell(name, f"fit {size}", ".2f") for size in sizes]
        + [results.cell(name, f"peak {size}", ",.0f") for size in sizes]
        + [results.cell(name, "disk", ",.1f")]
        for name in names
    ]
    return table([*head, "on disk, MB"], rows)


def about_files(results: Results, names: Sequence[str]) -> list[str]:
    """Say how many threads decode files, and whose."""
    by_number: dict[int, list[str]] = {}
    for name in names:
        for number in results.values.get((name, "decoders"), []):
            by_number.setdefault(int(number), []).append(name)
    said = [f"{number} of {', '.join(by_number[number])}" for number in sorted(by_number)]
    return [f"{FILES}{'; '.join(said)}."] if said else []


def score_table(results: Results, names: Sequence[str]) -> list[str]:
    times = {
        "score": "batch of 32, ms per image",
        "score_singly": "single image, ms",
        "png": "PNG files, 256 px, ms per image",
        "jpeg": "JPEG files, 1,024 px, ms per image",
    }
    rows = [
        [name]
        + [results.timed_cell(name, measure, ".2f", 1000) for measure in times]
        + [results.cell(name, peak, ",.0f") for peak in ("peak", "whole peak")]
        + [results.cell(name, "difference", ".1e")]
        for name in names
    ]
    peaks = ["peak with scoring, MB", "whole process, MB"]
    return table(["score", *times.values(), *peaks, "map difference"], rows)


def peers_against_skpadim(results: Results, names: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """Say how many times as long as skpadim the others take."""
    heads = {f"fit {size}": f"fit, {size:,}" for size in sizes} | SCORES
    peers = [name for name in names if not name.startswith("trunk")]
    return ratio_table(results, peers, "skpadim", "times skpadim's", heads, ".1f")


def beside_before(results: Results, names: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """Say what skpadim takes beside an earlier commit."""
    heads = {f"fit {size}": f"fit, {size:,}" for size in sizes} | SCORES
    heads |= {f"peak {size}": f"peak at {size:,}" for size in sizes}
    own = [name for name in names if name.startswith("skpadim")]
    return ratio_table(results, own, BEFORE, f"times {BEFORE}'s", heads, ".2f")


def ratio_table(
    results: Results, names: Sequence[str], to: str, title: str, heads: Mapping[str, str], form: str
) -> list[str]:
    """Return the ratios of what contenders take to what one takes, by measures."""
    rows = []
    for name in names:
        ratios = [results.ratio(name, measure, to) for measure in heads]
        if name != to and any(ratios):
            rows.append([name, *("-" if ratio is None else format(ratio, form) for ratio in ratios)])
    return table([title, *heads.values()], rows) if rows else []


def report(results: Results, names: Sequence[str], sizes: Sequence[int], setting: str, base: str) -> str:
    failures = [f"- {name}, {measure}: {text}" for (name, measure), text in results.failures.items()]
    parts = [
        ["# Beside every peer"],
        [f"Made by `{command('peers')}` on {machine()}. {setting}"],
        ["In brackets: the ratio to the trunk alone in the same turn, its median and extremes."],
        fit_table(results, names, sizes),
        about_files(results, names),
        score_table(results, names),
        peers_against_skpadim(results, names, sizes),
        beside_before(results, names, sizes),
        [f"Map differences are from {base}'s maps."] if base else [],
        ["## What was measured"],
        NOTES.splitlines(),
        ["## What failed"] if failures else [],
        failures,
        ["## Versions"],
        [f"- {name}: {text}" for name, text in results.versions.items()],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"

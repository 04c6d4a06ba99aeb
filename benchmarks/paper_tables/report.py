"""The tables in Markdown and CSV, with published figures beside."""

from __future__ import annotations

import argparse
import csv
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.models import get_model_weights

from .data import TITLES
from .models import METRICS

Result = dict[str, Any]
Values = dict[str, list[float]]

_HERE = Path(__file__).parent
_HEADS = ("image ROC AUC", "pixel ROC AUC", "PRO", "AUPIMO")
_PUBLISHED = ("image_roc_auc", "pixel_roc_auc", "pro")
_PUBLISHED_HEAD = "image ROC AUC / pixel ROC AUC / PRO"
# What published figures stand beside; backbone and channels are in their rows. The paper is older than
# torchvision's second weights.
_PAPER = {
    "weights": "IMAGENET1K_V1",
    "layers": ["layer1", "layer2", "layer3"],
    "image_size": 256,
    "crop_size": 224,
    "epsilon": 0.01,
    "max_train": None,
    "max_test": None,
}
# How many categories a published average is over.
_ALL_CATEGORIES = 15

_INTRODUCTION = """# PaDiM on {title}

Made by `{command}`.

Figures in per cent{draws}. {backbone}, layers {layers}, epsilon {epsilon}; photos are
resized to {image_size} x {image_size} pixels, of which the network sees {crop_size} x {crop_size}.
"""

_METHOD = """## How it was measured

- The score of a photo is the maximum of its map. All photos to test on count for it.
- Maps have the size that the network sees; masks are resized to it by nearest neighbour, then cropped as the
  photos are.
- A defective photo whose mask has no marked pixel, as it came or after resizing and cropping, is left out of
  pixel ROC AUC, PRO and AUPIMO: {left_out}.
- PRO is integrated to a false-positive rate of 0.3; AUPIMO from 1e-5 to 1e-4, averaged over defective photos.
- Aligned: the crop is at the centre. Non-aligned: each photo, to train and to test on, is turned about its
  centre by an angle drawn between -10 and 10 degrees, black where nothing was, and cropped at a place drawn;
  its mask goes with it. Each draw has other angles and places.
- A draw decides the random channels and projections. Principal components have no seed: of aligned photos,
  they are the same in every draw.
"""

_CAPTIONS = {
    "layers": "One layer alone; the sum of the maps of these models; the same channels in one Gaussian, "
    "which knows how layers covary. {channels}",
    "reduction": "As many channels, in three ways: a random choice of channels, principal components of all "
    "patches, a random semi-orthogonal projection of each layer.",
}


def write_reports(results: list[Result], options: argparse.Namespace) -> None:
    """Write what is known so far, as <data set>.md and .csv."""
    name = options.root.resolve().name if options.dataset == "folder" else options.dataset
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"{name}.md").write_text(markdown(results, options), encoding="utf-8")
    rows = csv_rows(results)
    with open(options.output / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def csv_rows(results: list[Result]) -> list[dict[str, Any]]:
    """Return a row for each protocol, category and model, and for their averages over the categories."""
    return [
        _csv_row(result, variant, values)
        for of_protocol in _by_protocol(results).values()
        for result in with_average(of_protocol)
        for variant, values in result["scores"].items()
    ]


def _csv_row(result: Result, variant: str, values: Values) -> dict[str, Any]:
    settings = result["settings"]
    row = {name: settings[name] for name in ("dataset", "protocol", "category")}
    row["variant"] = variant
    for metric in METRICS:
        row[metric] = _number(float(np.mean(values[metric])))
        row[f"{metric}_sd"] = (
            _number(float(np.std(values[metric], ddof=1))) if len(values[metric]) > 1 else ""
        )
    counts = {"n_train": result["n_train"], "n_test": result["n_test"]}
    return {
        **row,
        "draws": settings["repeats"],
        **counts,
        "n_pixel_photos": np.mean(result["n_pixel_photos"]),
    }


def with_average(results: list[Result]) -> list[Result]:
    """Return the results of the categories and, if there are several, their average; photos are summed."""
    if len(results) == 1:
        return results
    average = {
        "settings": {**results[0]["settings"], "category": f"average of {len(results)}"},
        "comparisons": results[0]["comparisons"],
        "n_train": sum(result["n_train"] for result in results),
        "n_test": sum(result["n_test"] for result in results),
        "n_pixel_photos": np.sum([result["n_pixel_photos"] for result in results], axis=0).tolist(),
        "scores": {
            variant: {
                metric: np.mean([result["scores"][variant][metric] for result in results], axis=0).tolist()
                for metric in METRICS
            }
            for variant in results[0]["scores"]
        },
    }
    return [*results, average]


def markdown(results: list[Result], options: argparse.Namespace) -> str:
    """Return the page."""
    published = [
        row
        for row in _read("published.csv")
        if (row["dataset"], row["backbone"]) == (options.dataset, options.backbone)
    ]
    differences = _differences(options) if published else []
    shown = [] if differences else published
    text = _INTRODUCTION.format(
        **vars(options)
        | {
            "title": options.title or TITLES[options.dataset],
            "command": _command(options),
            "draws": f", mean of {options.repeats} draws ± standard deviation" if options.repeats > 1 else "",
            "layers": ", ".join(options.layers),
        }
    )
    for protocol, of_protocol in _by_protocol(results).items():
        beside = [row for row in shown if row["protocol"] == protocol]
        text += f"\n## {protocol.capitalize()}\n\n" + _categories(of_protocol, beside)
        for comparison in of_protocol[0]["comparisons"]:
            if comparison != "categories":
                text += _ablation(comparison, of_protocol, beside, options.layer_channels)
    return text + "\n" + _method(results) + _sources(published, differences, options.backbone)


def _differences(options: argparse.Namespace) -> list[str]:
    """Say in which settings a run is not the paper's; weights in a file are taken for the paper's."""
    given = dict(vars(options))
    if Path(options.weights).is_file():
        given["weights"] = _PAPER["weights"]
    elif options.weights != "none":
        given["weights"] = get_model_weights(options.backbone)[options.weights].name
    return [
        f"{name.replace('_', ' ')} {_words(given[name])} (the paper: {_words(value)})"
        for name, value in _PAPER.items()
        if given[name] != value
    ]


def _words(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else "all" if value is None else str(value)


def _categories(results: list[Result], published: list[dict[str, str]]) -> str:
    """Return the table of the paper's model, a row for each category."""
    (variant,) = results[0]["comparisons"]["categories"]
    beside = [row for row in published if (row["comparison"], row["variant"]) == ("categories", variant)]
    known = {(row["source"], row["category"]): row for row in beside}
    sources = list(dict.fromkeys(row["source"] for row in beside))
    heads = ["category", *_HEADS, *(f"{source}: {_PUBLISHED_HEAD}" for source in sources), "photos"]
    lines = []
    for result in with_average(results):
        name = result["settings"]["category"]
        published_name = "average" if name == f"average of {_ALL_CATEGORIES}" else name
        figures = [_figures(known.get((source, published_name))) for source in sources]
        photos = f"{result['n_train']} + {result['n_test']}"
        lines.append([name, *_cells(result["scores"][variant]), *figures, photos])
    caption = f"{variant.capitalize()} channels of all layers. Photos: to train on + to test on.\n\n"
    return caption + _table(heads, lines)


def _ablation(
    comparison: str, results: list[Result], published: list[dict[str, str]], n_channels: int | None
) -> str:
    """Return the table of an ablation, a row for each model, averaged over the categories."""
    of_all_channels = comparison != "layers" or n_channels is None
    beside = [row for row in published if row["comparison"] == comparison and of_all_channels]
    known = {(row["source"], row["variant"]): row for row in beside}
    sources = list(dict.fromkeys(row["source"] for row in beside))
    heads = ["model", *_HEADS]
    heads += [f"{source}, average of {_ALL_CATEGORIES}: {_PUBLISHED_HEAD}" for source in sources]
    average = with_average(results)[-1]
    lines = [
        [variant, *_cells(average["scores"][variant]), *(_figures(known.get((s, variant))) for s in sources)]
        for variant in average["comparisons"][comparison]
    ]
    kept = "All channels are kept." if n_channels is None else f"{n_channels} random channels of each layer."
    caption = _CAPTIONS[comparison].format(channels=kept)
    averaged = f" Average of {len(results)} categories." if len(results) > 1 else ""
    return f"\n### {comparison.capitalize()}\n\n{caption}{averaged}\n\n" + _table(heads, lines)


def _method(results: list[Result]) -> str:
    left_out = [text for result in results if (text := _left_out(result))]
    places: dict[str, list[str]] = {}
    for result in results:
        for note in result["notes"]:
            places.setdefault(note, []).append(_place(result))
    notes = "".join(f"- {note} ({'; '.join(where)})\n" for note, where in places.items())
    return _METHOD.format(left_out="; ".join(left_out) or "none") + notes


def _left_out(result: Result) -> str:
    """Say how many photos do not count for pixels, or nothing if all do."""
    counts = sorted(result["n_test"] - used for used in result["n_pixel_photos"])
    if counts[-1] == 0:
        return ""
    count = str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    empty = result["empty_masks"]
    came_so = f", of which came without a mark: {', '.join(empty)}" if empty else ""
    return f"{count} ({_place(result)}{came_so})"


def _place(result: Result) -> str:
    return f"{result['settings']['protocol']}, {result['settings']['category']}"


def _sources(published: list[dict[str, str]], differences: list[str], backbone: str) -> str:
    if not published:
        return f"\nNo published figures for this data set with {backbone} are at hand to stand beside.\n"
    if differences:
        return f"\nNo published figures stand beside, as settings differ: {'; '.join(differences)}.\n"
    used = {row["source"] for row in published}
    lines = [
        f"- {row['source']}: {row['reference']}; {row['address']}. {row['how it was read']}\n"
        for row in _read("published_sources.csv")
        if row["source"] in used
    ]
    return "\n## Sources of the published figures\n\nWhere none was found stands -.\n\n" + "".join(lines)


def _by_protocol(results: list[Result]) -> dict[str, list[Result]]:
    protocols = dict.fromkeys(result["settings"]["protocol"] for result in results)
    return {name: [r for r in results if r["settings"]["protocol"] == name] for name in protocols}


def _read(name: str) -> list[dict[str, str]]:
    with open(_HERE / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _command(options: argparse.Namespace) -> str:
    """Return the command with placeholders for what is a place on a machine."""
    given = {"root": "DIR", "output": "DIR"}
    if Path(options.weights).is_file():
        given["weights"] = "FILE"
    words = ["python", "benchmarks/paper_tables"]
    for name, value in vars(options).items():
        value = given.get(name, value)
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value not in (None, False):
            words += [flag, *map(str, value if isinstance(value, list) else [value])]
    return shlex.join(words)


def _cells(values: Values) -> list[str]:
    return [_cell(values[metric]) for metric in METRICS]


def _cell(values: list[float]) -> str:
    if np.isnan(values).any():
        return "-"
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


def _figures(row: dict[str, str] | None) -> str:
    """Return the published figures of a row, if there is one."""
    return " / ".join((row or {}).get(metric) or "-" for metric in _PUBLISHED)


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def _table(heads: list[str], lines: list[list[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)

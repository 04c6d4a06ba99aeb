"""The paper's tables: image and pixel ROC AUC, PRO and AUPIMO of every category, beside published figures.

    python benchmarks/paper_tables --dataset mvtec_ad --root DIR --weights FILE --ablations --output DIR

Writes <data set>.md and .csv. A category that is done is kept in parts/: the same command again goes on
after a stop. Features are computed once for each category; every model is a Gaussian of them. With
`--protocol non-aligned` photos and masks are turned by up to 10 degrees and cropped at random, to train and
to test, as in section IV of the paper. Needs the extra "progress".
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.progress import MofNCompleteColumn, Progress
from sklearn.utils import Bunch

import skpadim
from skpadim import CNNFeatureTransformer, FeaturePyramid
from skpadim.datasets import FrameMask

from .data import (
    TITLES,
    Mask,
    centre_placements,
    choose_categories,
    draw_placements,
    load_photos,
    read_masks,
    see,
    see_mask,
)
from .models import Maps, Models, measure, pixel_photos
from .report import write_reports

Say = Callable[[str], None]

PROTOCOLS = ("aligned", "non-aligned")
# What a result depends on, besides protocol, category, weights and photos.
SETTINGS = (
    "dataset",
    "backbone",
    "layers",
    "n_channels",
    "image_size",
    "crop_size",
    "epsilon",
    "ablations",
    "layer_channels",
    "repeats",
    "random_state",
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; what is wrong with a folder or a photo is said in one line."""
    options = parse(arguments)
    try:
        run(options)
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error


def parse(arguments: list[str] | None) -> argparse.Namespace:
    prog = "python benchmarks/paper_tables"
    parser = argparse.ArgumentParser(prog, description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--dataset", choices=list(TITLES), required=True)
    add("--root", type=Path, required=True, help="folder of the data set")
    add("--title", help="what the tables call the data set, with its source; default: its name")
    add("--categories", nargs="+", help="default: all that are there")
    add("--protocol", nargs="+", choices=PROTOCOLS, default=["aligned"])
    add("--backbone", default="resnet18", help="name in torchvision.models")
    add("--weights", default="DEFAULT", help="state-dict file, torchvision's by name, or none: untrained")
    add("--layers", nargs="+", default=["layer1", "layer2", "layer3"])
    add("--n-channels", type=int, default=100, help="the paper: 100 for resnet18, 550 for wide_resnet50_2")
    add("--image-size", type=int, default=256, help="pixels after resizing")
    add("--crop-size", type=int, default=224, help="pixels after cropping; no crop: the image size")
    add("--epsilon", type=_epsilon, default=0.01, help="auto: for features not scaled as ResNet's")
    add("--ablations", action="store_true", help="of the layers, and of the reduction of channels")
    add(
        "--layer-channels", type=int, help="channels of each layer in its ablation; default: all, the paper's"
    )
    add("--repeats", type=int, default=1, help="draws of channels and placements; the paper: 5, non-aligned")
    add("--random-state", type=int, default=0, help="seed of the first draw")
    add("--max-train", type=int, help="good photos of a category, evenly spaced; for long videos")
    add("--max-test", type=int, help="photos of a category to test on, evenly spaced")
    add("--output", type=Path, required=True, help="folder to write to")
    options = parser.parse_args(arguments)
    if not 0 < options.crop_size <= options.image_size:
        parser.error(f"--crop-size {options.crop_size} must be 1 to {options.image_size}, the image size")
    for name in ("repeats", "max_train", "max_test"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} {value} must be at least 1")
    return options


def run(options: argparse.Namespace) -> None:
    """Evaluate every category under every protocol, or read what is done; write the tables after each."""
    categories = choose_categories(options.dataset, options.root, options.categories)
    tasks = list(itertools.product(dict.fromkeys(options.protocol), categories))
    results = []
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn()) as progress:
        bar = progress.add_task("", total=len(tasks))

        def say(text: str) -> None:
            progress.update(bar, description=f"{protocol}, {name}: {text}")

        for protocol, category in tasks:
            name = options.root.resolve().name if category == "." else category
            photos = load_photos(options.dataset, options.root, category, options.max_train, options.max_test)
            settings = settings_of(options, protocol, name, photos)
            compute = partial(evaluate, photos, options, protocol, say)
            results.append(finish(settings, options.output / "parts", compute))
            write_reports(results, options)
            progress.advance(bar)


def finish(settings: dict[str, Any], folder: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the result of these settings from its file, or compute it and write the file in one step."""
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{settings['protocol']}-{settings['category']}-{key}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps({"settings": settings, **compute()}, indent=1), encoding="utf-8")
        unfinished.replace(path)
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is broken ({error}); delete it, and it is computed anew") from error
    return result


def settings_of(options: argparse.Namespace, protocol: str, category: str, photos: Bunch) -> dict[str, Any]:
    """Return all that a result depends on; of weights and photos, what tells them from others."""
    weights = options.weights
    if Path(weights).is_file():
        weights = hashlib.sha256(Path(weights).read_bytes()).hexdigest()
    masks = [mask.path if isinstance(mask, FrameMask) else mask for mask in photos.masks_test]
    stamps = [path and _stamp(path) for path in (*photos.X_train, *photos.X_test, *masks)]
    return {
        "protocol": protocol,
        "category": category,
        **{name: getattr(options, name) for name in SETTINGS},
        "weights": weights,
        "photos": hashlib.sha256(repr((stamps, photos.y_test.tolist())).encode()).hexdigest(),
        "code": _digest_of_code(),
        "versions": [version(name) for name in ("torch", "torchvision", "scikit-learn", "pillow")],
    }


def evaluate(photos: Bunch, options: argparse.Namespace, protocol: str, say: Say) -> dict[str, Any]:
    """Return the metrics of all models of a category, one value for each draw."""
    say("masks")
    masks = read_masks(photos, labelled=options.dataset in ("visa", "shanghaitech"))
    comparisons: dict[str, list[str]] = {}
    scores: dict[str, dict[str, list[float]]] = {}
    notes: list[str] = []
    n_pixel_photos = []
    for seed, train, test, seen in looks(photos, masks, options, protocol, say):
        n_pixel_photos.append(len(pixel_photos(photos.y_test, seen)))
        for comparison, name, maps in compared(Models(train, test, options.epsilon, seed), options):
            say(f"draw {seed}, {name}")
            names = comparisons.setdefault(comparison, [])
            names.extend([name] if name not in names else [])
            of_model = scores.setdefault(name, {})
            if len(next(iter(of_model.values()), [])) == len(n_pixel_photos):
                continue  # Another comparison has it.
            measured, said = measure(maps, photos.y_test, seen)
            for metric, value in measured.items():
                of_model.setdefault(metric, []).append(value)
            notes.extend(note for note in said if note not in notes)
    return {
        "n_train": len(photos.X_train),
        "n_test": len(photos.X_test),
        "n_pixel_photos": n_pixel_photos,
        "empty_masks": [
            Path(path).name
            for path, mask in zip(photos.X_test, masks, strict=True)
            if mask is not None and not mask.any()
        ],
        "notes": notes,
        "comparisons": comparisons,
        "scores": scores,
    }


def compared(models: Models, options: argparse.Namespace) -> Iterator[tuple[str, str, Maps]]:
    """Yield what a model is compared in, its name and its maps."""
    comparisons = {"categories": models.of_paper(options.n_channels)}
    if options.ablations:
        comparisons["layers"] = models.layer_ablation(options.layer_channels)
        comparisons["reduction"] = models.reduction_ablation()
    for comparison, made in comparisons.items():
        for name, maps in made:
            yield comparison, name, maps


def looks(
    photos: Bunch, masks: list[Mask], options: argparse.Namespace, protocol: str, say: Say
) -> Iterator[tuple[int, FeaturePyramid, FeaturePyramid, list[Mask]]]:
    """Yield for each draw its seed, the features to train and to test on, and the masks.

    Aligned photos look the same in every draw: their features are computed once.
    """
    size, crop = options.image_size, options.crop_size
    weights = None if options.weights == "none" else options.weights
    network = CNNFeatureTransformer(options.backbone, layers=options.layers, weights=weights, image_size=crop)
    features = None
    for seed in range(options.random_state, options.random_state + options.repeats):
        if features is None or protocol == "non-aligned":
            say(f"draw {seed}, features")
            if protocol == "aligned":
                place = partial(centre_placements, image_size=size, crop_size=crop)
                trained, tested = place(len(photos.X_train)), place(len(photos.X_test))
            else:
                trained = draw_placements(len(photos.X_train), size, crop, (seed, 0))
                tested = draw_placements(len(photos.X_test), size, crop, (seed, 1))
            train = network.fit_transform(see(photos.X_train, size, crop, trained))
            test = network.transform(see(photos.X_test, size, crop, tested))
            seen = [see_mask(mask, size, crop, at) for mask, at in zip(masks, tested, strict=True)]
            features = train, test, seen
        yield seed, *features


def _digest_of_code() -> str:
    """Return a digest of all code that a result depends on: a changed one computes anew."""
    package, here = Path(skpadim.__file__).parent, Path(__file__)
    own = [here.with_name(name) for name in ("data.py", "models.py")]
    sources = [*sorted(package.rglob("*.py")), here, *own]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _stamp(path: str) -> tuple[str, int, int]:
    stat = os.stat(path)
    return Path(path).name, stat.st_size, stat.st_mtime_ns


def _epsilon(text: str) -> float | str:
    return text if text == "auto" else float(text)

"""Which blocks of EfficientNet-Lite to look at: by what they find on photos of magnetic tiles.

    python benchmarks/backbones.py --data DIR --output docs/results/backbones.md

``--data`` is a folder with train/good, test/good, test/<defect> and ground_truth/<defect>. The drawn photos
of the demo are scored beside them, and discs of a few pixels drawn on good tiles. Features are computed once;
the channels are drawn anew for every seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pages import command, machine, table
from PIL import Image
from sklearn.metrics import roc_auc_score
from sklearn.utils import Bunch

from skpadim import CNNFeatureTransformer, FeaturePyramid, PatchGaussian, RandomChannelSelector
from skpadim.datasets import load_inspection_folder, make_inspection_images
from skpadim.metrics import pixel_roc_auc_score, pro_score

# Blocks of efficientnet_lite0. All but 1 end a stage; strides 4, 4, 8, 16, 16, 32 and 32.
BLOCKS = (1, 2, 4, 7, 10, 14, 15)
CHOICES = (
    (4,),
    (10,),
    (1, 2, 4),
    (2, 4),
    (2, 4, 7),
    (2, 4, 10),
    (2, 4, 7, 10),
    (2, 4, 10, 14),
    (2, 10),
    (4, 7),
    (4, 10),
    (4, 10, 14),
    (4, 10, 15),
    (10, 14),
)
# The blocks of the other networks that end the same stages; their strides are the same.
DEEPER = dict(zip(BLOCKS, (2, 3, 6, 10, 14, 19, 20), strict=True))
N_CHANNELS = 100
# Radius in pixels, and by how much darker than the tile.
BLEMISHES = ((1.5, 40), (2.5, 30), (4.0, 20))
# What was made of the figures on the page: to be read again when they change.
DECISION = """## What is taken

The default is blocks 4 and 10, and at the same places of the other two networks 6 and 14: the ends of the
stages at strides 8 and 16. Among the choices with block 10 and without 15, the tiles' image ROC AUC differs
by no more than one draw of channels from another, so the last digits decide nothing. What decides:

- Without block 10 cracks are missed, and without 7 or 10 uneven tiles as well.
- Block 2 adds patches of 4 pixels to those of 8. On the tiles it gains nothing, and pixel ROC AUC is a
  point lower, at four times the patches.
- Blocks 14 and 15, at stride 32, blur: PRO falls, most on the discs.
- Block 10 alone does as well on the tiles, but finds discs of 3 pixels less often, and marks discs worse:
  block 4 is for the small ones.

Blemishes of a few pixels pay for it. Of the photos with a disc, blocks 4 and 10 find as many as 2, 4 and 10
within the draws, but PRO is three points lower; discs of 3 pixels are found best by block 4 alone. Take
`layers=("blocks.2", "blocks.4", "blocks.10")` where masks of such blemishes have to be fine; a larger
`image_size` is the other way.
"""
MEASURES = {"image": "image ROC AUC", "pixel": "pixel ROC AUC", "pro": "PRO"}


class Photos(NamedTuple):
    """Features of photos, and what is known of the photos to score."""

    train: FeaturePyramid
    test: FeaturePyramid
    labels: np.ndarray
    kinds: np.ndarray
    masks: list[np.ndarray]


class Figures(NamedTuple):
    """Image ROC AUC of every kind of defect and of all, pixel ROC AUC and PRO, in per cent."""

    by_kind: dict[str, float]
    image: float
    pixel: float
    pro: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of magnetic tiles")
    parser.add_argument("--networks", nargs="+", default=[f"efficientnet_lite{n}" for n in range(3)])
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 256], help="of the first network")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    text = f"""# Layers of EfficientNet-Lite

Made by `{command("backbones.py")}` on {machine()}. Per cent, mean of {options.seeds} draws of {N_CHANNELS}
channels (lowest to highest); `epsilon="auto"`. Maps and masks have the size of the network's input. Patches:
positions that have a Gaussian of their own.

"""
    text += page_of_blemishes(options.networks[0], options.sizes[0], options.data, options.seeds)
    for network in options.networks:
        for size in options.sizes if network == options.networks[0] else options.sizes[:1]:
            text += page_of(network, size, options.data, options.seeds)
            if options.output:
                options.output.write_text(text + DECISION)


def page_of(network: str, size: int, folder: Path, n_seeds: int) -> str:
    """Return the tables of a network at an image size."""
    place = {block: block if network.endswith("0") else DEEPER[block] for block in BLOCKS}
    tiles = looked_at(load_inspection_folder(folder), network, list(place.values()), size)
    drawn = looked_at(make_inspection_images(), network, list(place.values()), size)
    rows, kind_rows = [], []
    for choice in CHOICES:
        layers = [f"blocks.{place[block]}" for block in choice]
        of_tiles = [measure(tiles, layers, seed) for seed in range(n_seeds)]
        of_drawn = [measure(drawn, layers, seed) for seed in range(n_seeds)]
        name = ", ".join(layer.removeprefix("blocks.") for layer in layers)
        figures = (
            spread([getattr(f, what) for f in found]) for found in (of_tiles, of_drawn) for what in MEASURES
        )
        patches = max(tiles.train.levels[tiles.train.layer_names.index(layer)][0, 0].size for layer in layers)
        rows.append([name, str(patches), *figures])
        kinds = sorted(of_tiles[0].by_kind)
        kind_rows.append([name, *(f"{np.mean([f.by_kind[kind] for f in of_tiles]):.1f}" for kind in kinds)])
        print(network, size, *rows[-1], sep=" | ", flush=True)
    head = ["blocks", "patches", *MEASURES.values(), *(f"drawn: {title}" for title in MEASURES.values())]
    lines = [f"## {network}, {size} px", "", *table(head, rows), ""]
    lines += [
        "Image ROC AUC of every kind of defect of the tiles:",
        "",
        *table(["blocks", *kinds], kind_rows),
        "",
        "",
    ]
    return "\n".join(lines)


def page_of_blemishes(network: str, size: int, folder: Path, n_seeds: int) -> str:
    """Return a table of what a network finds of defects of a few pixels."""
    place = {block: block if network.endswith("0") else DEEPER[block] for block in BLOCKS}
    photos = looked_at(with_blemishes(folder, size), network, list(place.values()), size)
    rows = []
    for choice in CHOICES:
        layers = [f"blocks.{place[block]}" for block in choice]
        found = [measure(photos, layers, seed) for seed in range(n_seeds)]
        kinds = list(found[0].by_kind)
        name = ", ".join(layer.removeprefix("blocks.") for layer in layers)
        by_kind = (spread([figures.by_kind[kind] for figures in found]) for kind in kinds)
        rows.append([name, *by_kind, spread([figures.pro for figures in found])])
        print(network, size, *rows[-1], sep=" | ", flush=True)
    lines = [
        f"## Faint discs drawn on good tiles, {network}, {size} px",
        "",
        "Image ROC AUC of discs of every diameter, one on each photo, and PRO of all.",
        "",
        *table(["blocks", *kinds, "PRO"], rows),
        "",
        "",
    ]
    return "\n".join(lines)


def with_blemishes(folder: Path, size: int) -> Bunch:
    """Return the good tiles, and each of those to score with a dark disc on it, of every kind."""
    tiles = load_inspection_folder(folder)
    good = [
        np.asarray(Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
        for path in tiles.X_test[tiles.y_test == 1]
    ]
    rng = np.random.default_rng(0)
    photos, masks, kinds = list(good), [np.zeros((size, size), dtype=bool)] * len(good), ["good"] * len(good)
    for radius, darker in BLEMISHES:
        for photo in good:
            centre = rng.uniform(16, size - 16, size=(2, 1, 1))
            cover = np.clip(radius + 0.5 - np.hypot(*(np.mgrid[:size, :size] - centre)), 0, 1)
            photos.append(np.clip(photo - darker * cover[:, :, None], 0, 255).astype(np.uint8))
            masks.append(cover > 0.5)
            kinds.append(f"{2 * radius:.0f} px")
    labels = np.where(np.array(kinds) == "good", 1, -1)
    return Bunch(
        X_train=tiles.X_train,
        X_test=np.stack(photos),
        y_test=labels,
        masks_test=masks,
        defects_test=np.array(kinds),
    )


def looked_at(photos, network: str, blocks: Sequence[int], size: int) -> Photos:
    layers = [f"blocks.{block}" for block in blocks]
    features = CNNFeatureTransformer(network, layers=layers, image_size=size)
    train, test = features.fit_transform(photos.X_train), features.transform(photos.X_test)
    masks = [mask_of(mask, size) for mask in photos.masks_test]
    return Photos(train, test, photos.y_test, photos.defects_test, masks)


def measure(photos: Photos, layers: Sequence[str], seed: int) -> Figures:
    train, test = (of_layers(pyramid, layers) for pyramid in (photos.train, photos.test))
    channels = RandomChannelSelector(min(N_CHANNELS, train.shape[1]), random_state=seed)
    # The threshold is not looked at: one calibration image will do, and its warning is for users.
    gaussian = PatchGaussian("auto", n_calibration=1, false_alarm_rate=0.5).fit(channels.fit_transform(train))
    maps = gaussian.anomaly_map(channels.transform(test))
    scores, bad = maps.max(axis=(1, 2)), photos.labels == -1
    by_kind = {}
    for kind in sorted(set(photos.kinds[bad])):
        chosen = ~bad | (photos.kinds == kind)
        by_kind[kind] = 100 * roc_auc_score(bad[chosen], scores[chosen])
    # A defective photo with an empty mask counts for the images only.
    marked = [index for index, mask in enumerate(photos.masks) if not bad[index] or mask.any()]
    masks, of_marked = [photos.masks[index] for index in marked], maps[marked]
    pixel, pro = pixel_roc_auc_score(masks, of_marked), pro_score(masks, of_marked)
    return Figures(by_kind, 100 * roc_auc_score(bad, scores), 100 * pixel, 100 * pro)


def of_layers(pyramid: FeaturePyramid, layers: Sequence[str]) -> FeaturePyramid:
    levels = [pyramid.levels[pyramid.layer_names.index(layer)] for layer in layers]
    return FeaturePyramid(levels, layers, pyramid.image_size)


def mask_of(mask, size: int) -> np.ndarray:
    """Return a mask, given as an array, a path or None, at the size of the maps."""
    if mask is None:
        return np.zeros((size, size), dtype=bool)
    image = Image.fromarray(mask) if isinstance(mask, np.ndarray) else Image.open(mask)
    return np.asarray(image.convert("L").resize((size, size), Image.Resampling.NEAREST)) > 127


def spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()

"""What a search over layers and channels costs where features are kept: in passes of the network.

    python benchmarks/grid_search.py --output docs/results/grid_search.md

Three sets of layers, four numbers of channels, three folds and no refit, on drawn photos in PNG files, with
an untrained ResNet-18 at 224 px. The Gaussians alone are cross-validated on channels chosen beforehand.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pages import command, machine
from PIL import Image
from sklearn.model_selection import GridSearchCV, cross_val_score

from skpadim import CNNFeatureTransformer, FeaturePyramid, PaDiMDetector, PatchGaussian, RandomChannelSelector
from skpadim.datasets import make_inspection_images
from skpadim.model_selection import OneClassKFold

LAYERS = {
    "largest first": [("layer1", "layer2", "layer3"), ("layer1", "layer2"), ("layer1",)],
    "growing": [("layer1",), ("layer1", "layer2"), ("layer1", "layer2", "layer3")],
    "one by one": [("layer1",), ("layer2",), ("layer3",)],
}
N_CHANNELS = [10, 25, 40, 60]
FOLDS = OneClassKFold(3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=200, help="good photos; a fifth as many defective")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        X, y = draw(Path(folder), options.images, options.image_size)
        rows = [measure(X, y, name, options.image_size, Path(folder) / name) for name in LAYERS]
    text = f"""# A search with memory

Made by `{command("grid_search.py")}` on {machine()}, threads: {options.threads}. Three sets of layers,
{len(N_CHANNELS)} numbers of channels and 3 folds over {len(X)} photos in PNG files, {options.image_size} px,
untrained ResNet-18. The Gaussians alone are fitted and score, in all
candidates and folds, on channels chosen beforehand. The cost in passes is what the search took beyond them,
in units of one pass of the network over all photos, decoding included: the network, and keeping and finding
features. Again: the same search with all features kept. Where the largest set comes first, the others are
found in it; else every set that asks for a new layer needs a pass of its own.

| sets of layers | one pass | the Gaussians alone | the search | again | cost in passes | again |
|---|---|---|---|---|---|---|
"""
    text += "\n".join(rows) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text)


def draw(folder: Path, n_good: int, image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the paths of good and of defective photos, and their labels."""
    photos = make_inspection_images(n_good, 0, n_good // 5, image_size=image_size)
    paths = []
    for index, photo in enumerate([*photos.X_train, *photos.X_test]):
        paths.append(str(folder / f"{index:04}.png"))
        Image.fromarray(photo).save(paths[-1])
    return np.array(paths), np.concatenate([np.ones(n_good, dtype=int), photos.y_test])


def measure(X: np.ndarray, y: np.ndarray, name: str, image_size: int, memory: Path) -> str:
    """Return a row of the table."""
    deepest = CNNFeatureTransformer("resnet18", weights=None, image_size=image_size).fit(X)
    pyramid = deepest.transform(X[:32])  # warms up
    one_pass, pyramid = timed(lambda: deepest.transform(X))
    gaussians, by_hand = validate_gaussians(pyramid, y, name)
    grid = {"layers": LAYERS[name], "n_channels": N_CHANNELS}
    detector = PaDiMDetector("resnet18", weights=None, image_size=image_size, memory=memory)
    search = GridSearchCV(detector, grid, cv=FOLDS, scoring="roc_auc", refit=False)
    searched, again = (timed(lambda: search.fit(X, y))[0] for _ in range(2))
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], by_hand, atol=0.01)
    costs = [(seconds - gaussians) / one_pass for seconds in (searched, again)]
    times = " | ".join(f"{seconds:.1f} s" for seconds in (one_pass, gaussians, searched, again))
    return f"| {name} | {times} | **{costs[0]:.2f}** | {costs[1]:.2f} |"


def validate_gaussians(pyramid: FeaturePyramid, y: np.ndarray, name: str) -> tuple[float, list[float]]:
    """Return the seconds that the Gaussians of all candidates and folds take, and the mean scores."""
    total, scores = 0.0, []
    for layers in LAYERS[name]:
        for n_channels in N_CHANNELS:
            chosen = RandomChannelSelector(n_channels, layers=layers).fit_transform(pyramid)
            seconds, of_folds = timed(
                lambda chosen=chosen: cross_val_score(PatchGaussian(), chosen, y, cv=FOLDS, scoring="roc_auc")
            )
            total += seconds
            scores.append(float(np.mean(of_folds)))
    return total, scores


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    main()

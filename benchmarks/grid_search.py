"""What a search over layers and channels costs where features are kept: in passes of the network.

    python benchmarks/grid_search.py --output docs/results/grid_search.md

Three sets of layers, four numbers of channels, three folds and no refit, on drawn photos in PNG files, with
an untrained ResNet-18 at 224 px. The Gaussians alone are the same search over features in memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skpadim import CNNFeatureTransformer, PaDiMDetector, PatchGaussian, RandomChannelSelector
from skpadim.datasets import make_inspection_images
from skpadim.model_selection import OneClassKFold

LAYERS = {
    "growing": [("layer1",), ("layer1", "layer2"), ("layer1", "layer2", "layer3")],
    "one by one": [("layer1",), ("layer2",), ("layer3",)],
}
N_CHANNELS = [10, 25, 40, 60]


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

Made by `python benchmarks/grid_search.py --output docs/results/grid_search.md` on two cores of an x86-64
server: three sets of layers, {len(N_CHANNELS)} numbers of channels and 3 folds over {len(X)} photos
in PNG files, {options.image_size} px, untrained ResNet-18. The cost in passes is what the search took beyond
the Gaussians alone, in units of one pass of the network over all photos, decoding included. The Gaussians
alone are the same search over features in memory, which are copied for every candidate and fold: where that
takes longer than reading the chosen channels, the cost may come out below one pass, or below nothing.

| sets of layers | one pass | the Gaussians alone | the search | cost in passes |
|---|---|---|---|---|
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
    deepest = CNNFeatureTransformer(weights=None, image_size=image_size).fit(X)
    pyramid = deepest.transform(X[:32])  # warms up
    one_pass, pyramid = timed(lambda: deepest.transform(X))
    rest = Pipeline([("channels", RandomChannelSelector()), ("gaussian", PatchGaussian())])
    gaussians, by_hand = timed(
        lambda: search(rest, "channels__", name).fit(pyramid, y),
    )
    detector = PaDiMDetector(weights=None, image_size=image_size, memory=memory)
    searched, with_memory = timed(lambda: search(detector, "", name).fit(X, y))
    agree(by_hand, with_memory)
    cost = (searched - gaussians) / one_pass
    return f"| {name} | {one_pass:.1f} s | {gaussians:.1f} s | {searched:.1f} s | **{cost:.2f}** |"


def search(estimator: object, prefix: str, name: str) -> GridSearchCV:
    grid = {f"{prefix}layers": LAYERS[name], f"{prefix}n_channels": N_CHANNELS}
    return GridSearchCV(estimator, grid, cv=OneClassKFold(3), scoring="roc_auc", refit=False)


def agree(one: GridSearchCV, other: GridSearchCV) -> None:
    """Both searches must find the same."""
    np.testing.assert_allclose(
        one.cv_results_["mean_test_score"], other.cv_results_["mean_test_score"], atol=0.01
    )


def timed(function: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    main()

"""What anomalib learns and computes, for comparison with what `skpadim.interop` makes of it.

In an environment with anomalib, fit its PaDiM on photos, and keep its state, distances and maps:

    python benchmarks/anomalib_values.py fit photos.npy values.npz --n-channels 16

In one with skpadim, draw the photos beforehand, and compare afterwards:

    python benchmarks/anomalib_values.py draw photos.npy --size 64
    python benchmarks/anomalib_values.py compare values.npz

`tests/interop/anomalib.npz` was made so: 40 photos of 64 pixels, 16 channels, anomalib 2.7.0. The network's
weights stand in no file: both sides draw them by `drawn_weights`, from a generator that NumPy has frozen.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

BACKBONE, LAYERS = "resnet18", ["layer1", "layer2", "layer3"]
NETWORK = "feature_extractor.feature_extractor."
#: Photos to learn from; those behind them are to be looked at.
N_LEARNED = 40
BORDER = 16  # taps of anomalib's blur on either side


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    options.run(options)


def parse() -> argparse.Namespace:
    prog = "python benchmarks/anomalib_values.py"
    parser = argparse.ArgumentParser(prog, description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    commands = parser.add_subparsers(required=True)
    for command in (draw, fit, compare):
        own = commands.add_parser(command.__name__)
        own.set_defaults(run=command)
        if command is not compare:
            own.add_argument("photos", type=Path)
        if command is not draw:
            own.add_argument("values", type=Path)
        if command is fit:
            own.add_argument("--n-channels", type=int, default=100)
        if command is draw:
            own.add_argument("--size", type=int, default=224)
    return parser.parse_args()


def draw(options: argparse.Namespace) -> None:
    """Write photos of good parts, and a good and a defective one to look at."""
    from skpadim.datasets import make_inspection_images

    photos = make_inspection_images(N_LEARNED, 1, 1, image_size=options.size)
    np.save(options.photos, np.concatenate([photos.X_train, photos.X_test]))


def fit(options: argparse.Namespace) -> None:
    """Fit anomalib's PaDiM, and write its state but for the network, and what it computes."""
    from anomalib.models.image.padim import Padim

    photos = np.load(options.photos)
    size = photos.shape[1:3]
    torch.manual_seed(0)
    parts = {"pre_processor": Padim.configure_pre_processor(image_size=size), "visualizer": False}
    padim = Padim(BACKBONE, LAYERS, pre_trained=False, n_features=options.n_channels, **parts)
    network = padim.model.feature_extractor.feature_extractor
    network.load_state_dict(drawn_weights(network.state_dict()))
    pixels = padim.pre_processor.transform(torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255)
    padim.model.train()
    padim.model(pixels[:N_LEARNED])
    padim.fit()
    values = {
        name: value.numpy()
        for name, value in padim.model.state_dict().items()
        if not name.startswith(NETWORK)
    }
    np.savez_compressed(
        options.values,
        **values,
        photos=photos[N_LEARNED:],
        **outputs(padim.model.eval(), pixels[N_LEARNED:]),
        versions=np.array([f"{name} {version(name)}" for name in ("anomalib", "timm", "torch")]),
    )


@torch.inference_mode()
def outputs(model: Any, pixels: Tensor) -> dict[str, np.ndarray]:
    """Return anomalib's distances, upsampled distances, maps and scores."""
    maps, gaussian = model.anomaly_map_generator, model.gaussian
    embedding = model.generate_embedding(model.feature_extractor(pixels))
    distances = maps.compute_distance(embedding, [gaussian.mean, gaussian.inv_covariance])
    found = model(pixels)
    return {
        "distances": distances[:, 0].numpy(),
        "maps": found.anomaly_map[:, 0].numpy(),
        "scores": found.pred_score[:, 0].numpy(),
    }


def drawn_weights(like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of a network, the same on any machine: for each entry by its name."""
    drawn = {}
    for name, value in like.items():
        random = np.random.RandomState(zlib.crc32(name.encode())).uniform(-1, 1, value.shape)
        if value.ndim == 4:
            random *= np.sqrt(6 / value[0].numel())  # He's, of outputs that vary as much as inputs
        elif value.ndim == 1:
            random = 0.2 * random + name.endswith(("weight", "running_var"))
        drawn[name] = torch.from_numpy(np.asarray(random)).to(value.dtype)
    return drawn


def checkpoint(values: Mapping[str, np.ndarray], network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict as anomalib has it, of stored values and a network's entries."""
    state = {name: torch.from_numpy(values[name]) for name in values if name == "idx" or "gaussian" in name}
    return state | {NETWORK + name: value for name, value in network.items()}


def compare(options: argparse.Namespace) -> None:
    """Print how far a detector made of the state is from what anomalib computed."""
    from torchvision.models import get_model

    from skpadim.interop import from_anomalib

    values = dict(np.load(options.values))
    state = checkpoint(values, drawn_weights(get_model(BACKBONE, weights=None).state_dict()))
    photos = values["photos"]
    detector = from_anomalib(state, image_size=photos.shape[1:3], device="cpu")
    features, channels, gaussian = detector.pipeline_.named_steps.values()
    distances = gaussian.mahalanobis(channels.transform(features.transform(photos)))
    print("with", ", ".join(values["versions"]), "; largest relative differences:")
    print(f"distances of patches: {worst(distances, values['distances']):.2g}")
    maps, theirs = detector.anomaly_map(photos), values["maps"]
    inner = (slice(None), slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    print(f"maps, {BORDER} pixels from the border and more: {worst(maps[inner], theirs[inner]):.2g}")
    print(f"maps, whole: {worst(maps, theirs):.2g}")
    print(f"scores: {worst(-detector.score_samples(photos), values['scores']):.2g}")


def worst(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours / theirs - 1).max())


if __name__ == "__main__":
    main()

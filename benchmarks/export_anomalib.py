"""anomalib's own ONNX export of PaDiM, to be compared with ours: run it in an environment with anomalib.

    python benchmarks/export_anomalib.py photos.npy folder --backbone resnet18
    python benchmarks/export_anomalib.py photos.npy folder --backbone efficientnet_lite0

`photos.npy` holds good photos (n, size, size, 3), uint8. The network has random weights, or those of
`--weights`, a state dict by timm's names. It is fitted and exported by anomalib's own methods, for photos
of any size as is its default or, with `--fixed`, for the size of the network. The last line printed is
JSON: the file, its bytes, with those of data beside it, and what goes in and comes out. Needs anomalib,
onnx and onnxscript.
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch
from anomalib.models.image.padim import Padim

#: The networks, by our names: timm's name, and the layers that skpadim takes by default.
NETWORKS = {
    "resnet18": ("resnet18", ["layer1", "layer2", "layer3"]),
    # The one with TensorFlow's padding, as its trained weights have it; stages that end the strides 8 and 16.
    "efficientnet_lite0": ("tf_efficientnet_lite0", ["blocks.2", "blocks.4"]),
}
BATCH = 16


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    photos = np.load(options.photos)
    model = fitted(photos, options)
    size = photos.shape[1:3] if options.fixed else None
    path = model.to_onnx(options.folder, model_file_name=options.backbone, input_size=size)
    print(json.dumps(described(path)))


def parse() -> argparse.Namespace:
    prog = "python benchmarks/export_anomalib.py"
    parser = argparse.ArgumentParser(prog, description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("folder", type=Path, help="for anomalib's weights/onnx/BACKBONE.onnx")
    parser.add_argument("--backbone", choices=list(NETWORKS), default="resnet18")
    parser.add_argument("--n-channels", type=int, default=100)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--fixed", action="store_true", help="export for one photo of the network's size")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def fitted(photos: np.ndarray, options: argparse.Namespace) -> Padim:
    """Return anomalib's PaDiM, fitted on photos (n, height, width, 3) of the network's size."""
    backbone, layers = NETWORKS[options.backbone]
    torch.manual_seed(0)
    model = Padim(
        backbone,
        layers,
        pre_trained=False,
        n_features=options.n_channels,
        pre_processor=Padim.configure_pre_processor(image_size=photos.shape[1:3]),
        evaluator=False,
        visualizer=False,
    )
    if options.weights:
        network = model.model.feature_extractor.feature_extractor
        state = torch.load(options.weights, weights_only=True)
        # What lies behind the deepest layer is not there.
        network.load_state_dict({name: state[name] for name in network.state_dict()})
    model.model.train()
    for batch in torch.from_numpy(photos).permute(0, 3, 1, 2).split(BATCH):
        model.model(model.pre_processor.transform(batch.float() / 255))
    model.fit()
    return model.eval()


def described(path: Path) -> dict[str, object]:
    """Return what there is to tell of an exported file."""
    graph = onnx.load(path, load_external_data=False).graph
    return {
        "path": str(path),
        "bytes": sum(
            part.stat().st_size for part in (path, path.with_name(f"{path.name}.data")) if part.exists()
        ),
        "inputs": {value.name: dimensions(value) for value in graph.input},
        "outputs": {value.name: dimensions(value) for value in graph.output},
        "versions": {name: version(name) for name in ("anomalib", "timm", "torch", "onnx")},
    }


def dimensions(value: onnx.ValueInfoProto) -> list[int | str]:
    return [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]


if __name__ == "__main__":
    main()

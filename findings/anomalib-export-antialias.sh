#!/usr/bin/env bash
# Versions: anomalib 2.7.0, torch 2.15.0, torchvision 0.29.2.
# Behaviour: the pre-processor that a model is fitted and validated with resizes with antialiasing; the one that
# its forward() and every exported file go through resizes without, and nothing says so.
# Most would expect: the same scores from the exported file as from Engine.predict, as the threshold that was
# chosen on validation photos is exported with it.
# Seen: PaDiM on ResNet-18 with random weights, 64 px, fitted on photos of 512 px with fine noise: scores of
# good photos behind forward() are about six times those behind the transform of the fit (2.2 and 0.35).
# Source: this script; disable_antialiasing in anomalib/pre_processing/utils/transform.py.
set -euo pipefail

packages=(anomalib==2.7.0 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6)
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
if command -v uv > /dev/null; then
    uv venv -q --python python3 "$work/venv" || exit 2
    uv pip install -q --python "$work/venv/bin/python" "${packages[@]}" || exit 2
else
    python3 -m venv "$work/venv" || exit 2
    "$work/venv/bin/python" -m pip install -q "${packages[@]}" || exit 2
fi

cd "$work"
"$work/venv/bin/python" -W ignore - << 'EOF'
import sys

import torch
from anomalib.models.image.padim import Padim

torch.manual_seed(0)
shape = torch.linspace(0, 12, 512).sin()
photos = (0.5 + 0.2 * shape * shape[:, None] + 0.1 * torch.randn(44, 3, 512, 512)).clamp(0, 1)
model = Padim(
    "resnet18",
    pre_trained=False,
    n_features=20,
    pre_processor=Padim.configure_pre_processor(image_size=(64, 64)),
    evaluator=False,
    visualizer=False,
)
learned, new = photos[:40], photos[40:]
model.model.train()
model.model(model.pre_processor.transform(learned))
model.fit()
model.eval()
print("of the fit:", model.pre_processor.transform.transforms[0])
print("of forward():", model.pre_processor.export_transform.transforms[0])
with torch.inference_mode():
    fitted = model.model(model.pre_processor.transform(new)).pred_score.flatten()
    forward = model.model(model.pre_processor(new)).pred_score.flatten()
print("scores of good photos:", *(f"{score:.2f}" for score in fitted))
print("the same by forward():", *(f"{score:.2f}" for score in forward))
if not (forward / fitted > 1.5).all():
    sys.exit("This has changed.")
EOF

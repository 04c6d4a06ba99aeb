#!/usr/bin/env bash
# Versions: timm 1.0.31, torch 2.15.0, torchvision 0.29.2.
# Behaviour: with create_model(pretrained=True) and a file of weights, whether the file must fit depends on
# num_classes and features_only. torchvision's MobileNetV3, none of whose names timm's MobileNetV3 has,
# raises RuntimeError as it should; with num_classes=7, num_classes=0 or features_only=True the model comes
# back as it was initialised, at random, with a logged warning about missing and unexpected keys alone,
# although pretrained_strict is True by default.
# Most would expect: the same error, as more than the last layer is missing.
# Seen: RuntimeError for 1000 classes; for the other three no error, and no tensor of the file in the model.
# Source: this script; load_pretrained in timm/models/_builder.py.
set -euo pipefail

packages=(timm==1.0.31 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6)
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
"$work/venv/bin/python" - << 'EOF'
import logging
import sys

import timm
import torch
import torchvision


class Warned(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record):
        self.count += "keys" in record.getMessage()


torch.manual_seed(0)
weights = torchvision.models.mobilenet_v3_large().state_dict()
torch.save(weights, "weights.pth")
kernels = [value for value in weights.values() if value.ndim == 4]
seen = {}
for options in ({}, {"num_classes": 7}, {"num_classes": 0}, {"features_only": True}):
    logger, warned = logging.getLogger("timm"), Warned()
    logger.handlers, logger.propagate = [warned], False
    options_of_file = {"pretrained": True, "pretrained_cfg_overlay": {"file": "weights.pth"}}
    try:
        model = timm.create_model("mobilenetv3_large_100", **options_of_file, **options)
        values = model.state_dict().values()
        loaded = sum(torch.equal(value, kernel) for value in values for kernel in kernels)
        result = f"no error, {loaded} kernels of the file, {'warned' if warned.count else 'not warned'}"
    except RuntimeError as error:
        result = type(error).__name__
    seen[str(options)] = result
    print(options or "as it is", result)
if list(seen.values()) != ["RuntimeError"] + ["no error, 0 kernels of the file, warned"] * 3:
    sys.exit("This has changed.")
EOF

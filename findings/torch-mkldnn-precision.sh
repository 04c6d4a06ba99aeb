#!/usr/bin/env bash
# Versions: torch 2.15.0 (with torchvision 0.29.2); no GPU needed.
# Behaviour: torch.backends.mkldnn.fp32_precision reads the setting of oneDNN, the CPU's, and writes the
# setting of all backends: where a caller asks the CPU for "tf32", the GPU's matrix products are set to it
# as well.
# Most would expect: the GPU's settings not to change.
# Seen: torch.backends.cuda.matmul.fp32_precision none -> tf32, torch.backends.fp32_precision none -> tf32.
# Set through torch.backends.mkldnn.conv, of one operation, the others stay as they were.
# Source: this script; torch/backends/mkldnn/__init__.py, where the setter names "generic" and the getter
# "mkldnn".
set -euo pipefail

packages=(torch==2.15.0 torchvision==0.29.2 numpy==2.4.6)
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
import sys

import torch

backends = torch.backends


def settings():
    return {
        "all": backends.fp32_precision,
        "GPU, matrix products": backends.cuda.matmul.fp32_precision,
        "CPU": backends.mkldnn.fp32_precision,
        "CPU, convolutions": backends.mkldnn.conv.fp32_precision,
    }


before = settings()
backends.mkldnn.conv.fp32_precision = "tf32"
one = settings()
backends.mkldnn.conv.fp32_precision = "none"
backends.mkldnn.fp32_precision = "tf32"
after = settings()
for name in before:
    print(f"{name}: {before[name]}; mkldnn.conv set: {one[name]}; mkldnn set: {after[name]}")
others = ("all", "GPU, matrix products")
if any((before[name], one[name], after[name]) != ("none", "none", "tf32") for name in others):
    sys.exit("This has changed.")
EOF

#!/usr/bin/env bash
# Versions: torch 2.15.0 (with torchvision 0.29.2); no GPU needed.
# Behaviour: once torch.backends.cudnn.conv.fp32_precision is "ieee", merely reading the older switch of the
# same thing, torch.backends.cudnn.allow_tf32, raises RuntimeError, also where rnn.fp32_precision is "ieee"
# too and both agree. So a library that saves and restores the older switch fails because another one used
# the newer.
# Most would expect: False.
# Seen: True before; RuntimeError after conv was set, and after both were set.
# Source: this script.
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

cudnn = torch.backends.cudnn


def allow_tf32():
    try:
        return cudnn.allow_tf32
    except RuntimeError as error:
        return type(error).__name__


before = allow_tf32()
cudnn.conv.fp32_precision = "ieee"
conv = allow_tf32()
cudnn.rnn.fp32_precision = "ieee"
both = allow_tf32()
print(f"allow_tf32 before: {before}; conv is ieee: {conv}; conv and rnn are ieee: {both}")
if (before, conv, both) != (True, "RuntimeError", "RuntimeError"):
    sys.exit("This has changed.")
EOF

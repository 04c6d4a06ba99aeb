#!/usr/bin/env bash
# Versions: timm 1.0.31, torch 2.15.0, torchvision 0.29.2.
# Behaviour: a vision transformer with patches of 14 pixels for photos of 96 x 96 is built and runs without
# a word; the last 12 rows and columns of the photo do not influence anything. A defect there cannot be
# found.
# Most would expect: a refusal, as 96 is no multiple of 14 (or padding, which timm has as dynamic_img_pad).
# Seen: rows with a gradient 84 of 96, columns 84 of 96; the features are equal where the border is painted
# over.
# Source: this script; PatchEmbed in timm/layers/patch_embed.py.
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
import sys

import timm
import torch

torch.manual_seed(0)
model = timm.create_model("vit_tiny_patch16_224", pretrained=False, patch_size=14, img_size=(96, 96)).eval()
photo = torch.rand(1, 3, 96, 96, requires_grad=True)
features = model.forward_features(photo)
features.square().sum().backward()
influence = photo.grad.abs().sum(dim=(0, 1))
rows, columns = int((influence.sum(1) > 0).sum()), int((influence.sum(0) > 0).sum())
painted = photo.detach().clone()
painted[..., 84:, :] = painted[..., :, 84:] = 9.0
same = torch.equal(model.forward_features(painted), features)
print(f"of 96 rows {rows} count, of 96 columns {columns}; the same with the border painted over: {same}")
if (rows, columns, same) != (84, 84, True):
    sys.exit("This has changed.")
EOF

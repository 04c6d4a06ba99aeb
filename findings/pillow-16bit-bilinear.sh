#!/usr/bin/env bash
# Versions: Pillow 13.0.0, NumPy 2.4.6.
# Behaviour: Image.transform and Image.rotate with bilinear interpolation on "I;16" interpolate single
# bytes: the result has nothing to do with the photo, and nothing is raised. Image.resize of the same image
# is right.
# Most would expect: what "F" gives, rounded, as resize does; or a refusal.
# Seen: a ramp in steps of 1000, moved by half a pixel: "F" 500 1500 2500 3500 ..., "I;16" 0 116 117 105
# ..., up to 62428 of 65535 off; resize at most 1 off.
# Source: this script.
set -euo pipefail

packages=(pillow==13.0.0 numpy==2.4.6)
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

import numpy as np
from PIL import Image

ramp = np.tile(np.arange(0, 64000, 1000, dtype=np.uint16), (8, 1))
words, floats = Image.fromarray(ramp), Image.fromarray(ramp.astype(np.float32))


def moved(image):
    half = (1, 0, 0.5, 0, 1, 0)
    result = image.transform(image.size, Image.Transform.AFFINE, half, Image.Resampling.BILINEAR)
    return np.asarray(result).astype(float)


def resized(image):
    return np.asarray(image.resize((40, 5), Image.Resampling.BILINEAR)).astype(float)


# The first and the last column mix with what lies outside.
off = np.abs(moved(words) - moved(floats))[:, 1:-1].max()
off_resized = np.abs(resized(words) - resized(floats)).max()
print("F   ", moved(floats)[3, 1:9])
print("I;16", moved(words)[3, 1:9])
print(f"most off: transform {off:.0f}, resize {off_resized:.2f}")
if off < 10000 or off_resized > 1:
    sys.exit("This has changed.")
EOF

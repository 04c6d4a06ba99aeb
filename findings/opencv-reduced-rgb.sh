#!/usr/bin/env bash
# Versions: opencv-python-headless 5.0.0.93.
# Behaviour: imread gives RGB by IMREAD_COLOR_RGB, and half of the sides by IMREAD_REDUCED_COLOR_2, but refuses both
# flags together.
# Most would expect: half of the sides in RGB; the one flag says how many pixels, the other in which order.
# Seen: red first, (64, 64, 3); blue first, (32, 32, 3); an error for both.
# Source: this script. The flags of reduced colours hold that of BGR.
set -euo pipefail

packages=(opencv-python-headless==5.0.0.93)
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
cat > try.py << 'EOF'
import sys

import cv2
import numpy as np

photo = np.zeros((64, 64, 3), np.uint8)
photo[..., 2] = 200  # red, the last of BGR
cv2.imwrite("red.jpg", photo)
for name in ("IMREAD_COLOR_RGB", "IMREAD_REDUCED_COLOR_2"):
    found = cv2.imread("red.jpg", getattr(cv2, name))
    print(f"{name}: {found.shape}, mean of each channel {found.mean(axis=(0, 1)).round().tolist()}")
try:
    seen = cv2.imread("red.jpg", cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_COLOR_2).shape
except cv2.error as error:
    seen = f"an error: {error.err.splitlines()[0]}"
print("both:", seen)
if not isinstance(seen, str):
    sys.exit("This has changed.")
EOF
"$work/venv/bin/python" try.py

#!/usr/bin/env bash
# Versions: Pillow 13.0.0, opencv-python-headless 5.0.0.93, tifffile 2026.3.3, NumPy 2.4.6.
# Behaviour: where a TIFF says that zero is white (PhotometricInterpretation 0), Pillow and OpenCV invert 8
# bits and leave 16 bits as they are stored. tifffile inverts neither. The same scan in both depths comes
# out as a positive and a negative.
# Most would expect: one reader to treat both depths alike.
# Seen: 0 10 200 become 255 245 55 at 8 bits, and stay 0 10 200 at 16, in Pillow and in OpenCV.
# Source: this script; PhotometricInterpretation is tag 262 of the TIFF 6.0 specification.
set -euo pipefail

packages=(opencv-python-headless==5.0.0.93 pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6)
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

import cv2
import numpy as np
import tifffile
from PIL import Image

seen = {}
for dtype in (np.uint8, np.uint16):
    name = np.dtype(dtype).name
    tifffile.imwrite("scan.tif", np.array([[0, 10, 200]], dtype), photometric="miniswhite")
    with Image.open("scan.tif") as image:
        pillow = np.asarray(image)[0].tolist()
    opencv = cv2.imread("scan.tif", cv2.IMREAD_UNCHANGED)[0].tolist()
    stored = tifffile.imread("scan.tif")[0].tolist()
    seen[name] = pillow, opencv, stored
    print(name, "Pillow", pillow, "OpenCV", opencv, "tifffile", stored)
negative, positive = [255, 245, 55], [0, 10, 200]
if seen != {"uint8": (negative, negative, positive), "uint16": (positive, positive, positive)}:
    sys.exit("This has changed.")
EOF

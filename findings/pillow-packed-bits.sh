#!/usr/bin/env bash
# Versions: Pillow 13.0.0, opencv-python-headless 5.0.0.93, imagecodecs 2026.3.6, tifffile 2026.3.3, NumPy
# 2.4.6.
# Behaviour: what a camera writes with 12 bits has two scales. Of TIFFs with 10, 12 and 14 bits packed,
# Pillow reads 12 alone, as the values are, 0 to 4095; OpenCV reads all three, moved to the upper end of 16
# bits; tifffile reads all three as they are. In JPEG 2000 it is the other way round: Pillow moves 12 bits
# up, OpenCV leaves them.
# Most would expect: a reader that knows 12 bits to know 10 and 14, and one scale in each reader.
# Seen: 12 bits in TIFF times 1 (Pillow) and 16 (OpenCV), in JPEG 2000 times 16 (Pillow) and 1 (OpenCV).
# Source: this script.
set -euo pipefail

packages=(opencv-python-headless==5.0.0.93 imagecodecs==2026.3.6
    pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6
)
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
import imagecodecs
import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError


def scale(pixels, stored):
    """The whole number that the stored values were multiplied by."""
    factor = int(pixels.max()) // int(stored.max())
    assert np.array_equal(pixels, stored * factor), "not a multiple of what is stored"
    return factor


def pillow(path, stored):
    try:
        with Image.open(path) as image:
            return scale(np.asarray(image), stored)
    except UnidentifiedImageError as error:
        return type(error).__name__


seen = {}
for bits in (10, 12, 14):
    stored = np.random.default_rng(0).integers(0, 2**bits, (6, 16), dtype=np.uint16)
    tifffile.imwrite("photo.tif", stored, photometric="minisblack", bitspersample=bits)
    opencv = scale(cv2.imread("photo.tif", cv2.IMREAD_UNCHANGED), stored)
    plain = scale(tifffile.imread("photo.tif"), stored)
    seen["TIFF", bits] = pillow("photo.tif", stored), opencv, plain
stored = np.random.default_rng(0).integers(0, 4096, (16, 16), dtype=np.uint16)
with open("photo.jp2", "wb") as file:
    file.write(imagecodecs.jpeg2k_encode(stored, level=0, reversible=True, bitspersample=12))
opencv = scale(cv2.imread("photo.jp2", cv2.IMREAD_UNCHANGED), stored)
seen["JPEG 2000", 12] = pillow("photo.jp2", stored), opencv, scale(imagecodecs.imread("photo.jp2"), stored)
print("stored values times (Pillow, OpenCV, tifffile or imagecodecs):")
for (kind, bits), factors in seen.items():
    print(kind, bits, "bits", *factors)
no = "UnidentifiedImageError"
if list(seen.values()) != [(no, 64, 1), (1, 16, 1), (no, 4, 1), (16, 1, 1)]:
    sys.exit("This has changed.")
EOF

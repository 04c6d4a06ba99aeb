#!/usr/bin/env bash
# Versions: Pillow 13.0.0, tifffile 2026.3.3, NumPy 2.4.6.
# Behaviour: Pillow turns the pixels of a TIFF by its orientation tag when it loads them, and leaves those
# of JPEG, PNG and WebP to ImageOps.exif_transpose; tifffile turns nothing. An uncompressed grey TIFF opened
# by its path, which Pillow maps into memory, is cut into rows of the wrong width before it is turned: the
# same file opened by its path and as a stream gives two pictures, the first a jumble.
# Most would expect: the pixels as stored, whatever the format, and the same from a path and from a stream.
# Seen: of 40 x 20 pixels with orientation 6, JPEG, PNG, WebP and tifffile's TIFF are 40 x 20. Pillow's TIFF
# is 20 x 40 and rightly turned from a stream, colour from a path too; grey from a path it opens as 20 x 40
# and loads as 40 x 20, jumbled.
# Source: this script; load_end and _setup in Pillow's TiffImagePlugin.py.
set -euo pipefail

packages=(pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6)
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
import io
import sys

import numpy as np
import tifffile
from PIL import Image

stored = np.random.default_rng(0).integers(0, 256, (20, 40), dtype=np.uint8)
turned = np.rot90(stored, -1)
exif = Image.Exif()
exif[0x0112] = 6


def shown(source):
    with Image.open(source) as opened:
        at_first = opened.size
        pixels = np.asarray(opened.convert("L"))
        if pixels.shape == turned.shape and np.array_equal(pixels, turned):
            return at_first, opened.size, "turned"
        if pixels.shape == stored.shape and (opened.format == "JPEG" or np.array_equal(pixels, stored)):
            return at_first, opened.size, "as stored"
        return at_first, opened.size, "neither as stored nor turned"


seen = {}
for kind in ("jpg", "png", "webp", "tif"):
    for mode in ("L", "RGB"):
        path = f"{mode}.{kind}"
        options = {"lossless": True} if kind == "webp" else {}
        Image.fromarray(stored).convert(mode).save(path, exif=exif, **options)
        with open(path, "rb") as file:
            seen[path] = shown(path), shown(io.BytesIO(file.read()))
        print(path, "from its path", *seen[path][0], "from a stream", *seen[path][1])
unturned = np.array_equal(tifffile.imread("L.tif"), stored)
print("L.tif in tifffile as stored:", unturned)
as_stored, right = ((40, 20), (40, 20), "as stored"), ((20, 40), (20, 40), "turned")
expected = {path: (as_stored, as_stored) for path in seen}
expected["RGB.tif"] = right, right
expected["L.tif"] = ((20, 40), (40, 20), "neither as stored nor turned"), right
if seen != expected or not unturned:
    sys.exit("This has changed.")
EOF

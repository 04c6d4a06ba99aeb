#!/usr/bin/env bash
# Versions: Pillow 13.0.0, tifffile 2026.3.3, NumPy 2.4.6.
# Behaviour: Pillow opens an uncompressed TIFF of 16 bits a colour whose planes are stored one after the
# other (PlanarConfiguration 2) as "RGB", but the pixels are a jumble. The same photo stored pixel by pixel,
# or in planes with Deflate, gives the upper byte of every value.
# Most would expect: the upper byte in each case, or a refusal.
# Seen: pixel by pixel 0 off, planes with Deflate 0 off, planes uncompressed up to 250 of 255 off.
# Source: this script; PlanarConfiguration is tag 284 of the TIFF 6.0 specification.
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

photo = np.random.default_rng(0).integers(0, 65536, (24, 32, 3), dtype=np.uint16)
planes = np.ascontiguousarray(photo.transpose(2, 0, 1))


def off(pixels, **layout):
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="rgb", **layout)
    with Image.open(io.BytesIO(file.getvalue())) as image:
        return int(np.abs(np.asarray(image).astype(int) - (photo >> 8)).max())


contiguous = off(photo, planarconfig="contig")
deflated = off(planes, planarconfig="separate", compression="deflate")
plain = off(planes, planarconfig="separate")
print("most that Pillow differs from the upper byte:")
print(f"pixel by pixel {contiguous}, planes with Deflate {deflated}, planes uncompressed {plain}")
if contiguous or deflated or plain < 200:
    sys.exit("This has changed.")
EOF

#!/usr/bin/env bash
# Versions: Pillow 13.0.0, tifffile 2026.3.3, NumPy 2.4.6.
# Behaviour: Pillow identifies a little-endian BigTIFF and a big-endian classic TIFF, but no big-endian
# BigTIFF, whose first bytes are on its list of TIFF headers.
# Most would expect: both byte orders to open, as tifffile opens them.
# Seen: classic < and > read, BigTIFF < read, BigTIFF > UnidentifiedImageError.
# Source: this script; PREFIXES in Pillow's TiffImagePlugin.py.
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
from PIL import Image, UnidentifiedImageError

gray = np.arange(48, dtype=np.uint8).reshape(6, 8)
seen = {}
for big in (False, True):
    for order in "<>":
        file = io.BytesIO()
        tifffile.imwrite(file, gray, bigtiff=big, byteorder=order, photometric="minisblack")
        content = file.getvalue()
        assert np.array_equal(tifffile.imread(io.BytesIO(content)), gray)
        try:
            with Image.open(io.BytesIO(content)) as image:
                result = "read" if np.array_equal(np.asarray(image), gray) else "read wrongly"
        except UnidentifiedImageError:
            result = "UnidentifiedImageError"
        seen[big, order] = result
        print("BigTIFF" if big else "classic", order, content[:4], result)
if list(seen.values()) != ["read", "read", "read", "UnidentifiedImageError"]:
    sys.exit("This has changed.")
EOF

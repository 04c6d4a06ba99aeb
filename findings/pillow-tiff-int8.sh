#!/usr/bin/env bash
# Versions: Pillow 13.0.0, tifffile 2026.3.3, NumPy 2.4.6.
# Behaviour: a TIFF of signed bytes (SampleFormat 2) opens as "L", whose values run from 0 to 255: -4
# becomes 252. Signed 16 bits open as "I" with their signs.
# Most would expect: a mode that holds the sign, as with 16 bits, or a refusal.
# Seen: -128 -4 -1 0 5 127 are read as 128 252 255 0 5 127; at 16 bits as they are.
# Source: this script; SampleFormat is tag 339 of the TIFF 6.0 specification.
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

values = np.array([[-128, -4, -1, 0, 5, 127]])


def read(dtype):
    file = io.BytesIO()
    tifffile.imwrite(file, values.astype(dtype), photometric="minisblack")
    with Image.open(io.BytesIO(file.getvalue())) as image:
        return image.mode, np.asarray(image)[0].tolist()


bytes_, words = read(np.int8), read(np.int16)
print("stored", values[0].tolist())
print("read, 8 bits:", *bytes_)
print("read, 16 bits:", *words)
if bytes_ != ("L", [128, 252, 255, 0, 5, 127]) or words != ("I", values[0].tolist()):
    sys.exit("This has changed.")
EOF

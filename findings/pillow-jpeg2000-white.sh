#!/usr/bin/env bash
# Versions: Pillow 13.0.0, imagecodecs 2026.3.6, NumPy 2.4.6.
# Behaviour: Pillow brings colour JPEG 2000 of more than 8 bits to 8 by adding half a step and shifting,
# without a limit at the top: values within half a step of white turn to 0. White becomes black in each
# colour of its own.
# Most would expect: rounding within 0.5 of 255, or the upper byte; white stays white.
# Seen: 16 bits: 65407 is read as 255, 65408 and 65535 as 0. 12 bits: 4087 as 255, 4088 and 4095 as 0.
# Source: this script; src/libImaging/Jpeg2KDecode.c of Pillow (the offset in j2ku_srgb_rgb).
set -euo pipefail

packages=(pillow==13.0.0 imagecodecs==2026.3.6 numpy==2.4.6)
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

import imagecodecs
import numpy as np
from PIL import Image

seen = []
for bits, values in ((16, [0, 32768, 65407, 65408, 65535]), (12, [0, 2048, 4087, 4088, 4095])):
    photo = np.zeros((16, 16, 3), np.uint16)
    photo[: len(values)] = np.array(values, np.uint16)[:, None, None]
    content = imagecodecs.jpeg2k_encode(photo, level=0, reversible=True, bitspersample=bits)
    assert np.array_equal(imagecodecs.jpeg2k_decode(content), photo)
    with Image.open(io.BytesIO(content)) as image:
        read = np.asarray(image)[: len(values), 0, 0].tolist()
    seen.append(read)
    print(bits, "bits, stored", values, "read by Pillow as", image.mode, read)
if seen != [[0, 128, 255, 0, 0], [0, 128, 255, 0, 0]]:
    sys.exit("This has changed.")
EOF

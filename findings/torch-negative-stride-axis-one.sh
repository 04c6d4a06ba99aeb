#!/usr/bin/env bash
# Versions: torch 2.15.0, NumPy 2.4.6.
# Behaviour: an array reversed along an axis of length one keeps its negative stride through
# numpy.ascontiguousarray and numpy.require(..., "C"), which call it contiguous and return it as it is;
# torch.from_numpy then refuses it for that stride.
# Most would expect: that one of NumPy's two ways to make an array contiguous makes it one that torch takes.
# So it does for a batch of two or more; a batch of one fails.
# Seen: for two photos reversed, both ways are taken; for one, both raise "At least one stride in the given
# numpy array is negative", while flags.c_contiguous is True. A copy is taken.
# Source: this script; numpy.ascontiguousarray's documentation, and torch.from_numpy's.
set -euo pipefail

packages=(torch==2.15.0 numpy==2.4.6)
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
import torch


def taken(array):
    try:
        torch.from_numpy(array)
    except ValueError as error:
        return str(error).split(" (")[0].split(".")[0]
    return "taken"


seen = []
for n_photos in (2, 1):
    photos = np.arange(n_photos * 12, dtype=np.uint8).reshape(n_photos, 3, 4)[::-1]
    for name, made in (
        ("ascontiguousarray", np.ascontiguousarray(photos)),
        ("require", np.require(photos, requirements="C")),
        ("copy", photos.copy()),
    ):
        seen.append(taken(made) == "taken")
        print(n_photos, name, made.strides, made.flags.c_contiguous, taken(made))
if seen != [True, True, True, False, False, True]:
    sys.exit("This has changed.")
EOF

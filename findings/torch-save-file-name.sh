#!/usr/bin/env bash
# Versions: torch 2.15.0 (with torchvision 0.29.2).
# Behaviour: torch.save names the folder inside its archive after the file: one state dict, saved under two
# names, is two different files. A digest of the file tells the name as well as the weights, and renaming
# the file does not.
# Most would expect: the same bytes.
# Seen: a.pth and b.pth differ, and their entries are a/... and b/...; saved as a.pth in two folders, or
# into a BytesIO twice, the bytes are the same.
# Source: this script.
set -euo pipefail

packages=(torch==2.15.0 torchvision==0.29.2 numpy==2.4.6)
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
import hashlib
import io
import os
import sys
import zipfile

import torch

weights = {"weight": torch.arange(4.0)}
os.mkdir("other")
digests = {}
for path in ("a.pth", "b.pth", "other/a.pth"):
    torch.save(weights, path)
    with open(path, "rb") as file:
        digests[path] = hashlib.sha256(file.read()).hexdigest()[:12]
    with zipfile.ZipFile(path) as archive:
        print(path, digests[path], archive.namelist()[0])
streams = [io.BytesIO(), io.BytesIO()]
for stream in streams:
    torch.save(weights, stream)
equal_streams = streams[0].getvalue() == streams[1].getvalue()
print("twice into memory, the same bytes:", equal_streams)
if digests["a.pth"] == digests["b.pth"] or digests["a.pth"] != digests["other/a.pth"] or not equal_streams:
    sys.exit("This has changed.")
EOF

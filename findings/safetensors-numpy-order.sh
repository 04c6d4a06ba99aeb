#!/usr/bin/env bash
# Versions: safetensors 0.8.0, scikit-learn 1.9.1, NumPy 2.4.6.
# Behaviour: safetensors.numpy.save writes the memory of an array that is not in C order, next to the shape
# it has, and raises nothing: what load returns has the right shape and other values. Principal components
# of scikit-learn can be such an array. (safetensors.torch refuses such tensors.)
# Most would expect: a copy in C order, or a refusal.
# Seen: [[0, 1, 2], [3, 4, 5]].T comes back as [[0, 1], [2, 3], [4, 5]]; PCA.components_ come back with
# other values.
# Source: this script; github.com/safetensors/safetensors, issue 825.
set -euo pipefail

packages=(safetensors==0.8.0 scikit-learn==1.9.1 numpy==2.4.6)
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
from safetensors.numpy import load, save
from sklearn.decomposition import PCA

table = np.arange(6.0).reshape(2, 3)
photos = np.random.default_rng(0).normal(size=(60, 20))
components = PCA(n_components=5, svd_solver="full").fit(photos).components_
same = {}
for name, array in {"in C order": table, "transposed": table.T, "PCA.components_": components}.items():
    back = load(save({"array": array}))["array"]
    same[name] = back.shape == array.shape and np.array_equal(back, array)
    print(name, "C order:", array.flags.c_contiguous, "comes back the same:", same[name])
print(table.T.tolist(), "came back as", load(save({"array": table.T}))["array"].tolist())
if same != {"in C order": True, "transposed": False, "PCA.components_": False}:
    sys.exit("This has changed.")
EOF

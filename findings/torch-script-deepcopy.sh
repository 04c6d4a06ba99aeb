#!/usr/bin/env bash
# Versions: torch 2.15.0 (with torchvision 0.29.2).
# Behaviour: copy.deepcopy of a TorchScript module (traced or scripted) gives parameters that are no leaves
# but the result of a clone: the copy's gradients arrive at the original, requires_grad_(False) of a
# parameter raises, and so does an optimiser. Under torch.no_grad the copies are leaves, which need no
# gradient.
# Most would expect: a copy that has nothing to do with the original, as of any other module.
# Seen: is_leaf False, the original's grad [[1, 1]] after backward through the copy; RuntimeError and
# ValueError.
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
import copy
import sys
import warnings

import torch

warnings.simplefilter("ignore", FutureWarning)
torch.manual_seed(0)
plain = torch.nn.Linear(2, 1, bias=False)
# Tracing is deprecated, and says so; what was traced is still copied.
traced = torch.jit.trace(torch.nn.Linear(2, 1, bias=False), torch.ones(1, 2))
seen = {}
for name, module in (("plain", plain), ("traced", traced)):
    twin = copy.deepcopy(module)
    (weight,) = twin.parameters()
    twin(torch.ones(1, 2)).sum().backward()
    reached = module.weight.grad is not None
    errors = []
    for attempt in (lambda w: w.requires_grad_(False), lambda w: torch.optim.SGD([w], lr=0.1)):
        try:
            attempt(weight)
        except (RuntimeError, ValueError) as error:
            errors.append(type(error).__name__)
    with torch.no_grad():
        quiet = all(p.is_leaf for p in copy.deepcopy(module).parameters())
    seen[name] = weight.is_leaf, reached, errors, quiet
    print(
        f"{name}: leaf {weight.is_leaf}, grad at the original {reached}, {errors}, leaf under no_grad {quiet}"
    )
if seen != {"plain": (True, False, [], True), "traced": (False, True, ["RuntimeError", "ValueError"], True)}:
    sys.exit("This has changed.")
EOF

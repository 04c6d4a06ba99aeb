#!/usr/bin/env bash
# Versions: torch 2.15.0 (with torchvision 0.29.2).
# Behaviour: what torch.fx.symbolic_trace makes of a forward hook depends on where it hangs. On a leaf
# (Linear) it stays a hook and runs with tensors. On a block (Sequential) it runs while tracing, with a
# Proxy, and what it did is part of the graph for good, also after it was removed. On the module that is
# traced it is gone.
# Most would expect: one treatment for all, most likely that tracing leaves hooks alone.
# Seen: a hook that multiplies by 10: leaf Tensor, still undone by removing it; block Proxy, the graph gives
# 10 times the module after the removal; root not called, the graph gives a tenth of the module.
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
import sys

import torch
import torch.fx


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.leaf = torch.nn.Linear(2, 2, bias=False)
        self.block = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False))

    def forward(self, x):
        return self.block(self.leaf(x))


torch.manual_seed(0)
x, seen = torch.ones(1, 2), {}
for where in ("leaf", "block", "root"):
    net, called_with = Net(), []

    def hook(module, args, output, called_with=called_with):
        called_with.append(type(output).__name__)
        return output * 10

    handle = (net if where == "root" else getattr(net, where)).register_forward_hook(hook)
    graph = torch.fx.symbolic_trace(net)
    while_tracing = list(called_with)
    hooked = round((graph(x) / net(x))[0, 0].item(), 3)
    handle.remove()
    removed = round((graph(x) / net(x))[0, 0].item(), 3)
    seen[where] = while_tracing, hooked, removed
    print(f"{where}: while tracing {while_tracing}, graph by module {hooked}, hook removed {removed}")
if seen != {"leaf": ([], 1.0, 1.0), "block": (["Proxy"], 1.0, 10.0), "root": ([], 0.1, 1.0)}:
    sys.exit("This has changed.")
EOF

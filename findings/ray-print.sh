#!/usr/bin/env bash
# Versions: ray 2.60.0.
# Behaviour: when a worker prints for the first time, Ray puts a function of its own in place of Python's print in
# the process that called ray.init, and leaves it there after ray.shutdown. Who holds print from before, as the
# default of a parameter, say, can no longer pickle it.
# Most would expect: what a worker prints is shown, and print stays what it was; builtins are always pickled by name.
# Seen: PicklingError, "it's not the same object as builtins.print", after a task that prints, and after shutdown.
# Source: this script; safe_print in ray/experimental/tqdm_ray.py, which RAY_TQDM_PATCH_PRINT=0 keeps away.
set -euo pipefail

packages=(ray==2.60.0)
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
cat > try.py << 'EOF'
import builtins
import os
import pickle
import sys
import time

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray

BEFORE = builtins.print


def pickled() -> str:
    try:
        return f"{len(pickle.dumps(BEFORE))} bytes"
    except pickle.PicklingError as error:
        return f"{type(error).__name__}: {error}"


@ray.remote
def say_something():
    print("a worker prints")


ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR")
seen = [pickled()]
ray.get(say_something.remote())
end = time.monotonic() + 60
while builtins.print is BEFORE and time.monotonic() < end:
    time.sleep(0.1)
seen.append(pickled())
ray.shutdown()
seen.append(pickled())
for when, what in zip(("before a worker prints", "after", "after ray.shutdown"), seen):
    BEFORE(f"{when}: {what}")
expected = "not the same object as builtins.print"
if not seen[0].endswith("bytes") or not all(expected in what for what in seen[1:]):
    sys.exit("This has changed.")
EOF
"$work/venv/bin/python" try.py

#!/usr/bin/env bash
# Versions: joblib 1.6.0, dask and distributed 2026.8.0.
# Behaviour: with the backend "dask" and a cluster whose workers have one thread in all, joblib.Parallel sends
# nothing to the cluster: it works in the process of the client, one task after the other.
# Most would expect: tasks on the worker, wherever that is; a cluster of one strong machine is one, too.
# Seen: one worker of one thread: all tasks in the client's process. One worker of two threads, and two of one:
# none there.
# Source: this script; joblib's effective_n_jobs, which is 1 then.
set -euo pipefail

packages=(joblib==1.6.0 dask==2026.8.0 distributed==2026.8.0)
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
import os
import sys

import joblib
from distributed import Client, LocalCluster


def main():
    seen = []
    for n_workers, n_threads in ((1, 1), (1, 2), (2, 1)):
        how = {"n_workers": n_workers, "threads_per_worker": n_threads, "processes": True}
        with LocalCluster(dashboard_address=None, **how) as cluster, Client(cluster):
            with joblib.parallel_config("dask"):
                found = joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(8))
        seen.append(sum(each == os.getpid() for each in found))
        print(n_workers, "workers of", n_threads, "threads:", seen[-1], "of 8 tasks in the client's process")
    if seen != [8, 0, 0]:
        sys.exit("This has changed.")


if __name__ == "__main__":
    main()
EOF
"$work/venv/bin/python" try.py

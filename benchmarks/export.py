"""Exported files beside the detector they were made of, the build before, and a peer's export.

    python benchmarks/export.py --data DIR [--before FOLDER] [--peer NETWORK=FILE ...] --output PAGE

``--before`` is a checkout of an earlier commit, whose ResNet-18 is timed in a process of its own; ``--peer``
names ONNX files of the same networks, as benchmarks/export_anomalib.py writes them. Runs are taken in turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import joblib
import numpy as np
import onnxruntime
import openvino
import torch
from pages import command, machine, table
from sklearn.metrics import roc_auc_score
from timing import N_WARM_UP

from skpadim import PaDiMDetector
from skpadim.datasets import load_inspection_folder, make_inspection_images
from skpadim.export import to_onnx, to_openvino
from skpadim.export.precision import PRECISIONS, at_precision

NETWORKS = {"efficientnet_lite0": "the default", "resnet18": "ResNet-18"}
BATCHES = (1, 32)
BEFORE = "ResNet-18: detector in torch, the build before"
ROOT = Path(__file__).resolve().parents[1]
SIZE = 224
SHARES = 5
# Each contender has a process of its own: threads of one engine that wait by spinning slow the others.
WORKER = """
import sys, time
import numpy as np
kind, path, threads, photos = sys.argv[1], sys.argv[2], int(sys.argv[3]), np.load(sys.argv[4])
if kind in ("torch", "before"):
    import joblib, torch
    torch.set_num_threads(threads)
    if kind == "torch":
        run = joblib.load(path).anomaly_map
    else:
        from skpadim import PaDiMDetector
        layers = ("layer1", "layer2", "layer3")
        detector = PaDiMDetector("resnet18", layers, 100, weights=None)
        run = detector.fit(np.load(path)).anomaly_map
elif kind == "openvino":
    import openvino
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    run = lambda photos: compiled({"photos": photos})
else:
    import onnxruntime
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    (name,) = (each.name for each in session.get_inputs())
    if kind == "peer":  # It takes floats in [0, 1], channels first; making them is not timed.
        photos = np.ascontiguousarray(photos.transpose(0, 3, 1, 2), np.float32) / 255
    run = lambda photos: session.run(None, {name: photos})
print("ready", flush=True)
for line in sys.stdin:
    n, seconds = int(line), []
    for _ in range(10 if n == 1 else 1):
        start = time.perf_counter()
        run(photos[:n])
        seconds.append(time.perf_counter() - start)
    print(sorted(seconds)[len(seconds) // 2], flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="photos in the layout of MVTec AD")
    parser.add_argument("--before", type=Path, help="checkout of an earlier commit")
    parser.add_argument("--peer", action="append", default=[], metavar="NETWORK=FILE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    peers = dict(each.split("=", 1) for each in options.peer)
    with TemporaryDirectory() as folder:
        lines = [
            "# Exported files",
            "",
            f"Made by `{command('export.py')}` on {machine()}, {options.threads} threads; torch "
            f"{torch.__version__}, onnxruntime {onnxruntime.__version__}, OpenVINO {openvino.__version__}. "
            f"100 channels, {SIZE} px, photos of that size in, smoothed maps and scores out.",
            "",
            *sizes_and_times(Path(folder), peers, options),
            *engines_agree(Path(folder)),
            *precisions(options.data),
        ]
    page = "\n".join(lines)
    print(page)
    if options.output:
        options.output.write_text(page)


@dataclass
class Made:
    """What is to be compared, and what writing it showed."""

    runs: dict[str, Callable[[int], float]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    writing: dict[str, float] = field(default_factory=dict)


def sizes_and_times(folder: Path, peers: dict[str, str], options: argparse.Namespace) -> list[str]:
    """Write files of both networks, and time them beside everything else."""
    made = Made()
    train = make_inspection_images(64, 0, 0, image_size=SIZE).X_train
    np.save(folder / "train.npy", train)
    photos = make_inspection_images(0, 16, 16, image_size=SIZE, random_state=1).X_test
    np.save(folder / "photos.npy", photos)
    for network in NETWORKS:
        make(made, network, train, folder, peers, options.threads)
    if options.before:
        learned, tested = folder / "train.npy", folder / "photos.npy"
        made.runs[BEFORE] = contender("before", learned, options.threads, tested, options.before)
    medians = in_turns(made.runs, options.repeats)
    seconds = " and ".join(f"{seconds:.0f} s ({name})" for name, seconds in made.writing.items())
    return [
        "## Sizes",
        "",
        *table(["one file of", "MB"], [[name, f"{size / 1e6:.1f}"] for name, size in made.sizes.items()]),
        "",
        *ratios(made.sizes, medians),
        f"Writing one took {seconds}, the first with all imports.",
        "",
        "## Times",
        "",
        f"Medians of {options.repeats} turns, in each of which a single photo is the median of ten in a row. "
        "Each contender has a process of its own.",
        "",
        *times_table(medians),
        "",
    ]


def make(
    made: Made, network: str, train: np.ndarray, folder: Path, peers: dict[str, str], threads: int
) -> None:
    """Write the files of one network, and start what runs them."""
    name = NETWORKS[network]
    params = {} if network == "efficientnet_lite0" else {"weights": None}
    detector = PaDiMDetector(network, n_channels=100, **params).fit(train)
    start = time.perf_counter()
    file = to_onnx(detector, folder / f"{network}.onnx", photo_size=SIZE)
    made.writing[name] = time.perf_counter() - start
    made.sizes[name] = file.stat().st_size
    xml = to_openvino(detector, folder / f"{network}.xml", photo_size=SIZE)
    fast = PaDiMDetector(network, n_channels=100, engine="onnxruntime", **params).fit(train)
    joblib.dump(detector, folder / f"{network}.joblib")
    joblib.dump(fast, folder / f"{network}.fast.joblib")
    files = {
        "detector in torch": ("torch", folder / f"{network}.joblib"),
        'detector, engine="onnxruntime"': ("torch", folder / f"{network}.fast.joblib"),
        "file in onnxruntime": ("onnxruntime", file),
        "file in OpenVINO": ("openvino", xml),
    }
    if network in peers:
        beside = Path(f"{peers[network]}.data")  # in which it keeps its weights
        theirs = Path(peers[network]).stat().st_size + (beside.stat().st_size if beside.exists() else 0)
        made.sizes[f"{name}, anomalib"] = theirs
        files["anomalib's file in onnxruntime"] = ("peer", Path(peers[network]))
    for what, (kind, path) in files.items():
        made.runs[f"{name}: {what}"] = contender(kind, path, threads, folder / "photos.npy")


def in_turns(runs: dict[str, Callable[[int], float]], repeats: int) -> dict[str, dict[int, float]]:
    """Return the median milliseconds a photo of everything, by how many photos come at a time."""
    turns = [
        {name: {n: 1000 * run(n) / n for n in BATCHES} for name, run in runs.items()}
        for _ in range(N_WARM_UP + repeats)
    ][N_WARM_UP:]
    return {name: {n: median(turn[name][n] for turn in turns) for n in BATCHES} for name in runs}


def times_table(medians: dict[str, dict[int, float]]) -> list[str]:
    reference = medians.get(BEFORE)
    head = ["", *(f"{n} photo{'s' * (n > 1)}: ms each" for n in BATCHES)]
    head += [f"beside the build before, {n}" for n in BATCHES] if reference else []
    rows = [
        [
            name,
            *(f"{each[n]:.1f}" for n in BATCHES),
            *((f"{each[n] / reference[n]:.2f}" for n in BATCHES) if reference else ()),
        ]
        for name, each in medians.items()
    ]
    return table(head, rows)


def ratios(sizes: dict[str, int], medians: dict[str, dict[int, float]]) -> list[str]:
    """Say how sizes and times compare with the peer's."""
    lines = []
    for name in NETWORKS.values():
        theirs = f"{name}, anomalib"
        if theirs in sizes:
            ours, others = (
                medians[f"{name}: file in onnxruntime"],
                medians[f"{name}: anomalib's file in onnxruntime"],
            )
            faster = " and ".join(f"{others[n] / ours[n]:.1f} ({n})" for n in BATCHES)
            lines += [
                f"{name}: {sizes[name] / sizes[theirs]:.3f} of anomalib's size, {faster} times as fast.",
                "",
            ]
    return lines


def contender(
    kind: str, path: Path, threads: int, photos: Path, folder: Path | None = None
) -> Callable[[int], float]:
    """Return what asks a process of its own for the seconds of so many photos."""
    environment = os.environ | {"PYTHONPATH": str(folder or ROOT), "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", WORKER, kind, str(path), str(threads), str(photos)],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"

    def run(n: int) -> float:
        process.stdin.write(f"{n}\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    return run


def in_onnxruntime(file: Path) -> Callable[[np.ndarray], object]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda photos: session.run(None, {"photos": photos})


def in_openvino(xml: Path, **hint: str) -> Callable[[np.ndarray], object]:
    settings = hint or {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(xml, "CPU", settings)
    return lambda photos: compiled({"photos": photos})


def engines_agree(folder: Path) -> list[str]:
    """Compare scores of the files, by size of the photos, with those of the detector."""
    train = make_inspection_images(64, 0, 0, image_size=SIZE).X_train
    rows = []
    detector = PaDiMDetector(n_channels=100).fit(train)
    file, xml = to_onnx(detector, folder / "any.onnx"), to_openvino(detector, folder / "any.xml")
    for size in (SIZE, 180, 300, 512, 1000):
        photos = make_inspection_images(0, 8, 8, image_size=size, random_state=2).X_test
        expected = -detector.score_samples(photos)
        runs = {
            "onnxruntime": in_onnxruntime(file)(photos)[0],
            "OpenVINO, f32": in_openvino(xml)(photos)["score"],
            "OpenVINO, as it is": in_openvino(xml, PERFORMANCE_HINT="LATENCY")(photos)["score"],
        }
        errors = (np.abs(found / expected - 1) for found in runs.values())
        rows.append([f"{size} x {size}", *(f"{error.max():.1e} ({error.mean():.1e})" for error in errors)])
    return [
        "## Exact?",
        "",
        "Relative difference of scores from the detector's, the largest and the mean of 16 photos; files for "
        "photos of any size, the default network.",
        "",
        *table(["photos", "onnxruntime", "OpenVINO, f32", "OpenVINO, its own default"], rows),
        "",
    ]


def precisions(data: Path) -> list[str]:
    """Measure what half precision and eight bits change, on real photos."""
    photos = load_inspection_folder(data)
    good = np.concatenate([photos.X_train, photos.X_test[photos.y_test == 1]])
    defective = photos.X_test[photos.y_test == -1]
    found: dict[str, list[tuple[float, float, float]]] = {precision: [] for precision in PRECISIONS}
    random = np.random.default_rng(0)
    for _ in range(SHARES):
        order = random.permutation(len(good))
        learned, unseen = good[order[: len(photos.X_train)]], good[order[len(photos.X_train) :]]
        X, y = np.concatenate([unseen, defective]), np.repeat([0, 1], [len(unseen), len(defective)])
        detector = PaDiMDetector().fit(learned)
        exact = -detector.score_samples(X)
        for precision in PRECISIONS:
            other, _ = at_precision(detector, precision, learned)
            scores = -other.score_samples(X)
            found[precision].append(
                (
                    roc_auc_score(y, scores),
                    float(np.abs(scores / exact - 1).max()),
                    float(np.mean(scores[y == 0] > -other.offset_)),
                    float(np.mean(scores[y == 0] > -detector.offset_)),
                )
            )
    rows = [
        [
            precision,
            f"{np.mean([each[0] for each in results]):.4f}",
            f"{max(each[1] for each in results):.1e}",
            f"{100 * np.mean([each[2] for each in results]):.1f} %",
            f"{100 * np.mean([each[3] for each in results]):.1f} %",
        ]
        for precision, results in found.items()
    ]
    head = ["precision", "image ROC AUC", "largest change of a score", "false alarms, asked for 5 %"]
    return [
        "## Half precision and eight bits",
        "",
        f"{data.name}, the default detector, {SHARES} random splits of the good photos into "
        f"{len(photos.X_train)} to learn and {len(good) - len(photos.X_train)} unseen. The threshold in the "
        "file is that of its precision; the last column has the false alarms by the threshold of float32.",
        "",
        *table([*head, "by float32's threshold"], rows),
        "",
    ]


if __name__ == "__main__":
    main()

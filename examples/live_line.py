"""A live line with drawn photos: two cameras, bad frames, latencies and alarms; offline, in ten seconds.

A fit writes one file for both cameras. The loop then loads it, warms up, and judges a photo at a time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import joblib
import numpy as np
import torch

from skpadim import PaDiMDetector
from skpadim.datasets import make_inspection_images

SIZE = 128
CAMERAS = ("left", "right")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="of torch; one where processors are shared")
    torch.set_num_threads(parser.parse_args().threads)
    with TemporaryDirectory() as folder:
        file = Path(folder, "line3.joblib")
        learn(file)
        print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB for {len(CAMERAS)} cameras")
        watch(joblib.load(file))


def learn(file: Path) -> None:
    """Fit a detector for each camera, and write all of them to one file, which holds their network once."""
    detectors = {}
    for seed, camera in enumerate(CAMERAS):
        good = make_inspection_images(40, n_good=0, n_defective=0, image_size=SIZE, random_state=seed)
        detectors[camera] = PaDiMDetector(image_size=SIZE, on_error="skip").fit(good.X_train)
    joblib.dump(detectors, file)


def watch(detectors: dict[str, PaDiMDetector]) -> None:
    """Judge what the cameras deliver, and print what happened."""
    for camera, detector in detectors.items():
        detector.set_params(n_decoders=1)  # arrays need no threads that decode files
        start = time.perf_counter()
        for _ in range(3):
            detector.inspect([np.zeros((SIZE, SIZE, 3), dtype=np.uint8)])
        print(f"{camera}: warm after {1000 * (time.perf_counter() - start):.0f} ms")
    milliseconds, counts = [], {"good": 0, "anomaly": 0, "no photo": 0}
    for camera, frame in frames():
        start = time.perf_counter()
        verdict = judge(detectors[camera], frame)
        milliseconds.append(1000 * (time.perf_counter() - start))
        counts[verdict] += 1
    print(", ".join(f"{verdict}: {count}" for verdict, count in counts.items()))
    p50, p95, p99 = np.percentile(milliseconds, (50, 95, 99))
    print(
        f"milliseconds per photo: p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f}, most {max(milliseconds):.1f}"
    )


def judge(detector: PaDiMDetector, frame: object) -> str:
    """Return the verdict on a frame as OpenCV delivers it, or that it was none."""
    if not is_photo(frame):
        return "no photo"
    found = detector.inspect([frame[..., ::-1]])[0]  # from blue, green, red to red, green, blue
    if found.error is not None:
        return "no photo"
    return "anomaly" if found.is_anomaly else "good"


def is_photo(frame: object) -> bool:
    """Whether a grabber delivered a whole colour frame."""
    return isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.shape == (SIZE, SIZE, 3)


def frames() -> Iterator[tuple[str, object]]:
    """Yield cameras and their frames, in blue, green and red; some are lost, or cut."""
    drawn = make_inspection_images(0, n_good=60, n_defective=12, image_size=SIZE, random_state=9)
    for number, photo in enumerate(drawn.X_test):
        frame = np.ascontiguousarray(photo[..., ::-1])
        yield CAMERAS[number % 2], {20: None, 40: frame[:50]}.get(number, frame)


if __name__ == "__main__":
    main()

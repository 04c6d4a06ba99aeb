"""A detector's exported file, what the detector says of photos, and clients in folders of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skpadim import PaDiMDetector
from skpadim.datasets import make_inspection_images

CLIENTS = Path(__file__).parents[2] / "examples" / "clients"


@dataclass
class Line:
    """An exported file, and the detector's verdicts on photos by their paths.

    A verdict holds the score of the file, too: torch resizes bytes by weights of 16 bits, so one byte in
    some hundreds differs by one, and scores by up to 0.3 % here. With the file a client has to agree closely.
    """

    model: Path
    verdicts: dict[str, dict]

    def run(self, *command):
        """Let a client score all photos, and return what it prints, each line read as JSON."""
        command = [*map(str, command), str(self.model), *self.verdicts]
        run = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, run.stderr
        return [json.loads(text) for text in run.stdout.splitlines()]

    def check_without_p_value(self, model, *command):
        """Let a client score a photo with a file that has no scores of good photos."""
        (photo, *_) = self.verdicts
        command = [*map(str, command), str(model), photo]
        run = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, run.stderr

        def refuse(constant):
            raise AssertionError(f"{constant} is no JSON")

        verdict = json.loads(run.stdout, parse_constant=refuse)
        assert verdict["p_value"] is None
        assert verdict["score"] > 0 and verdict["threshold"] == 5

    def check(self, verdicts):
        """Compare a client's verdicts on all photos with the detector's."""
        assert [verdict["photo"] for verdict in verdicts] == list(self.verdicts)
        for verdict in verdicts:
            expected = self.verdicts[verdict["photo"]]
            tolerance = 1e-3 if expected["is_resized"] else 1e-4
            np.testing.assert_allclose(verdict["score"], expected["score"], rtol=tolerance)
            np.testing.assert_allclose(verdict["score"], expected["score_of_file"], rtol=1e-4)
            np.testing.assert_allclose(verdict["p_value"], expected["p_value"], rtol=1e-6)
            np.testing.assert_allclose(verdict["threshold"], expected["threshold"], rtol=1e-12)
            np.testing.assert_allclose(verdict["marked"], expected["marked"], atol=2e-3)
            assert verdict["is_anomaly"] is expected["is_anomaly"]


@pytest.fixture(scope="package")
def line(tmp_path_factory):
    """Good and defective photos, at the network's size and larger, and a detector that sees their middle."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from skpadim.export import to_onnx

    folder = tmp_path_factory.mktemp("line")
    drawn = make_inspection_images(n_train=20, n_good=1, n_defective=1, image_size=128)
    detector = PaDiMDetector(image_size=128, crop_size=(112, 96)).fit(drawn.X_train)
    model = to_onnx(detector, folder / "line3.onnx")
    paths = []
    for number, photo in enumerate(drawn.X_test):
        for name, size in {"small": (128, 128), "large": (310, 270)}.items():
            paths.append(folder / f"{number} {name}.png")
            Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC).save(paths[-1])
    labels, found = (
        detector.predict(paths),
        {
            "score": -detector.score_samples(paths),
            "p_value": detector.p_values(paths),
            "score_of_file": _scores_of_file(model, paths),
            "marked": detector.segment(paths).mean(axis=(1, 2)),
        },
    )
    assert set(labels) == {1, -1}
    return Line(
        model,
        {
            str(path): {
                **{name: values[index] for name, values in found.items()},
                "is_anomaly": bool(labels[index] == -1),
                "threshold": -detector.offset_,
                "is_resized": path.stem.endswith("large"),
            }
            for index, path in enumerate(paths)
        },
    )


@pytest.fixture(scope="package")
def learned_elsewhere(tmp_path_factory):
    """The path of a file without scores of good photos, as of a detector of another program."""
    pytest.importorskip("onnxscript")
    from skpadim.export import to_onnx

    drawn = make_inspection_images(n_train=20, n_good=1, n_defective=1, image_size=64)
    detector = PaDiMDetector(image_size=64, weights=None).fit(drawn.X_train).set_threshold(5.0)
    detector.pipeline_[-1].loo_scores_ = np.empty(0)
    return to_onnx(detector, tmp_path_factory.mktemp("elsewhere") / "elsewhere.onnx")


def _scores_of_file(model, paths):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return [session.run(["score"], {"photos": np.asarray(Image.open(path))[None]})[0][0] for path in paths]


@pytest.fixture(scope="package")
def installed(tmp_path_factory):
    """Return what copies a client of npm's to a folder and installs what it needs, or skips the test."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm")
    folder = tmp_path_factory.mktemp("clients")
    left_out = shutil.ignore_patterns("node_modules", "vendor")
    shutil.copytree(CLIENTS, folder, ignore=left_out, dirs_exist_ok=True)

    def install(name):
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        run = subprocess.run(command, cwd=folder / name, capture_output=True, text=True, timeout=300)
        if run.returncode:
            pytest.skip(f"npm cannot install what the client in {name}/ needs: {run.stderr.strip()[-300:]}")
        return folder / name

    return install

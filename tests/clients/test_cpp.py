"""The client in C++ compiles without a warning, and says what the detector says."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "examples" / "clients" / "cpp"
_HEADERS = ("include", "include/onnxruntime")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip("there are not both cmake and a compiler of C++")
    root = Path(os.environ.get("ONNXRUNTIME_ROOT", "/usr"))
    if not any((root / folder / "onnxruntime_cxx_api.h").is_file() for folder in _HEADERS):
        pytest.skip(f"there are no headers of onnxruntime in {root}; set ONNXRUNTIME_ROOT to their folder")
    if not Path("/usr/include/stb/stb_image.h").is_file():
        pytest.skip("there is no stb_image (on Debian and Ubuntu: apt install libstb-dev)")
    build = tmp_path_factory.mktemp("build")
    flags = "-Wall -Wextra -Wconversion -Werror"
    options = [f"-DONNXRUNTIME_ROOT={root}", f"-DCMAKE_CXX_FLAGS={flags}", "-DCMAKE_BUILD_TYPE=Release"]
    for command in (["cmake", "-S", SOURCE, "-B", build, *options], ["cmake", "--build", build]):
        run = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, run.stdout + run.stderr
    return build / "score_photo"


def test_verdicts_are_the_detector_s(line, program):
    line.check(line.run(program))


def test_a_missing_photo_is_named(line, program):
    run = subprocess.run([program, line.model, "missing.png"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert run.stderr.startswith("missing.png: ")


def test_without_a_p_value_it_is_null(line, learned_elsewhere, program):
    line.check_without_p_value(learned_elsewhere, program)

"""The client in C# says what the detector says, where there is .NET."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "examples" / "clients" / "csharp"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if shutil.which("dotnet") is None:
        pytest.skip("there is no dotnet")
    folder = tmp_path_factory.mktemp("csharp") / "score_photo"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("bin", "obj"))
    restore = subprocess.run(["dotnet", "restore"], cwd=folder, capture_output=True, text=True, timeout=300)
    if restore.returncode:
        pytest.skip(f"dotnet cannot fetch the packages: {restore.stdout.strip()[-300:]}")
    build = subprocess.run(
        ["dotnet", "build", "--no-restore", "--output", "built", "-warnaserror"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert build.returncode == 0, build.stdout
    return folder / "built" / "score_photo.dll"


def test_verdicts_are_the_detector_s(line, program):
    line.check(line.run("dotnet", program))

"""What surrounds the code: what an import costs, and whether the documents name what is there."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import skpadim

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted((ROOT / "docs").glob("*.md"))


def test_importing_loads_nothing_but_what_every_fit_needs():
    """torchvision, pictures, data frames, safe files and image formats wait until they are asked for.

    scikit-learn itself takes much at import; what it, torch and Pillow's core bring is not counted.
    """
    script = """
import sys
import PIL.ImageOps, scipy.linalg, torch
import sklearn.callback, sklearn.feature_selection, sklearn.frozen, sklearn.pipeline
before = set(sys.modules)
from skpadim import *
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))
print(*[name for name in sys.modules if name in {
    "PIL.PngImagePlugin", "matplotlib", "skops", "torch._dynamo", "torchvision"}])
"""
    command = [sys.executable, "-W", "error", "-c", script]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["skpadim", ""]


def test_the_package_itself_takes_no_time():
    """What is public is imported when it is asked for, so that `skpadim --help` comes at once."""
    script = """
import sys
import skpadim
print("torch" in sys.modules, "numpy" in sys.modules, set(skpadim.__all__) <= set(dir(skpadim)))
print([name for name in skpadim.__all__ if getattr(skpadim, name).__name__ != name])
print(hasattr(skpadim, "Elsewhere"))
"""
    command = [sys.executable, "-W", "error", "-c", script]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["False False True", "[]", "False"]


def test_version_is_the_same_everywhere():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {skpadim.__version__}\n" in citation
    assert f"\n## [{skpadim.__version__}] - " in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_what_is_there(document):
    text = document.read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = re.findall(r"^make ((?:\w+=\S+ )?\w+)|`make ((?:\w+=\S+ )?\w+)`", text, re.MULTILINE)
    for command in filter(None, sum(commands, ())):
        assert command.split()[-1] in targets, f"make {command}"
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        generated = link.startswith(("auto_examples/", "generated/"))
        assert ":" in link or generated or (document.parent / link).exists(), link
    for path in re.findall(r"`(?:\.venv/bin/python )?((?:benchmarks|examples|tests|skpadim)/[\w/.]+)", text):
        assert "NAME" in path or (ROOT / path).exists(), path
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for named in re.findall(r"(?:skpadim|\.)\[([\w,]+)\](?!\[)", text):
        assert set(named.split(",")) <= set(extras), named


def test_the_readme_s_installations_are_tried():
    commands = re.findall(r"`(pip install [^`]+)`", (ROOT / "README.md").read_text())
    assert commands
    for command in commands:
        assert f"&& {command}" in (ROOT / "Makefile").read_text()


def test_rooms_on_the_map_are_the_modules():
    rooms = re.search(r"skpadim/\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL).group(1)
    mapped = set(re.findall(r"^  (\S+)", rooms, re.MULTILINE))
    modules = {path.name for path in (ROOT / "skpadim").glob("*.py")} - {"__init__.py"}
    folders = {f"{path.parent.name}/" for path in (ROOT / "skpadim").glob("*/__init__.py")}
    assert mapped == modules | folders


def test_every_room_has_the_test_file_of_its_name():
    package, tests = ROOT / "skpadim", ROOT / "tests"
    rooms = [path.relative_to(package) for path in package.rglob("*.py") if path.name != "__init__.py"]
    assert rooms
    lacking = [room for room in rooms if not (tests / room.with_name(f"test_{room.name}")).is_file()]
    assert not lacking, f"rooms without tests: {sorted(map(str, lacking))}"


def test_what_a_detector_imports_needs_nothing_that_takes_long():
    """scikit-learn brings some of it; then a look at what is imported in the end would tell nothing."""
    script = (
        "import sys; from skpadim import PaDiMDetector; print(*(m for m in sys.modules if 'skpadim' in m))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    modules = [sys.modules.get(name) or importlib.import_module(name) for name in run.stdout.split()]
    assert {"skpadim.detector", "skpadim.kernels.scoring"} <= {module.__name__ for module in modules}
    heavy = ("torchvision", "pandas", "matplotlib", "onnx", "openvino", "timm", "scipy.ndimage")
    for module in modules:
        for node in ast.parse(Path(module.__file__).read_text()).body:  # not what waits in a function
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            assert not [name for name in names if name.startswith(heavy)], f"{module.__name__}: {names}"

"""``python -m skpadim``: help comes without torch, and what is not installed is said in words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def python(*arguments):
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_it_is_the_command():
    found = python("-m", "skpadim", "--version")
    assert (found.returncode, found.stdout.split()[0], found.stderr) == (0, "skpadim", "")


def test_help_and_completion_import_no_torch():
    script = """
import os, sys
from skpadim.command.app import app
for arguments, complete in ((["--help"], None), (["inspect", "--help"], None), ([], "skpadim insp")):
    if complete:
        os.environ |= {"_SKPADIM_COMPLETE": "complete_bash", "COMP_WORDS": complete, "COMP_CWORD": "1"}
    try:
        app(arguments, prog_name="skpadim")
    except SystemExit as end:
        assert not end.code, end.code
print({name for name in ("torch", "numpy", "sklearn", "PIL") if name in sys.modules})
"""
    found = python("-W", "error", "-c", script)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "set()"
    assert "\ninspect\n" in found.stdout


def test_without_the_extra_it_says_what_to_install():
    script = """
import sys
import skpadim.command as command
command.find_spec = lambda name: None if name == "typer" else name
command.main()
"""
    found = python("-c", script)
    assert found.returncode == 2
    assert found.stderr == "Error: the command needs typer: pip install 'skpadim[cli]'.\n"


def test_names_that_the_terminal_cannot_show_end_nothing():
    script = """
import sys
from skpadim.command import main
sys.argv = ["skpadim", "--version"]
try:
    main()
except SystemExit:
    print("photo-\\udcff.png")
"""
    found = python("-c", script)
    assert found.stdout.splitlines()[-1] == "photo-\\udcff.png", found.stderr


def test_a_bug_ends_with_the_status_of_errors_not_of_anomalies():
    script = """
import sys
import skpadim.model_file
from skpadim.command import main
def fail(path):
    raise RuntimeError("nobody thought of it")
skpadim.model_file.load_model = fail
sys.argv = ["skpadim", "threshold", "line3.skpadim"]
main()
"""
    found = python("-c", script)
    assert found.returncode == 2
    assert "Traceback" in found.stderr and "RuntimeError: nobody thought of it" in found.stderr
    assert python("-m", "skpadim", "--debug", "info", "nowhere.skpadim").returncode == 2

"""The options of all commands: help that comes, values that are refused, and how commands end."""

from __future__ import annotations

import json

import pytest
import typer

import skpadim
from commands import run
from skpadim.command.app import app
from skpadim.model_file import file_digest, read_card

COMMANDS = ["fit", "inspect", "report", "evaluate", "threshold", "info", "check", "watch", "datasets"]


def test_help_names_all_commands_and_what_the_status_means():
    text = run("--help").stdout
    assert all(f" {command} " in text for command in COMMANDS)
    words = " ".join(text.split())
    assert "0 if all is good, 1 if there are anomalies, 2 on errors, 130 after Ctrl-C" in words


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command):
    assert "Usage: skpadim " in run(command, "-h").stdout.replace("root", "skpadim", 1)
    parameters = typer.main.get_command(app).commands[command].params
    assert all(getattr(each, "help", "") for each in parameters if each.param_type_name == "option")


def test_version():
    assert run("--version").stdout == f"skpadim {skpadim.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit"],
        ["inspect", "m.skpadim"],
        ["bogus"],
        ["fit", "a", "-o", "b", "--seed", "x"],
        ["fit", "a", "-o", "b", "--image-size", "big"],
    ],
)
def test_wrong_usage_ends_with_2(arguments):
    assert "Error" in run(*arguments, status=2).stderr


def test_debug_lets_errors_through(tmp_path):
    arguments = ["info", tmp_path / "absent.skpadim"]
    assert "Error: model" in run(*arguments, status=2).stderr
    with pytest.raises(ValueError, match="there is no such file"):
        run("--debug", *arguments)


def test_info_as_json_is_the_card_and_the_digest(model_path):
    found = json.loads(run("info", model_path, "--json").stdout)
    assert found == {**read_card(model_path), "digest": file_digest(model_path)}

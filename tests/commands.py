"""The command, run in this process."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from skpadim.command.app import app


def run(*arguments, status=0):
    """Run it with these arguments; the status must be as expected."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result


def json_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_time(verdicts):
    return [
        {name: value for name, value in verdict.items() if name != "inspected_at"} for verdict in verdicts
    ]

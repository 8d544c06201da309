"""docs/cli-reference.md names every command, every option and every exit status, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cyclopts import App

from lambent.cli import app
from lambent.cli.failure import ExitStatus

PAGE = (Path(__file__).parents[2] / "docs" / "cli-reference.md").read_text()
SECTIONS = dict(re.findall(r"^## lambent (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
COMMANDS = sorted(name for name in app.resolved_commands() if not name.startswith("-"))
GROUPS = [(command, verb) for command in COMMANDS for verb in app[command].resolved_commands() if verb[0] != "-"]


def verbs(of: App) -> list[str]:
    return [name for name in of.resolved_commands() if not name.startswith("-")]


def options(command: str) -> set[str]:
    """Those of a command, or of all the verbs of a group."""
    group = app[command]
    leaves = [group[verb] for verb in verbs(group)] or [group]
    arguments = [argument for leaf in leaves for argument in leaf.assemble_argument_collection()]
    return {name for argument in arguments for name in argument.names if name.startswith("-")}


def test_every_command_has_its_section() -> None:
    assert sorted(SECTIONS) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_described_and_no_other(command: str) -> None:
    cells = [line.split("|")[1] for line in SECTIONS[command].splitlines() if line.startswith("| `-")]

    assert {name for cell in cells for name in re.findall(r"`(--?[a-z-]+)", cell)} == options(command)


@pytest.mark.parametrize(("command", "verb"), GROUPS)
def test_every_verb_of_a_group_is_described(command: str, verb: str) -> None:
    assert f"`lambent {command} {verb}" in SECTIONS[command]


def test_every_exit_status_is_described() -> None:
    described = {int(status) for status in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}

    assert described == {*ExitStatus, 130}

"""docs/command-line.md names every command and every exit code, as the code has them."""

from __future__ import annotations

import re

import typer
from typer.core import TyperGroup

from autoscaler.cli import commands
from autoscaler.cli.exit_codes import ExitCode
from tests.docs.test_docs import ROOT

PAGE = (ROOT / "docs/command-line.md").read_text("utf-8")


def test_every_command_is_in_the_table_with_the_words_of_its_help() -> None:
    group = typer.main.get_command(commands)
    assert isinstance(group, TyperGroup)
    helps = {
        name: (command.help or "").partition("\n\n")[0] for name, command in group.commands.items()
    }
    rows = dict(re.findall(r"(?m)^\| `([a-z-]+)` \| (.+?) \| ", PAGE))

    assert list(rows) == list(helps)
    for name, words in rows.items():
        assert " ".join(helps[name].split()).startswith(words.rstrip(".")), name


def test_every_exit_code_is_in_the_table_and_no_other() -> None:
    rows = re.findall(r"(?m)^\| (\d+) \| ([A-Z]+) \| \w", PAGE)
    assert rows == [(str(code.value), code.name) for code in ExitCode]

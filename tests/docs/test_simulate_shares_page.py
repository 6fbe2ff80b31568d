"""docs/simulate-shares.md agrees with the code: its file, what it prints, and its picture."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoscaler.cli import commands
from autoscaler.simulation.together import SharedRun
from autoscaler.simulation.workers import OPTIONS
from scripts import shares_picture

PAGE = shares_picture.PAGE.read_text("utf-8")


@pytest.fixture(scope="module")
def shared() -> SharedRun:
    return shares_picture.simulated(shares_picture.written(PAGE))


def test_the_picture_is_drawn_from_the_file_of_the_page(shared: SharedRun) -> None:
    drawn = shares_picture.DRAWING.read_text("utf-8")
    assert drawn == shares_picture.drawing(shared), "run: python -m scripts.shares_picture"


def test_the_output_is_what_the_command_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shares.yaml").write_text(shares_picture.written(PAGE))
    (command,) = re.findall(r"(?m)^autoscaler (simulate --with .*)$", PAGE)
    result = CliRunner().invoke(commands, shlex.split(command), env={"COLUMNS": "100"})
    shown = re.findall(r"(?ms)^```text\n(.*?)^```", PAGE)
    assert result.stdout.startswith(shown[0])


def test_the_picture_has_the_poll_interval_of_the_command() -> None:
    assert f"--poll {shares_picture.POLL:g}s" in PAGE


def test_all_that_may_be_said_of_workers_is_named() -> None:
    assert all(f"`{name}`" in PAGE for name in OPTIONS)

"""The command `autoscaler`: exit codes, and no traceback for what a user gets wrong."""

from __future__ import annotations

import json
import os
import sys

import pytest
import typer
from typer.core import TyperGroup

from autoscaler.cli import commands, main

Capture = pytest.CaptureFixture[str]


class ProcessEnd(BaseException):
    """Stands for the end of the process."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@pytest.fixture
def autoscaler(monkeypatch: pytest.MonkeyPatch) -> Runner:
    return Runner(monkeypatch)


class Runner:
    """Runs the command with some arguments, and returns its exit code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

        def end(code: int) -> None:
            raise ProcessEnd(code)

        monkeypatch.setattr(os, "_exit", end)

    def __call__(self, *arguments: str) -> int:
        self._monkeypatch.setattr(sys, "argv", ["autoscaler", *arguments])
        with pytest.raises(ProcessEnd) as caught:
            main()
        return caught.value.code


def test_a_command_that_did_what_it_should_ends_with_0(autoscaler: Runner, capsys: Capture) -> None:
    assert autoscaler("labels", "--markdown") == 0
    assert capsys.readouterr().out.startswith("# Labels")


def test_every_verb_is_listed_in_the_help(autoscaler: Runner, capsys: Capture) -> None:
    assert autoscaler("--help") == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in ("run", "plan", "status", "labels"))


@pytest.mark.parametrize("verb", ["run", "plan", "status"])
def test_wrong_settings_end_it_with_2_and_a_line_for_each(
    autoscaler: Runner, capsys: Capture, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setenv("AUTOSCALER_DRYRUN", "true")
    monkeypatch.setenv("AUTOSCALER_POLL_INTERVAL", "often")
    assert autoscaler(verb) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[:2] for line in err.splitlines()] == [
        ["autoscaler:", "AUTOSCALER_DRYRUN"],
        ["autoscaler:", "AUTOSCALER_POLL_INTERVAL='often':"],
    ]


def test_a_plan_that_failed_ends_with_1(
    autoscaler: Runner, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert autoscaler("plan", "--json") == 1
    out, err = capsys.readouterr()
    planned = json.loads(out)
    (error,) = planned["errors"]
    assert "no Docker Engine answers at unix:///nowhere/docker.sock (No such file" in error
    assert (planned["services"], err) == ([], f"autoscaler: {error}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            ["paln"],
            "No such command 'paln'. Did you mean 'plan'? See `autoscaler --help`.",
            id="unknown-verb",
        ),
        pytest.param(
            ["plan", "--josn"],
            "No such option: --josn (Possible options: --json) See `autoscaler plan --help`.",
            id="unknown-option",
        ),
        pytest.param(
            ["integrations", "remove"],
            "Missing argument 'NAME'. See `autoscaler integrations remove --help`.",
            id="nothing-named",
        ),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_one_line(
    autoscaler: Runner, capsys: Capture, arguments: list[str], words: str
) -> None:
    assert autoscaler(*arguments) == 2
    assert capsys.readouterr() == ("", f"autoscaler: {words}\n")


@pytest.mark.parametrize("arguments", [(), ("integrations",)], ids=["no-verb", "no-second-verb"])
def test_without_a_verb_the_help_is_shown(
    autoscaler: Runner, capsys: Capture, arguments: tuple[str, ...]
) -> None:
    assert autoscaler(*arguments) == 2
    out, err = capsys.readouterr()
    assert "Usage: autoscaler" in out
    assert err == ""


def test_every_verb_has_a_short_help_too(autoscaler: Runner, capsys: Capture) -> None:
    for verb in every_verb():
        assert autoscaler(*verb, "-h") == 0
        assert f"Usage: autoscaler {' '.join(verb)}".rstrip() in capsys.readouterr().out


def every_verb() -> list[list[str]]:
    """Return the words of every command and of every group of commands."""
    group = typer.main.get_command(commands)
    assert isinstance(group, TyperGroup)
    within = group.commands["integrations"]
    assert isinstance(within, TyperGroup)
    return [
        [],
        *([name] for name in group.commands),
        *(["integrations", name] for name in within.commands),
    ]

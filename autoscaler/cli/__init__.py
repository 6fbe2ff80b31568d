"""The command line: one file for each verb; parse, call, print."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from typing import Annotated

import typer

from autoscaler.cli import (
    agent,
    doctor,
    integrations,
    labels,
    overrides,
    pause,
    plan,
    resume,
    run,
    scale_flags,
    set,  # noqa: A004 - a file is named like its verb
    simulate,
    status,
    unset,
)
from autoscaler.core.errors import ConfigurationError, OverrideError

commands = typer.Typer(
    name="autoscaler",
    help="Scales Docker Compose and Swarm services by the backlog of their Temporal task queues.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if asked:
        print(metadata.version("temporal-docker-autoscaler"))  # noqa: T201
        raise typer.Exit


@commands.callback()
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


for name, verb in (
    ("run", run.run),
    ("plan", plan.plan),
    ("status", status.status),
    ("doctor", doctor.doctor),
    ("pause", pause.pause),
    ("resume", resume.resume),
    ("set", set.set_values),
    ("unset", unset.unset),
    ("overrides", overrides.overrides),
    ("scale-flags", scale_flags.scale_flags),
    ("simulate", simulate.simulate),
    ("labels", labels.labels),
    ("agent", agent.agent),
):
    commands.command(name)(verb)
commands.add_typer(integrations.commands, name="integrations")


def main() -> None:
    """Run the command line and end the process with its exit code."""
    code: int | str | None = 0
    try:
        commands()
    except SystemExit as end:
        code = end.code
    except OverrideError as error:
        for problem in error.problems:
            print(f"autoscaler: {problem}", file=sys.stderr)  # noqa: T201
        code = 2
    except ConfigurationError as error:
        print("autoscaler: the configuration is wrong:", file=sys.stderr)  # noqa: T201
        for problem in error.problems:
            print(f"  {problem}", file=sys.stderr)  # noqa: T201
        code = 2
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: it waits for threads that wait for a container to stop, and an interpreter that
    # shuts down right after a call of the Temporal client may crash in the client's threads.
    os._exit(code if isinstance(code, int) else 0)

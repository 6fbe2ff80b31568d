"""The command line: one file for each verb; parse, call, print."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from typing import Annotated

import typer

from autoscaler.cli import (
    agent,
    completion,
    doctor,
    integrations,
    labels,
    overrides,
    pause,
    plan,
    resume,
    run,
    say,
    scale_flags,
    set,  # noqa: A004 - a file is named like its verb
    simulate,
    status,
    unset,
)
from autoscaler.cli.exit_codes import ExitCode
from autoscaler.cli.verbs import Verbs

commands = typer.Typer(
    name="autoscaler",
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Scales Docker Compose and Swarm services by the backlog of their Temporal task queues.",
    no_args_is_help=True,
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
    ("completion", completion.completion),
):
    commands.command(name)(verb)
commands.add_typer(integrations.commands, name="integrations")


def main() -> None:
    """Run the command line and end the process with its exit code."""
    code: int | str | None = ExitCode.DONE
    try:
        commands(prog_name=completion.PROGRAM)
    except SystemExit as end:
        code = end.code
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        # Who read the output has gone, as `head` does: there is nobody to tell.
        code = ExitCode.TROUBLE
    except OSError as error:
        say.error(f"the output could not be written ({error.strerror})")
        code = ExitCode.TROUBLE
    # Not sys.exit: it waits for threads that wait for a container to stop, and an interpreter that
    # shuts down right after a call of the Temporal client may crash in the client's threads.
    os._exit(code if isinstance(code, int) else ExitCode.DONE)

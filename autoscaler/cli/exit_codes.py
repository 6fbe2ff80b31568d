"""How a command ends: the exit codes, and the lines on standard error that go with them."""

from __future__ import annotations

from enum import IntEnum

import typer

from autoscaler.cli import say
from autoscaler.core.errors import AutoscalerError, ConfigurationError


class ExitCode(IntEnum):
    """The exit codes of every command; docs/command-line.md says what they mean."""

    DONE = 0
    """It did what was asked, and found nothing that somebody has to see to."""
    TROUBLE = 1
    """Something could not be done, or was found that somebody has to see to."""
    USAGE = 2
    """Something that the user wrote is wrong. Nothing was done."""
    INTERRUPTED = 130
    """Ctrl-C ended it; a shell counts 128 and the number of the signal."""


def ended_by(error: AutoscalerError | typer.TyperException | typer.Abort) -> ExitCode:
    """Print why a command ends early, a line for each problem; return its exit code."""
    match error:
        case ConfigurationError():
            for problem in error.problems:
                say.error(problem)
            return ExitCode.USAGE
        case AutoscalerError():
            say.error(str(error))
            return ExitCode.TROUBLE
        case typer.TyperException():
            # The message is empty where typer has printed the help already.
            if message := error.format_message():
                context = getattr(error, "ctx", None)
                command = context.command_path if context is not None else "autoscaler"
                end = "" if message.endswith((".", "?", ")")) else "."
                say.error(f"{message}{end} See `{command} --help`.")
            return ExitCode.USAGE
        case typer.Abort():
            return ExitCode.INTERRUPTED

"""The group of all verbs, which ends every command in one style."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from autoscaler.cli.exit_codes import ExitCode, ended_by
from autoscaler.core.errors import AutoscalerError


class Verbs(TyperGroup):
    """Runs a verb. What ends it early is told in the same form for all of them."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line and raise SystemExit with one of the exit codes."""
        try:
            # Typer then raises what is wrong with the command line instead of drawing a box.
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except (AutoscalerError, typer.TyperException, typer.Abort) as error:
            code = ended_by(error)
        sys.exit(code or ExitCode.DONE)

"""Printing findings: a line each, or a list of objects for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

import typer

from autoscaler.cli.exit_codes import ExitCode
from autoscaler.core.findings import Finding, Outcome


def show(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print findings. Raises typer.Exit with TROUBLE when something needs doing."""
    if as_json:
        objects = [
            {"subject": each.subject, "outcome": each.outcome.value, "text": each.text}
            for each in findings
        ]
        print(json.dumps(objects, indent=2))  # noqa: T201
    else:
        for each in findings:
            print(f"{each.outcome.value:<7}  {each.subject}: {each.text}")  # noqa: T201
    if any(each.outcome is not Outcome.OK for each in findings):
        raise typer.Exit(ExitCode.TROUBLE)

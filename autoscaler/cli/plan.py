"""autoscaler plan"""

from __future__ import annotations

import asyncio
import json as jsonlib
import sys
from datetime import timedelta
from math import inf
from typing import Annotated

import typer
from rich.console import Console

from autoscaler import present
from autoscaler.app import build
from autoscaler.core.report import TickReport
from autoscaler.reconcile import Reconciler
from autoscaler.settings import Settings


def plan(
    *,
    json: Annotated[
        bool, typer.Option(help="Print the object that /api/services returns, for programs.")
    ] = False,
) -> None:
    """Look once, decide, print what would be done, change nothing.

    Exit code 1 when an engine, a backlog or a label kept a service from being planned.
    """
    settings = Settings.load()
    # The budget spreads the calls of a daemon over time. A single tick reads everything at once.
    app = build(settings.model_copy(update={"rpc_budget": inf}))
    report = asyncio.run(_look(app.reconciler))
    planned = present.tick(report, app.redactor)
    if json:
        print(jsonlib.dumps(planned, indent=2))  # noqa: T201
    else:
        _print_table(planned, report, settings.label_prefix)
    for error in planned["errors"]:
        print(f"autoscaler: {error}", file=sys.stderr)  # noqa: T201
    if report.failed:
        raise typer.Exit(1)


async def _look(reconciler: Reconciler) -> TickReport:
    report = await reconciler.tick(act=False)
    await reconciler.close(timedelta())
    return report


def _print_table(planned: present.Plain, report: TickReport, prefix: str) -> None:
    # Square brackets in names and errors are no markup.
    console = Console(markup=False, highlight=False)
    if report.services:
        console.print(present.services_table(planned["services"], report.at))
    elif not report.errors:
        console.print(
            f"No service carries a label of the autoscaler. Add {prefix}.queue=NAME to one, on"
            " Compose under labels, on Swarm under deploy.labels; `autoscaler labels` lists the"
            " others.",
            soft_wrap=True,
        )

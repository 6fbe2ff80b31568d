"""autoscaler plan"""

from __future__ import annotations

import asyncio
import json as jsonlib
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import Console

from autoscaler import present
from autoscaler.app import build
from autoscaler.cli import say, table
from autoscaler.cli.exit_codes import ExitCode
from autoscaler.core.errors import ConfigurationError
from autoscaler.core.report import TickReport
from autoscaler.core.zones import YEARS, moment
from autoscaler.reconcile import Reconciler
from autoscaler.settings import Settings

_LOCAL, _WITH_OFFSET = "2027-03-28T02:30", "2027-03-28T02:30+01:00"
"""How people write a time, in the daemon's zone or with an offset of its own."""


def plan(
    *,
    json: Annotated[
        bool, typer.Option(help="Print the object that /api/services returns, for programs.")
    ] = False,
    at: Annotated[
        str | None,
        typer.Option(
            help=f"Plan with the schedules of another time, such as {_LOCAL}, in"
            " AUTOSCALER_TIMEZONE where it has no offset.",
            metavar="<time>",
        ),
    ] = None,
) -> None:
    """Look once, decide, print what would be done, change nothing.

    With --at, backlogs and replicas are those of now. Exit code 1 when an engine, a backlog or a
    label kept a service from being planned.
    """
    settings = Settings.load()
    scheduled_at = None if at is None else _read_time(at, settings.timezone)
    # The budget spreads the calls of a daemon over time. A single tick reads everything at once.
    app = build(settings.model_copy(update={"rpc_budget": inf}))
    report = asyncio.run(_look(app.reconciler, scheduled_at))
    planned = present.tick(report, app.redactor)
    if json:
        print(jsonlib.dumps(planned, indent=2))  # noqa: T201
    else:
        if scheduled_at is not None:
            wall = scheduled_at.astimezone(settings.timezone)
            print(f"With the schedules of {wall:%a %Y-%m-%d %H:%M %Z}:")  # noqa: T201
        _print_table(planned, report, settings.label_prefix)
    for warning in planned["warnings"]:
        say.warning(warning)
    for error in planned["errors"]:
        say.error(error)
    if report.failed:
        raise typer.Exit(ExitCode.TROUBLE)


def _read_time(text: str, zone: ZoneInfo) -> datetime:
    """Return the moment that `--at` names, in UTC, and warn where clocks skip it.

    Raises ConfigurationError.
    """
    try:
        given = datetime.fromisoformat(text.strip())
    except ValueError:
        given = None
    if given is None or ":" not in text or given.year not in YEARS:
        problem = f"--at={text!r} must be a date and time such as {_LOCAL}, or {_WITH_OFFSET}"
        raise ConfigurationError([problem])
    if given.tzinfo is not None:
        return given.astimezone(UTC)
    found = moment(given, zone)
    wall = found.astimezone(zone)
    if wall.replace(tzinfo=None, fold=0) != given:
        say.warning(
            f"{given:%Y-%m-%d %H:%M} does not exist in {zone}, where clocks"
            f" skip it: {wall:%H:%M %Z} is planned for, the end of the gap"
        )
    return found


async def _look(reconciler: Reconciler, scheduled_at: datetime | None) -> TickReport:
    report = await reconciler.tick(act=False, scheduled_at=scheduled_at)
    await reconciler.close(timedelta())
    return report


def _print_table(planned: present.Plain, report: TickReport, prefix: str) -> None:
    # Square brackets in names and errors are no markup.
    console = Console(markup=False, highlight=False)
    if report.services:
        console.print(table.services_table(planned["services"], report.at))
    elif not (report.errors or report.left_alone):
        console.print(
            f"No service carries a label of the autoscaler. Add {prefix}.queue=NAME to one, on"
            " Compose under labels, on Swarm under deploy.labels; `autoscaler labels` lists the"
            " others.",
            soft_wrap=True,
        )
    for limit in planned["limits"]:
        console.print(table.shared(limit), soft_wrap=True)
    if planned["memory"] is not None:
        console.print(table.host_memory(planned["memory"]), soft_wrap=True)
    if report.left_alone:
        console.print(table.left_alone(planned["left_alone"]), soft_wrap=True)

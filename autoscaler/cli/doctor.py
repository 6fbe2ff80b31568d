"""autoscaler doctor"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

import typer

from autoscaler.app import App, build
from autoscaler.cli import say
from autoscaler.cli.findings import show
from autoscaler.core.durations import format_duration, seconds_passed
from autoscaler.core.errors import IntegrationError
from autoscaler.core.findings import Finding, Outcome, examine_services
from autoscaler.core.report import TickReport
from autoscaler.core.spec import DEFAULT_INTEGRATION
from autoscaler.settings import Settings


def doctor(
    *, json: Annotated[bool, typer.Option(help="A list of objects, for programs.")] = False
) -> None:
    """Examine the engine, its host, the overrides, every Temporal connection and every service.

    Prints what is right, what is wrong and what to do. Changes nothing. Exit code 1 when something
    needs doing.
    """
    show(asyncio.run(_examine(Settings.load())), as_json=json)


async def _examine(settings: Settings) -> Sequence[Finding]:
    app = build(settings)
    found = [*await app.examine_engine(), *await app.examine_host(), app.examine_state()]
    found += await app.examine_agents()
    report = await app.reconciler.tick(act=False)
    graces = await app.examine_graces(_say_that_it_waits)
    names, problems = _names(app, report)
    found += problems
    found += await app.examine_integrations(names)
    # The tick meets the same errors of the engine again.
    known = {finding.text for finding in found}
    found += [finding for finding in examine_services(report) if finding.text not in known]
    found += graces
    await app.reconciler.close(timedelta())
    return found


def _say_that_it_waits(span: timedelta) -> None:
    """Say on stderr what takes so long."""
    say.note(
        f"waiting {format_duration(seconds_passed(span))} for the next heartbeats of workers at"
        " work: services without a stop_grace_period may interrupt their tasks"
    )


def _names(app: App, report: TickReport) -> tuple[list[str], list[Finding]]:
    """Return the integrations to examine: those set up and those that services use."""
    used = {integration.name for integration in report.integrations}
    try:
        known = set(app.integrations.names())
    except IntegrationError as error:
        return sorted(used), [Finding("encrypted store", Outcome.WRONG, str(error))]
    return sorted(known | used) or [DEFAULT_INTEGRATION], []

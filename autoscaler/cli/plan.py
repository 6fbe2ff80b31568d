"""autoscaler plan"""

from __future__ import annotations

import asyncio
import json as jsonlib
import sys
from datetime import timedelta
from math import inf
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from autoscaler.app import build
from autoscaler.core.report import ServiceReport, TickReport
from autoscaler.settings import Settings


def plan(
    *, json: Annotated[bool, typer.Option(help="A list of objects, for programs.")] = False
) -> None:
    """Look once, decide, print what would be done, change nothing.

    Exit code 1 when an engine, a backlog or a label kept a service from being planned.
    """
    settings = Settings.load()
    report = asyncio.run(_look(settings))
    if json:
        print(jsonlib.dumps([_as_json(service) for service in report.services], indent=2))  # noqa: T201
    else:
        _print_table(report, settings.label_prefix)
    for error in report.errors:
        print(f"autoscaler: {error}", file=sys.stderr)  # noqa: T201
    if report.failed:
        raise typer.Exit(1)


async def _look(settings: Settings) -> TickReport:
    # A single look is no load that lasts: everything is read at once.
    reconciler = build(settings.model_copy(update={"rpc_budget": inf})).reconciler
    report = await reconciler.tick(act=False)
    await reconciler.close(timedelta())
    return report


def _as_json(report: ServiceReport) -> dict[str, Any]:
    return {
        "service": report.service.name,
        "orchestrator": report.service.orchestrator,
        "queues": list(report.queues),
        "backlog": report.backlog,
        "replicas": report.replicas,
        "desired": report.desired,
        "reasons": [str(reason) for reason in report.reasons],
        "warnings": list(report.warnings),
        "error": "; ".join(report.errors) or None,
    }


def _print_table(report: TickReport, prefix: str) -> None:
    # Square brackets in names and errors are no markup.
    console = Console(markup=False, highlight=False)
    if not report.services and not report.errors:
        console.print(
            f"No service carries a label of the autoscaler. Add {prefix}.queue=NAME to one, on"
            " Compose under labels, on Swarm under deploy.labels; `autoscaler labels` lists the"
            " others.",
            soft_wrap=True,
        )
        return
    table = Table("service", "queue", "backlog", "replicas", "why")
    for service in report.services:
        change = (
            str(service.replicas)
            if service.desired == service.replicas
            else f"{service.replicas} -> {service.desired}"
        )
        why = [str(reason) for reason in service.reasons]
        why += [f"warning: {warning}" for warning in service.warnings]
        why += [f"error: {error}" for error in service.errors]
        table.add_row(
            str(service.service),
            ", ".join(service.queues),
            "unknown" if service.backlog is None else f"{service.backlog:,}",
            change,
            "\n".join(why),
        )
    if report.services:
        console.print(table)

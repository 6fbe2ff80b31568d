"""What `simulate --with` prints: the services that share limits beside each other."""

from __future__ import annotations

import dataclasses
import json as jsonlib
from typing import Any

from rich.console import Console
from rich.table import Table

from autoscaler.cli import chart
from autoscaler.cli.figures import NO_EFFECT, print_charts, rows, seconds
from autoscaler.core.words import figure
from autoscaler.simulation.together import MemberRun, SharedRun
from autoscaler.simulation.trace import Measure


def print_together(shared: SharedRun, *, json: bool) -> None:
    """Print a table with a column for each service, the limits, and charts; or JSON."""
    if json:
        print(jsonlib.dumps(_as_json(shared), indent=2))  # noqa: T201
        return
    console = Console(markup=False, highlight=False)
    console.print(_table(shared))
    for limit in shared.limits:
        console.print(
            f"{limit.name}: at most {figure(limit.peak)} of {figure(limit.most)} replicas in use",
            soft_wrap=True,
        )
    for each in shared.members:
        if each.member.trace.measure is Measure.BACKLOG:
            console.print(f"The trace of {each.member.name} {NO_EFFECT}", soft_wrap=True)
    for each in shared.members:
        trace, timezone = each.member.trace, each.member.spec.timezone
        begins = trace.begins.astimezone(timezone) if trace.dated else None
        print_charts(console, _lines(each), begins)


def _table(shared: SharedRun) -> Table:
    table = Table("service")
    for each in shared.members:
        table.add_column(each.member.name, justify="right")
    columns = [
        {
            "trace": each.member.trace.name,
            **rows(each.run.figures),
            "held by a share": seconds(each.held, "unknown"),
        }
        for each in shared.members
    ]
    for row in columns[0]:
        table.add_row(row, *(column[row] for column in columns))
    return table


def _lines(each: MemberRun) -> dict[str, dict[str, chart.Line]]:
    """Return the lines of each chart of a service, by the titles of the charts."""
    name, steps = each.member.name, each.run.steps
    wishes = zip(steps, each.wishes, strict=True)
    return {
        f"{name}: waiting tasks": {"waiting": [(step.at, step.backlog) for step in steps]},
        f"{name}: replicas": {
            # The second line is drawn over the first where both are the same.
            "wished": [(step.at, wished) for step, wished in wishes],
            "replicas": [(step.at, step.replicas) for step in steps],
        },
    }


def _as_json(shared: SharedRun) -> dict[str, Any]:
    return {
        "services": [_service(each) for each in shared.members],
        "limits": [dataclasses.asdict(limit) for limit in shared.limits],
    }


def _service(each: MemberRun) -> dict[str, Any]:
    trace, steps = each.member.trace, each.run.steps
    return {
        "name": each.member.name,
        "trace": trace.name,
        "measure": trace.measure.value,
        "begins": trace.begins.isoformat(),
        "held_by_share": each.held,
        "figures": dataclasses.asdict(each.run.figures),
        "looks": [
            {**dataclasses.asdict(step), "wished": wished}
            for step, wished in zip(steps, each.wishes, strict=True)
        ],
    }

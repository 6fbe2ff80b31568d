"""A tick as plain data and as tables: what `plan`, `status`, the page and the API show.

In the data, moments are in seconds since 1970, ages in whole seconds and rates in tasks a second.
What is unknown is None. Secrets are hidden in every text that may quote one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.table import Table
from rich.text import Text

from autoscaler.core.durations import format_duration
from autoscaler.core.findings import expires_soon
from autoscaler.core.model import QueueStats, ScalingAction, TaskQueue
from autoscaler.core.redaction import Redactor
from autoscaler.core.report import IntegrationReport, ServiceReport, TickReport

Plain = dict[str, Any]
"""A report or a part of one, made of what JSON can hold."""

BEFORE_THE_FIRST_TICK: Plain = {"at": None, "took": 0.0, "errors": [], "integrations": []}
"""What stands in place of a summary until a tick has ended."""


# ---------------------------------------------------------------------- plain data


def tick(report: TickReport, redactor: Redactor) -> Plain:
    """Return a whole tick: the object that `plan --json` prints and `/api/services` returns."""
    services = [service(each, redactor) for each in report.services]
    return {**summary(report, redactor), "services": services}


def summary(report: TickReport, redactor: Redactor) -> Plain:
    """Return what a tick says apart from its services."""
    return {
        "at": _moment(report.at),
        "took": round(report.took.total_seconds(), 3),
        "errors": _hidden(report.errors, redactor),
        "integrations": [_integration(each, report.at, redactor) for each in report.integrations],
    }


def service(
    report: ServiceReport,
    redactor: Redactor,
    *,
    unseen: bool = False,
    changes: Iterable[Plain] = (),
) -> Plain:
    """Return one service.

    `unseen` says that the report is older than the latest tick, which did not see the service.
    `changes` are the latest changes of replicas that are known, the oldest first.
    """
    return {
        "service": report.service.name,
        "orchestrator": report.service.orchestrator,
        "queues": list(report.queues),
        "backlog": report.backlog,
        "age": None if report.age is None else _seconds(report.age),
        "parts": sorted(
            (_part(queue, stats) for queue, stats in report.parts.items()),
            key=lambda part: (part["queue"], part["type"]),
        ),
        "replicas": report.replicas,
        "desired": report.desired,
        "min": report.min,
        "max": report.max,
        "busy": report.busy,
        "draining": report.draining,
        "interrupted": report.interrupted,
        "reasons": [
            {
                "code": reason.code.value,
                "text": redactor.hide(reason.text),
                "bearing": reason.code.bearing.value,
            }
            for reason in report.reasons
        ],
        "warnings": _hidden(report.warnings, redactor),
        "errors": _hidden(report.errors, redactor),
        "dry_run": report.dry_run,
        "unseen": unseen,
        "changes": list(changes),
    }


def change(action: ScalingAction, at: datetime, redactor: Redactor) -> Plain:
    """Return a change of replicas that was started at a moment."""
    return {
        "at": _moment(at),
        "current": action.current,
        "desired": action.desired,
        "reasons": _hidden(map(str, action.reasons), redactor),
    }


def _integration(report: IntegrationReport, now: datetime, redactor: Redactor) -> Plain:
    ends = report.expires_at
    return {
        "name": report.name,
        "endpoint": report.endpoint,
        "namespace": report.namespace,
        "origin": report.origin,
        "up": report.up,
        "error": None if report.error is None else redactor.hide(report.error),
        "expires_at": None if ends is None else _moment(ends),
        "expires_soon": ends is not None and expires_soon(ends, now),
    }


def _part(queue: TaskQueue, stats: QueueStats) -> Plain:
    return {
        "queue": queue.name,
        "type": queue.type.value,
        "integration": queue.integration,
        "namespace": queue.namespace,
        "waiting": stats.waiting,
        "age": _seconds(stats.age),
        "add_rate": round(stats.add_rate, 1),
        "dispatch_rate": round(stats.dispatch_rate, 1),
        "pollers": stats.pollers,
        "rate_limited": stats.rate_limited,
    }


def _hidden(texts: Iterable[str], redactor: Redactor) -> list[str]:
    return [redactor.hide(text) for text in texts]


def _moment(at: datetime) -> float:
    """Return seconds since 1970, to the millisecond."""
    return round(at.timestamp(), 3)


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())


# ---------------------------------------------------------------------- tables


def services_table(services: Sequence[Plain], now: datetime) -> Table:
    """Draw services, a row for each, with the age of their latest change at `now`."""
    table = Table("service", "queue", "backlog", "replicas", "why")
    for each in services:
        table.add_row(
            Text(each["service"]),
            Text(", ".join(each["queues"])),
            _backlog_cell(each),
            _replicas_cell(each),
            Text("\n").join(_why(each, now)),
        )
    return table


def connections_table(integrations: Sequence[Plain], now: datetime) -> Table:
    """Draw the Temporal connections, a row for each."""
    states = {True: Text("up", "green"), False: Text("down", "red"), None: Text("not used")}
    table = Table("connection", "endpoint", "namespace", "state")
    for each in integrations:
        lines = [states[each["up"]]]
        if each["expires_at"] is not None:
            end = datetime.fromtimestamp(each["expires_at"], UTC)
            verb = "expires" if end > now else "expired"
            lines.append(Text(f"{verb} {end:%Y-%m-%d %H:%M} UTC"))
        if each["error"]:
            lines.append(Text(each["error"], "red"))
        table.add_row(
            Text(each["name"]),
            Text(each["endpoint"]),
            Text(each["namespace"]),
            Text("\n").join(lines),
        )
    return table


def ago(at: float, now: datetime) -> str:
    """Return how long before `now` a moment was, such as `5s ago`."""
    passed = max(0.0, now.timestamp() - at)
    return f"{format_duration(timedelta(seconds=int(passed)))} ago"


def _backlog_cell(service: Plain) -> str:
    if service["backlog"] is None:
        return "unknown"
    oldest = f"\noldest {format_duration(timedelta(seconds=service['age']))}"
    return f"{service['backlog']:,}{oldest if service['backlog'] else ''}"


def _replicas_cell(service: Plain) -> str:
    replicas, desired = service["replicas"], service["desired"]
    notes = [] if service["max"] is None else [f"{service['min']}-{service['max']}"]
    if service["busy"] is not None:
        notes.append(f"{service['busy']} busy")
    if service["draining"]:
        notes.append(f"{service['draining']} draining")
    lines = [f"{replicas}" if desired == replicas else f"{replicas} -> {desired}"]
    lines += [", ".join(notes)] if notes else []
    return "\n".join(lines)


def _why(service: Plain, now: datetime) -> list[Text]:
    lines = [Text(reason["text"]) for reason in service["reasons"]]
    if service["dry_run"]:
        lines.append(Text("dry run: nothing is changed"))
    if service["unseen"]:
        lines.append(Text("not seen at the latest look", "red"))
    lines += [Text(f"warning: {warning}", "yellow") for warning in service["warnings"]]
    lines += [Text(f"error: {error}", "red") for error in service["errors"]]
    for latest in service["changes"][-1:]:
        text = f"{ago(latest['at'], now)}: {latest['current']} -> {latest['desired']}"
        lines.append(Text(text, "dim"))
    return lines

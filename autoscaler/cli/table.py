"""What `plan` and `status` show at a terminal: tables, and the sentences below them.

They are made of the plain data of present.py, so that a daemon elsewhere can be shown as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from rich.table import Table
from rich.text import Text

from autoscaler.core.durations import format_duration
from autoscaler.core.host_memory import MEMORY
from autoscaler.core.origin import LABEL
from autoscaler.core.override import time_left
from autoscaler.core.words import counted, figure
from autoscaler.present import Plain


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


def shared(limit: Plain) -> str:
    """Return a sentence about a limit that services share, such as `group gpu: 4 of 4 replicas`."""
    used = f"{limit['name']}: {figure(limit['replicas'])} of {counted(limit['most'], 'replica')}"
    more = limit["wished"] > limit["most"]
    return f"{used}, {figure(limit['wished'])} wished" if more else used


def host_memory(memory: Plain) -> str:
    """Return a sentence about the memory of the host."""
    return f"{MEMORY}: {memory['text']}"


def left_alone(services: Sequence[str]) -> str:
    """Return a sentence about labelled services that are not looked after."""
    return (
        f"Left alone: {', '.join(services)}. They belong to other projects; AUTOSCALER_PROJECTS=*"
        " looks after all."
    )


def ago(at: float, now: datetime) -> str:
    """Return how long before `now` a moment was, such as `5s ago`."""
    passed = max(0.0, now.timestamp() - at)
    return f"{format_duration(timedelta(seconds=int(passed)))} ago"


def set_live(override: Plain, now: datetime) -> str:
    """Return a sentence about a value that was set live, such as `paused until ... by anna`."""
    left = ""
    end = "until it is removed"
    if override["until"] is not None:
        until = datetime.fromtimestamp(override["until"], UTC)
        same_day = until.date() == now.astimezone(UTC).date()
        end = f"until {until:{'%H:%M' if same_day else '%Y-%m-%d %H:%M'}} UTC"
        left = f" ({time_left(until, now)})"
    because = f": {override['reason']}" if override["reason"] else ""
    return f"{override['what']} {end}{left} by {override['by']}{because}"


def _backlog_cell(service: Plain) -> str:
    if service["backlog"] is None:
        return "unknown"
    waiting = figure(service["backlog"])
    if service["shared_with"]:
        waiting = f"{waiting} of {figure(service['whole_backlog'])}"
    if not service["whole_backlog"]:
        return waiting
    if service["age"] is None:
        return f"{waiting}\nage unknown"
    return f"{waiting}\noldest {format_duration(timedelta(seconds=service['age']))}"


def _replicas_cell(service: Plain) -> str:
    replicas, desired = service["replicas"], service["desired"]
    notes = [] if service["max"] is None else [f"{figure(service['min'])}-{figure(service['max'])}"]
    if service["busy"] is not None:
        notes.append(f"{figure(service['busy'])} busy")
    if service["draining"]:
        notes.append(f"{figure(service['draining'])} draining")
    lines = [figure(replicas) if desired == replicas else _change_of(replicas, desired)]
    lines += [", ".join(notes)] if notes else []
    return "\n".join(lines)


def _change_of(current: int, desired: int) -> str:
    return f"{figure(current)} -> {figure(desired)}"


def _why(service: Plain, now: datetime) -> list[Text]:
    lines = [Text(line) for line in service["why"]]
    lines += [Text(set_live(each, now), "cyan") for each in service["overrides"]]
    if service["next_bounds"] is not None:
        lines.append(Text(service["next_bounds"]["text"], "dim"))
    if service["dry_run"]:
        lines.append(Text("dry run: nothing is changed"))
    lines += [Text(f"{each['replica']}: {each['text']}", "cyan") for each in service["drains"]]
    if service["unseen"]:
        lines.append(Text("not seen at the latest look", "red"))
    lines += [Text(f"warning: {warning}", "yellow") for warning in service["warnings"]]
    lines += [Text(f"error: {error}", "red") for error in service["errors"]]
    lines += [
        Text(f"{name}={each['value']} from {each['origin']}", "dim")
        for name, each in service["values"].items()
        if each["origin"] != LABEL
    ]
    for latest in service["changes"][-1:]:
        text = f"{ago(latest['at'], now)}: {_change_of(latest['current'], latest['desired'])}"
        lines.append(Text(text, "dim"))
    return lines

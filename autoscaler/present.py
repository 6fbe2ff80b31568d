"""A tick as plain data: what `plan`, `status`, the page and the API show.

Moments are in seconds since 1970, ages in whole seconds and rates in tasks a second.
What is unknown is None. Secrets are hidden in every text that may quote one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from autoscaler.core.backlog import Backlog, QueueStats, TaskQueue
from autoscaler.core.causes import Cause, causes
from autoscaler.core.findings import expires_soon
from autoscaler.core.host_memory import HostMemory
from autoscaler.core.model import ScalingAction
from autoscaler.core.override import Override, by_service
from autoscaler.core.reason import in_words
from autoscaler.core.redaction import Redactor
from autoscaler.core.report import IntegrationReport, LimitReport, ServiceReport, TickReport
from autoscaler.core.words import figure, size

Plain = dict[str, Any]
"""A report or a part of one, made of what JSON can hold."""

BEFORE_THE_FIRST_TICK: Plain = {
    "at": None,
    "took": 0.0,
    "errors": [],
    "warnings": [],
    "causes": [],
    "left_alone": [],
    "integrations": [],
    "limits": [],
    "memory": None,
}
"""What stands in place of a summary until a tick has ended."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known of a service from earlier ticks."""

    unseen: bool = False
    """Whether its report is older than the latest tick, which did not see the service."""
    at_max_since: datetime | None = None
    """When max was first seen to keep it from growing; None where it does not."""
    changes: Sequence[Plain] = ()
    """The latest changes of replicas, the oldest first."""


def tick(report: TickReport, redactor: Redactor) -> Plain:
    """Return a whole tick: the object that `plan --json` prints and `/api/services` returns.

    It is taken for the first tick: what lasts began with it.
    """
    set_live = by_service(report.overrides)
    services = [
        service(
            each,
            redactor,
            Remembered(at_max_since=report.at if each.at_max else None),
            overrides=set_live.get(each.service, ()),
        )
        for each in report.services
    ]
    return {**summary(report, redactor), "services": services}


def summary(
    report: TickReport, redactor: Redactor, since: Mapping[str, datetime] | None = None
) -> Plain:
    """Return what a tick says apart from its services.

    `since` has the moments when causes were first seen, by their names; others were seen now.
    """
    return {
        "at": _moment(report.at),
        "took": round(report.took.total_seconds(), 3),
        "errors": _hidden(report.errors, redactor),
        "warnings": _hidden(
            (*report.warnings, *report.wish_warnings, *report.memory_warnings), redactor
        ),
        "causes": [
            _cause(each, (since or {}).get(each.name, report.at), redactor)
            for each in causes(report)
        ],
        "left_alone": [str(each) for each in report.left_alone],
        "integrations": [_integration(each, report.at, redactor) for each in report.integrations],
        "limits": [_limit(each) for each in report.limits],
        "memory": None if report.memory is None else _memory(report.memory),
    }


def service(
    report: ServiceReport,
    redactor: Redactor,
    remembered: Remembered | None = None,
    *,
    overrides: Iterable[Override] = (),
) -> Plain:
    """Return one service, with what was set live for it.

    Of a backlog that several services share, `backlog` is the portion of this one, and
    `whole_backlog` all of it.
    """
    past = remembered or Remembered()
    backlog = Backlog(report.parts, report.shared)
    return {
        "service": report.service.name,
        "orchestrator": report.service.orchestrator,
        "queues": list(report.queues),
        "backlog": report.backlog,
        "whole_backlog": backlog.waiting_in_whole if report.shared else report.backlog,
        "shared_with": [str(each) for each in backlog.others],
        "age": None if report.age is None else _seconds(report.age),
        "parts": sorted(
            (_part(queue, stats, backlog.whole[queue]) for queue, stats in report.parts.items()),
            key=lambda part: (part["queue"], part["type"]),
        ),
        "replicas": report.replicas,
        "desired": report.desired,
        "wished": report.wished,
        "min": report.min,
        "max": report.max,
        "at_max": report.at_max,
        "at_max_since": None if past.at_max_since is None else _moment(past.at_max_since),
        "next_bounds": _next_bounds(report),
        "busy": report.busy,
        "draining": report.draining,
        "drains": [
            {"replica": each.drain.name, "fate": each.fate.value, "text": each.words}
            for each in report.drains
        ],
        "interrupted": report.interrupted,
        "crash": None if report.crash is None else redactor.hide(report.crash),
        "crashed": report.crashed,
        "throughput": report.throughput,
        "values": {
            name: {"value": redactor.hide(given.value), "origin": redactor.hide(given.origin)}
            for name, given in report.given.items()
        },
        "reasons": [
            {
                "code": reason.code.value,
                "text": redactor.hide(reason.text),
                "bearing": reason.code.bearing.value,
            }
            for reason in report.reasons
        ],
        "why": _hidden(in_words(report.reasons), redactor),
        "warnings": _hidden(report.warnings, redactor),
        "errors": _hidden(report.errors, redactor),
        "dry_run": report.dry_run,
        "unseen": past.unseen,
        "changes": list(past.changes),
        "overrides": [override(each, redactor) for each in overrides],
    }


def _cause(cause: Cause, since: datetime, redactor: Redactor) -> Plain:
    return {
        "text": redactor.hide(cause.text),
        "warning": cause.warning,
        "services": len(cause.services),
        "texts": sorted(_hidden(cause.texts, redactor)),
        "since": _moment(since),
    }


def change(action: ScalingAction, at: datetime, redactor: Redactor) -> Plain:
    """Return a change of replicas that was started at a moment."""
    return {
        "at": _moment(at),
        "current": action.current,
        "desired": action.desired,
        "reasons": _hidden(in_words(action.reasons), redactor),
    }


def override(given: Override, redactor: Redactor) -> Plain:
    """Return one value that was set live."""
    return {
        "name": given.name,
        "value": redactor.hide(given.value),
        "what": redactor.hide(given.what),
        "since": _moment(given.since),
        "until": None if given.until is None else _moment(given.until),
        "by": redactor.hide(given.by),
        "reason": redactor.hide(given.reason),
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


def _limit(report: LimitReport) -> Plain:
    return {
        "name": report.name,
        "most": report.most,
        "replicas": report.replicas,
        "wished": report.wished,
    }


def _memory(memory: HostMemory) -> Plain:
    return {
        "total": memory.total,
        "free": memory.free,
        "reserve": memory.reserve,
        "text": f"{size(memory.free)} of {size(memory.total)} free,"
        f" growth leaves {size(memory.reserve)}",
    }


def _next_bounds(report: ServiceReport) -> Plain | None:
    """Return the next change of min and max by a schedule, in words too."""
    if report.next_bounds is None or report.min is None or report.max is None:
        return None
    at, then, zone = report.next_bounds
    wall = at.astimezone(zone)
    # No date: windows come again every week. The zone tells an hour that comes twice apart.
    return {
        "at": _moment(at),
        "min": then.min,
        "max": then.max,
        "text": f"{_bounds(report.min, report.max)} until {wall:%a %H:%M %Z};"
        f" then {_bounds(then.min, then.max)}",
    }


def _bounds(fewest: int, most: int) -> str:
    return f"min {figure(fewest)}, max {figure(most)}"


def _part(queue: TaskQueue, stats: QueueStats, whole: QueueStats) -> Plain:
    return {
        "queue": queue.name,
        "type": queue.type.value,
        "integration": queue.integration,
        "namespace": queue.namespace,
        "waiting": stats.waiting,
        "whole": whole.waiting,
        "age": None if stats.age is None else _seconds(stats.age),
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

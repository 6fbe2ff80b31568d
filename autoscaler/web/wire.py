"""What goes over the wire: reports as plain data, each number in the unit its name says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from autoscaler.core.model import QueueStats, ScalingAction, TaskQueue
from autoscaler.core.report import IntegrationReport, ServiceReport

Hide = Callable[[str], str]
"""Takes secrets out of words that may quote something."""
Wire = dict[str, Any]
"""A JSON object. Ages are in whole seconds, moments in seconds since 1970, rates in tasks/s."""


def service(report: ServiceReport, hide: Hide) -> Wire:
    """Return what one tick says of a service."""
    return {
        "service": report.service.name,
        "orchestrator": report.service.orchestrator,
        "queues": list(report.queues),
        "backlog": report.backlog,
        "age": None if report.age is None else seconds(report.age),
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
        "reasons": [{"code": reason.code, "text": hide(reason.text)} for reason in report.reasons],
        "warnings": [hide(warning) for warning in report.warnings],
        "errors": [hide(error) for error in report.errors],
        "dry_run": report.dry_run,
    }


def integration(report: IntegrationReport, hide: Hide) -> Wire:
    """Return what one tick says of a Temporal connection."""
    return {
        "name": report.name,
        "endpoint": report.endpoint,
        "namespace": report.namespace,
        "origin": report.origin,
        "up": report.up,
        "error": None if report.error is None else hide(report.error),
        "expires_at": None if report.expires_at is None else moment(report.expires_at),
    }


def change(action: ScalingAction, at: datetime, hide: Hide) -> Wire:
    """Return a change of replicas that was started."""
    return {
        "at": moment(at),
        "current": action.current,
        "desired": action.desired,
        "reasons": [hide(reason.text) for reason in action.reasons],
    }


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Wire:
    """Return the entries of `after` that `before` has not, or has otherwise."""
    return {name: value for name, value in after.items() if before.get(name, ...) != value}


def moment(at: datetime) -> float:
    """Return seconds since 1970, to the millisecond."""
    return round(at.timestamp(), 3)


def seconds(span: timedelta) -> int:
    """Return whole seconds."""
    return int(span.total_seconds())


def _part(queue: TaskQueue, stats: QueueStats) -> Wire:
    return {
        "queue": queue.name,
        "type": queue.type,
        "integration": queue.integration,
        "namespace": queue.namespace,
        "waiting": stats.waiting,
        "age": seconds(stats.age),
        "add_rate": round(stats.add_rate, 1),
        "dispatch_rate": round(stats.dispatch_rate, 1),
        "pollers": stats.pollers,
        "rate_limited": stats.rate_limited,
    }

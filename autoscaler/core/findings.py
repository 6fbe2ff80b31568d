"""What an examination found: what is right, what is not, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from autoscaler.core.model import Backlog
from autoscaler.core.reason import ReasonCode
from autoscaler.core.report import ServiceReport, TickReport

EXPIRY_WARNINGS = (timedelta(days=30), timedelta(days=7), timedelta(days=1))
"""How long before a credential expires people are told, each time anew."""


class Outcome(StrEnum):
    """How urgent a finding is."""

    OK = "ok"
    WARNING = "warning"
    """It works, but something should be done."""
    WRONG = "wrong"
    """Something does not work until it is put right."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    """Such as `engine`, `integration cloud` or `service shop/worker`."""
    outcome: Outcome
    text: str
    """What was found and, where something needs doing, what to do; one line."""


def examine_services(report: TickReport) -> Iterator[Finding]:
    """Say of each labelled service what keeps it, or might keep it, from being scaled."""
    for error in report.errors:
        yield Finding("services", Outcome.WRONG, error)
    if not report.services and not report.errors:
        yield Finding(
            "services",
            Outcome.WARNING,
            "no service carries a label of the autoscaler; add temporal.queue=NAME to one,"
            " `autoscaler labels` lists the others",
        )
    for service in report.services:
        yield from _examine_service(service)


def _examine_service(report: ServiceReport) -> Iterator[Finding]:
    subject = f"service {report.service}"
    for error in report.errors:
        yield Finding(subject, Outcome.WRONG, error)
    for reason in report.reasons:
        if reason.code in _HELD:
            yield Finding(subject, Outcome.WARNING, str(reason))
    for warning in (*report.warnings, *_never_seen(report)):
        yield Finding(subject, Outcome.WARNING, warning)
    if not report.errors and report.backlog is not None:
        change = (
            f"{report.replicas} replicas are right"
            if report.replicas == report.desired
            else f"{report.replicas} replicas should be {report.desired}"
        )
        queues = ", ".join(report.queues)
        yield Finding(subject, Outcome.OK, f"follows {queues}: {report.backlog} waiting, {change}")


_HELD = {ReasonCode.REFUSED, ReasonCode.CEILING, ReasonCode.STOPPED_BY_HAND}
"""What keeps a service from being scaled whatever its backlog is."""


def _never_seen(report: ServiceReport) -> Iterator[str]:
    """Name the queues that may be a slip of the pen: the server answers for any name."""
    backlog = Backlog(report.parts)
    for queue in sorted(backlog.queues - backlog.lively_queues):
        yield (
            f"task queue {queue.name!r} has no poller, no backlog and no task added of late: unless"
            " it is new or idle, check its name and namespace, and that the workers poll it"
        )


def examine_expiry(subject: str, what: str, ends: datetime, now: datetime) -> Finding:
    """Say when a credential expires, and whether it is time to replace it."""
    day = f"{ends:%Y-%m-%d}"
    if ends <= now:
        return Finding(subject, Outcome.WRONG, f"its {what} expired on {day}: replace it")
    if ends - now <= max(EXPIRY_WARNINGS):
        return Finding(subject, Outcome.WARNING, f"its {what} expires on {day}: replace it")
    return Finding(subject, Outcome.OK, f"its {what} expires on {day}")

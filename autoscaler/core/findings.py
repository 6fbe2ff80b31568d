"""What an examination found: what is right, what is not, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from autoscaler.core.model import Backlog
from autoscaler.core.reason import Bearing
from autoscaler.core.report import ServiceReport, TickReport
from autoscaler.core.words import counted

EXPIRY_WARNINGS = (timedelta(days=30), timedelta(days=7), timedelta(days=1))
"""How long before a credential expires the log warns, once each.

From the first of them on, the credential expires soon: `doctor` and the page say so.
"""


class Outcome(StrEnum):
    """How urgent a finding is."""

    OK = "ok"
    WARNING = "warning"
    """It works, but something should be done."""
    WRONG = "wrong"
    """It does not work until somebody corrects it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was examined."""

    subject: str
    """Such as `engine`, `integration cloud` or `service shop/worker`."""
    outcome: Outcome
    text: str
    """What was found and, where something needs doing, what to do; one line."""


def examine_services(report: TickReport) -> Iterator[Finding]:
    """Yield what keeps each labelled service, or might keep it, from being scaled."""
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
        if reason.code.bearing is Bearing.TROUBLE:
            yield Finding(subject, Outcome.WARNING, str(reason))
    for warning in (*report.warnings, *_lifeless_queues(report)):
        yield Finding(subject, Outcome.WARNING, warning)
    if not report.errors and report.backlog is not None:
        queues = ", ".join(report.queues)
        yield Finding(
            subject,
            Outcome.OK,
            f"follows {queues}: {report.backlog} waiting, {_judged_replicas(report)}",
        )


def _judged_replicas(report: ServiceReport) -> str:
    replicas = counted(report.replicas, "replica")
    if report.desired != report.replicas:
        return f"{replicas} should be {report.desired:,}"
    return f"{replicas} {'is' if report.replicas == 1 else 'are'} right"


def _lifeless_queues(report: ServiceReport) -> Iterator[str]:
    """Yield a warning for each queue that may be misspelt: the server answers for any name."""
    backlog = Backlog(report.parts)
    for queue in sorted(backlog.queues - backlog.lively_queues):
        yield (
            f"task queue {queue.name!r} has no poller, no backlog and no task added of late: unless"
            " it is new or idle, check its name and namespace, and that the workers poll it"
        )


def expires_soon(ends: datetime, now: datetime) -> bool:
    """Return whether it is time to replace a credential that expires, or expired, at `ends`."""
    return ends - now <= max(EXPIRY_WARNINGS)


def examine_expiry(subject: str, what: str, ends: datetime, now: datetime) -> Finding:
    """Return a finding that says when a credential expires, and whether to replace it."""
    day = f"{ends:%Y-%m-%d}"
    if ends <= now:
        return Finding(subject, Outcome.WRONG, f"its {what} expired on {day}: replace it")
    if expires_soon(ends, now):
        return Finding(subject, Outcome.WARNING, f"its {what} expires on {day}: replace it")
    return Finding(subject, Outcome.OK, f"its {what} expires on {day}")

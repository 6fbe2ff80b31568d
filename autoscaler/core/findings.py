"""What an examination found: what is right, what is not, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from autoscaler.core.backlog import Backlog
from autoscaler.core.reason import Bearing, ReasonCode
from autoscaler.core.report import ServiceReport, TickReport
from autoscaler.core.words import agreeing, counted, figure

EXPIRY_WARNINGS = (timedelta(days=30), timedelta(days=7), timedelta(days=1))
"""How long before a credential expires the log warns, once each.

From the first of them on, the credential expires soon: `doctor` and the page say so.
"""


_LASTING = frozenset(
    {
        ReasonCode.BACKLOG,
        ReasonCode.MAX_WAIT,
        ReasonCode.SLOTS,
        ReasonCode.KEEP_UP,
        ReasonCode.ACTIVATION,
        ReasonCode.MIN,
        ReasonCode.MAX,
    }
)
"""Reasons that hold for as long as backlog and labels stay as they are. The others pass."""


class Outcome(StrEnum):
    """How urgent a finding is."""

    OK = "ok"
    WARNING = "warning"
    """It works, but something should be done."""
    WRONG = "wrong"
    """It does not work until somebody corrects it."""


HOST = "host"
"""The subject of what is said about the memory of the engine's host."""


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
    for warning in report.warnings:
        yield Finding("projects", Outcome.WARNING, warning)
    for warning in report.wish_warnings:
        yield Finding("wishes", Outcome.WARNING, warning)
    for warning in report.memory_warnings:
        yield Finding(HOST, Outcome.WARNING, warning)
    if report.left_alone:
        yield Finding(
            "projects",
            Outcome.OK,
            f"left alone: {', '.join(map(str, report.left_alone))}, which belong to other projects;"
            " AUTOSCALER_PROJECTS=* looks after all",
        )
    if not (report.services or report.errors or report.left_alone):
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
    warnings = (*report.warnings, *_lifeless_queues(report))
    for warning in warnings:
        yield Finding(subject, Outcome.WARNING, warning)
    if not report.errors and report.backlog is not None:
        queues = ", ".join(report.queues)
        judged = _judged_replicas(report, doubted=bool(warnings))
        whole = Backlog(report.parts, report.shared).waiting_in_whole
        of = f" of {figure(whole)}" if report.shared else ""
        yield Finding(
            subject,
            Outcome.OK,
            f"follows {queues}: {figure(report.backlog)}{of} waiting, {judged}",
        )


def _judged_replicas(report: ServiceReport, *, doubted: bool) -> str:
    """Say whether the number of replicas is right; where it is `doubted`, only what it is."""
    replicas = counted(report.replicas, "replica")
    if report.desired != report.replicas:
        return f"{replicas} should be {figure(report.desired)}"
    if doubted or any(reason.code.bearing is Bearing.TROUBLE for reason in report.reasons):
        return replicas
    passing = [reason for reason in report.reasons if reason.code not in _LASTING]
    if passing:
        return f"{replicas} for now ({passing[-1]})"
    return f"{replicas} {agreeing(report.replicas, 'is', 'are')} right"


def _lifeless_queues(report: ServiceReport) -> Iterator[str]:
    """Yield a warning for each queue that may be misspelt: the server answers for any name."""
    backlog = Backlog(report.parts, report.shared)
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

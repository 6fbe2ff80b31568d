"""Log lines: one for each change of replicas and each new problem, none for an idle tick."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal, NamedTuple, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from autoscaler.core.drain import Fate
from autoscaler.core.findings import EXPIRY_WARNINGS
from autoscaler.core.origin import LABEL
from autoscaler.core.reason import Bearing, ReasonCode, in_words
from autoscaler.core.redaction import Redactor
from autoscaler.core.report import IntegrationReport, ServiceReport, TickReport
from autoscaler.telemetry.overrides import OverrideLog

ENGINE = "engine"
"""Stands in place of a service where an orchestrator could not name its services."""

_EVENTS = {Fate.FINISH: "finishing", Fate.KILL: "killed", Fate.TAKE_BACK: "taken back"}
"""Names of the events that say what becomes of a replica that drains."""


class Problem(NamedTuple):
    """An error or a warning of one service, or an error of the engine."""

    level: Literal["error", "warning"]
    text: str
    subject: str
    """Name of the service, or `engine`."""


class Expiry(NamedTuple):
    """How far the log has announced the end of a credential."""

    ends: datetime
    announced: int
    """How many of the warnings before the end, and the end itself, have been due."""


def make_logger(
    level: str,
    *,
    json: bool,
    redactor: Redactor | None = None,
    stream: TextIO = sys.stdout,
) -> FilteringBoundLogger:
    """Return a logger for people (console) or for programs (one JSON object in each line).

    No secret that `redactor` knows is written.
    """
    shared: list[Processor] = [
        partial(_redact, redactor or Redactor()),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[Processor] = (
        [structlog.processors.JSONRenderer()]
        if json
        else [
            _join_lists,
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=16, sort_keys=False),
        ]
    )
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
    )
    return logger


class RedactedStream(io.TextIOBase):
    """A stream that hides secrets in tracebacks, which do not come through the logger."""

    def __init__(self, stream: TextIO, redactor: Redactor) -> None:
        self._stream = stream
        self._redactor = redactor

    def write(self, text: str) -> int:
        """Write the text, with its secrets hidden."""
        self._stream.write(self._redactor.hide(text))
        return len(text)

    def flush(self) -> None:
        """Flush the underlying stream."""
        self._stream.flush()


def _redact(redactor: Redactor, _logger: object, _method: str, event: EventDict) -> EventDict:
    def hide(value: Any) -> Any:
        if isinstance(value, str):
            return redactor.hide(value)
        if isinstance(value, list):
            return [hide(item) for item in value]
        return value

    return {key: hide(value) for key, value in event.items()}


def _join_lists(_logger: object, _method: str, event: EventDict) -> EventDict:
    return {
        key: ("; " if key == "reasons" else ", ").join(value) if isinstance(value, list) else value
        for key, value in event.items()
    }


class LogObserver:
    """Logs what has changed since the tick before.

    Events: `service found`, `service gone`, `left alone`, `labels changed`, `scaling out`,
    `scaling in`, `finishing`, `killed`, `taken back`, `held`, `cannot scale`, `warning`,
    `recovered`, `busy replicas stopped`, `credential expires` and `credential expired`; those of
    `OverrideLog` too.
    """

    def __init__(self, logger: FilteringBoundLogger) -> None:
        self._logger = logger
        self._overrides = OverrideLog(logger)
        self._known: set[str] | None = None
        """Services of the latest tick; None before the first one."""
        self._left_alone: set[str] = set()
        """Services of other projects that have been named."""
        self._labels: dict[str, Mapping[str, str]] = {}
        self._problems: set[Problem] = set()
        self._drains: set[tuple[str, Fate]] = set()
        """What was decided for replicas that drain, by the ids of their containers."""
        self._held: set[tuple[str, ReasonCode]] = set()
        self._expiries: dict[str, Expiry] = {}
        self._integration_errors: dict[str, str | None] = {}

    def observe(self, report: TickReport) -> None:
        """Log what this tick changed: services, replicas, problems and connections."""
        unseen = {str(service) for service in report.unseen}
        self._log_services(report, unseen)
        for service in report.services:
            self._log_labels(service)
            self._log_action(service)
        self._overrides.observe(report)
        self._log_drains(report)
        self._log_held(report, unseen)
        self._log_problems(set(_problems(report)), unseen)
        for integration in report.integrations:
            self._log_expiry(integration, report.at)
            self._log_integration(integration)
        self._logger.debug("tick", services=len(report.services), failed=report.failed)

    def _log_services(self, report: TickReport, unseen: set[str]) -> None:
        """Log which services were found, and which are gone, since the tick before."""
        present = {str(service.service) for service in report.services} | unseen
        if self._known is None and not (present or report.errors or report.left_alone):
            self._logger.info("no service carries a label of the autoscaler yet")
        known = self._known or set()
        self._known = present
        left_alone = set(map(str, report.left_alone)) - self._left_alone
        self._left_alone |= left_alone
        if left_alone:
            self._logger.info(
                "left alone",
                services=sorted(left_alone),
                because="they belong to other projects; AUTOSCALER_PROJECTS=* looks after all",
            )
        for name in sorted(present - known):
            self._logger.info("service found", service=name)
        self._labels = {name: each for name, each in self._labels.items() if name in present}
        for name in sorted(known - present):
            self._logger.info("service gone", service=name)

    def _log_labels(self, report: ServiceReport) -> None:
        """Log which labels of a service somebody has changed, from what to what."""
        name, now = str(report.service), report.labels
        before = self._labels.get(name, now)
        self._labels[name] = now
        if now != before:
            changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
            self._logger.info(
                "labels changed",
                service=name,
                changes=[
                    f"{key}: {before.get(key, 'not set')} -> {now.get(key, 'not set')}"
                    f"{_origin(report, key)}"
                    for key in changed
                ],
            )

    def _log_action(self, report: ServiceReport) -> None:
        """Log a change of replicas, and replicas that were stopped although they were busy."""
        action = report.action
        if action is not None:
            event = "scaling out" if action.desired > action.current else "scaling in"
            self._log_decision(event, report, action.current, action.desired)
        if report.interrupted:
            self._logger.error(
                "busy replicas stopped", service=str(report.service), replicas=report.interrupted
            )

    def _log_drains(self, report: TickReport) -> None:
        """Log once what becomes of a replica whose stop grace is over, or that does not stop."""
        drains = {
            (each.drain.id, each.fate): each for one in report.services for each in one.drains
        }
        for key in sorted(drains.keys() - self._drains):
            each = drains[key]
            log = self._logger.info if each.fate is Fate.FINISH else self._logger.warning
            log(
                _EVENTS[each.fate],
                service=str(each.drain.service),
                replica=each.drain.name,
                because=each.words,
            )
        self._drains = {*drains}

    def _log_held(self, tick: TickReport, unseen: set[str]) -> None:
        """Log once when something begins to keep a service from following its backlog."""
        held = {
            (str(service.service), reason.code): service
            for service in tick.services
            for reason in service.reasons
            if reason.code.bearing is not Bearing.NORMAL
        }
        # Two things may begin to hold a service at the same time: one line has all reasons.
        begun = {service: held[service, code] for service, code in sorted(held.keys() - self._held)}
        for report in begun.values():
            self._log_decision("held", report, report.replicas, report.desired)
        self._held = {*held, *(key for key in self._held if key[0] in unseen)}

    def _log_decision(self, event: str, report: ServiceReport, replicas: int, desired: int) -> None:
        self._logger.info(
            event,
            service=str(report.service),
            queue=",".join(report.queues),
            backlog=report.backlog,
            replicas=replicas,
            desired=desired,
            reasons=list(in_words(report.reasons)),
        )

    def _log_problems(self, problems: set[Problem], unseen: set[str]) -> None:
        """Log each problem once when it begins, and each service once when it has none any more.

        Services with the same problem share a line. A problem of an unseen service goes on.
        """
        problems |= {problem for problem in self._problems if problem.subject in unseen}
        begun = sorted(problems - self._problems)
        for (level, text), same in groupby(begun, key=attrgetter("level", "text")):
            subjects = [problem.subject for problem in same]
            if level == "error":
                self._logger.error("cannot scale", services=subjects, error=text)
            else:
                self._logger.warning("warning", services=subjects, warning=text)
        affected_before, affected = (
            {problem.subject for problem in each} for each in (self._problems, problems)
        )
        recovered = (affected_before - affected) & {*(self._known or ()), ENGINE}
        if recovered:
            self._logger.info("recovered", services=sorted(recovered))
        self._problems = problems

    def _log_expiry(self, integration: IntegrationReport, now: datetime) -> None:
        """Log that a credential expires, 30, 7 and 1 days before, and that it has expired."""
        ends = integration.expires_at
        if ends is None:
            return
        expired = ends <= now
        due = sum(ends - now <= warning for warning in EXPIRY_WARNINGS) + expired
        before = self._expiries.get(integration.name)
        self._expiries[integration.name] = Expiry(ends, due)
        if due > (before.announced if before is not None and before.ends == ends else 0):
            log = self._logger.error if expired else self._logger.warning
            log(
                "credential expired" if expired else "credential expires",
                integration=integration.name,
                expires_at=ends.isoformat(),
                days=max(0, (ends - now).days),
            )

    def _log_integration(self, integration: IntegrationReport) -> None:
        """Log once what is wrong with a connection that still works.

        What is wrong with one that does not work is logged as an error of its services.
        """
        error = integration.error if integration.up else None
        if error is not None and error != self._integration_errors.get(integration.name):
            self._logger.warning("warning", integration=integration.name, warning=error)
        self._integration_errors[integration.name] = error


def _origin(report: ServiceReport, name: str) -> str:
    """Return where a value comes from that is in force, in brackets; empty for a label."""
    given = report.given.get(name)
    return "" if given is None or given.origin == LABEL else f" ({given.origin})"


def _problems(report: TickReport) -> Iterator[Problem]:
    for error in report.errors:
        yield Problem("error", error, ENGINE)
    for warning in (*report.warnings, *report.wish_warnings, *report.memory_warnings):
        yield Problem("warning", warning, ENGINE)
    for service in report.services:
        name = str(service.service)
        yield from (Problem("error", error, name) for error in service.errors)
        yield from (Problem("warning", warning, name) for warning in service.warnings)

"""Log lines: one for each change of replicas and each new trouble, none for an idle tick."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from autoscaler.core.findings import EXPIRY_WARNINGS
from autoscaler.core.reason import ReasonCode
from autoscaler.core.redaction import Redactor
from autoscaler.core.report import IntegrationReport, ServiceReport, TickReport

Trouble = tuple[str, str, str]
"""error or warning, its text, and the service (or the engine) that it befalls."""
ENGINE = "engine"
HOLDING = {
    ReasonCode.BUSY,
    ReasonCode.CEILING,
    ReasonCode.FALLBACK,
    ReasonCode.PHANTOM,
    ReasonCode.RATE_LIMITED,
    ReasonCode.REFUSED,
    ReasonCode.STOPPED_BY_HAND,
}
"""What keeps a service from following its backlog without being an error."""


def make_logger(
    level: str,
    *,
    json: bool,
    redactor: Redactor | None = None,
    stream: TextIO = sys.stdout,
) -> FilteringBoundLogger:
    """Return a logger for people (console) or for machines (a JSON object a line).

    `redactor` takes the secrets that it knows out of every line.
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
    """A stream without secrets, for what does not come through the logger: tracebacks."""

    def __init__(self, stream: TextIO, redactor: Redactor) -> None:
        self._stream = stream
        self._redactor = redactor

    def write(self, text: str) -> int:
        """Write the text without its secrets."""
        self._stream.write(self._redactor.hide(text))
        return len(text)

    def flush(self) -> None:
        """Write out what is buffered."""
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
    """Writes down what changed since the last tick."""

    def __init__(self, logger: FilteringBoundLogger) -> None:
        self._logger = logger
        self._troubles: set[Trouble] = set()
        self._holding: set[tuple[str, ReasonCode]] = set()
        self._known: set[str] | None = None
        self._expiries: dict[str, tuple[datetime, int]] = {}
        self._integrations: dict[str, str] = {}

    def observe(self, report: TickReport) -> None:
        """Log each change of replicas, each trouble that began, and each that ended."""
        present = {str(service.service) for service in report.services}
        self._census(present, report)
        for service in report.services:
            if service.action is not None:
                action = service.action
                event = "scaling out" if action.desired > action.current else "scaling in"
                self._log(service, event, action.current, action.desired)
            if service.interrupted:
                self._logger.error(
                    "interrupted", service=str(service.service), replicas=service.interrupted
                )
        self._held(report)
        self._tell(set(_troubles(report)), present)
        for integration in report.integrations:
            self._expiry(integration, report.at)
            self._integration(integration)
        self._logger.debug("tick", services=len(report.services), failed=report.failed)

    def _expiry(self, integration: IntegrationReport, now: datetime) -> None:
        """Say 30, 7 and 1 days before a credential expires, and when it has."""
        ends = integration.expires_at
        if ends is None:
            return
        passed = sum(ends - now <= warning for warning in EXPIRY_WARNINGS) + (ends <= now)
        said = self._expiries.get(integration.name)
        self._expiries[integration.name] = ends, passed
        if passed > (said[1] if said is not None and said[0] == ends else 0):
            log = self._logger.error if ends <= now else self._logger.warning
            log(
                "credential has expired" if ends <= now else "credential expires",
                integration=integration.name,
                expires_at=ends.isoformat(),
                days=max(0, (ends - now).days),
            )

    def _integration(self, integration: IntegrationReport) -> None:
        """Say once what is wrong with an integration that serves all the same.

        What keeps it from serving is in the errors of its services.
        """
        error = integration.error if integration.up else None
        if error is not None and error != self._integrations.get(integration.name):
            self._logger.warning("take note", integration=integration.name, warning=error)
        self._integrations[integration.name] = error or ""

    def _held(self, report: TickReport) -> None:
        """Say once when something outside the labels begins to hold a service back."""
        held = {
            (str(service.service), reason.code): service
            for service in report.services
            for reason in service.reasons
            if reason.code in HOLDING
        }
        for key in sorted(held.keys() - self._holding):
            self._log(held[key], "held", held[key].replicas, held[key].desired)
        self._holding = set(held)

    def _log(self, report: ServiceReport, event: str, replicas: int, desired: int) -> None:
        self._logger.info(
            event,
            service=str(report.service),
            queue=",".join(report.queues),
            backlog=report.backlog,
            replicas=replicas,
            desired=desired,
            reasons=[str(reason) for reason in report.reasons],
        )

    def _tell(self, troubles: set[Trouble], present: set[str]) -> None:
        """Say each trouble once when it begins, with all it befalls, and once when it is over."""
        begun = sorted(troubles - self._troubles)
        for (level, text), members in groupby(begun, key=lambda trouble: trouble[:2]):
            log = self._logger.error if level == "error" else self._logger.warning
            where = [name for _, _, name in members]
            log(
                "cannot scale" if level == "error" else "take note", services=where, **{level: text}
            )
        affected = {name for _, _, name in troubles}
        was_affected = {name for _, _, name in self._troubles}
        over = sorted((was_affected - affected) & {*present, ENGINE})
        if over:
            self._logger.info("all is well again", services=over)
        # While an orchestrator does not answer, nothing is known of its services' troubles.
        unseen = (
            {t for t in self._troubles if t[2] not in present} if affected & {ENGINE} else set()
        )
        self._troubles = troubles | unseen

    def _census(self, present: set[str], report: TickReport) -> None:
        """Say which services are looked after, whenever that changes."""
        known = self._known
        if report.errors:
            # Those of an orchestrator that does not answer are not gone.
            present = present | (known or set())
        self._known = present
        if known is None and not present and not report.errors:
            self._logger.info("no service carries a label of the autoscaler yet")
        for name in sorted(present - (known or set())):
            self._logger.info("service found", service=name)
        for name in sorted((known or set()) - present):
            self._logger.info("service gone", service=name)


def _troubles(report: TickReport) -> Iterator[Trouble]:
    for error in report.errors:
        yield "error", error, ENGINE
    for service in report.services:
        name = str(service.service)
        yield from (("error", error, name) for error in service.errors)
        yield from (("warning", warning, name) for warning in service.warnings)

"""What keeps several services from following their backlogs for one and the same reason. Pure.

A person who looks wants to read one message for one cause, not the same message for each service.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autoscaler.core.model import ServiceId
from autoscaler.core.report import IntegrationReport, TickReport

SEVERAL = 2
"""With fewer services, a message stands with its service."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that befalls several services, or all that an orchestrator has."""

    name: str
    """What stays the same while the cause lasts, even where its words change."""
    text: str
    """What is wrong, with what to do."""
    services: tuple[ServiceId, ...]
    """Those that it befalls."""
    warning: bool = False
    """Whether the services go on, and people should only know."""
    texts: frozenset[str] = frozenset()
    """The messages of the services that this one stands for."""


def causes(report: TickReport) -> tuple[Cause, ...]:
    """Return what befalls several services, errors first."""
    engines = [Cause(error, error, report.unseen) for error in report.errors]
    errors, warnings = _Said(), _Said()
    for service in report.services:
        errors.add(service.service, service.errors)
        warnings.add(service.service, service.warnings)
    connections = [
        cause
        for integration in report.integrations
        if integration.up is False and (cause := _of_connection(integration, errors)) is not None
    ]
    alike = [
        Cause(text, text, tuple(services), warning, frozenset({text}))
        for said, warning in ((errors, False), (warnings, True))
        for text, services in said.by.items()
        if len(services) >= SEVERAL
    ]
    return (*engines, *connections, *alike)


class _Said:
    """Which services say which message."""

    def __init__(self) -> None:
        self.by: dict[str, list[ServiceId]] = {}

    def add(self, service: ServiceId, texts: Iterable[str]) -> None:
        for text in dict.fromkeys(texts):
            self.by.setdefault(text, []).append(service)


def _of_connection(integration: IntegrationReport, errors: _Said) -> Cause | None:
    """Take the errors that come of a connection that is down, and return it as their cause.

    Each failed call has words of its own.
    """
    begin = f"integration {integration.name}: "
    same = [text for text in errors.by if text.startswith(begin)]
    services = dict.fromkeys(service for text in same for service in errors.by[text])
    if len(services) < SEVERAL:
        return None
    text = integration.error or max(same, key=lambda each: len(errors.by[each]))
    for each in same:
        del errors.by[each]
    return Cause(begin, text, tuple(services), texts=frozenset(same))

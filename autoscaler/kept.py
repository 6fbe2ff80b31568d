"""What a tick takes over from an earlier one, so that a look a second costs little.

Only what nothing has happened to is taken over, and only for some seconds. Whoever is about to be
stopped is always looked at anew: that is done right before the stop (`change.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from autoscaler.core.backlog import TaskQueue
from autoscaler.core.in_flight import InFlight, UnknownInFlight
from autoscaler.core.model import Service, ServiceId
from autoscaler.core.reading import Reading
from autoscaler.core.reason import ReasonCode
from autoscaler.core.report import ServiceReport
from autoscaler.core.spec import ScalingSpec
from autoscaler.wishes.wishes import Wish

DISCOVERED_EVERY = timedelta(seconds=5)
"""How long the services of a look count as found, while the engine tells of no change."""
ASKED_EVERY = timedelta(seconds=5)
"""How long an answer about work in flight is used for a service that only holds replicas."""
DECIDED_EVERY = timedelta(seconds=10)
"""How long the decision on a service at rest counts."""
_RESTFUL = frozenset({ReasonCode.BACKLOG, ReasonCode.MIN, ReasonCode.MAX})
"""Reasons that do not change with time alone."""


def _within(at: datetime, longest: timedelta, now: datetime) -> bool:
    # An age below zero means that the clock was set back: the true age is unknown then.
    return timedelta() <= now - at < longest


@dataclass(frozen=True, slots=True)
class Found:
    """The services that a look has found."""

    services: Sequence[Service] = ()
    errors: Mapping[str, str] = field(default_factory=dict)
    """By the name of an orchestrator, why it did not name its services."""
    at: datetime | None = None
    """When the look began; None before any look."""

    def holds(self, now: datetime) -> bool:
        """Whether a look at `now` would find the same, as far as no event tells otherwise.

        It would not where an orchestrator did not answer, or where a service changes with time:
        replicas drain, have ended or crashed, or somebody else is at work on them.
        """
        if self.at is None or self.errors or not _within(self.at, DISCOVERED_EVERY, now):
            return False
        return all(map(_is_settled, self.services))


def _is_settled(service: Service) -> bool:
    moves = service.draining or service.left_behind or service.crashed
    return not (moves or service.refusal or service.ending or service.warnings)


@dataclass(frozen=True, slots=True)
class _Rest:
    """What a service at rest was decided on, and what was reported."""

    service: Service
    wish: Wish
    readings: tuple[Reading | None, ...]
    at: datetime
    report: ServiceReport


class Resting:
    """The services at rest: they have the replicas they want, and time alone changes nothing.

    They are decided again as soon as anything about them is new, when a schedule changes their
    bounds, and every 10 s.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._rests: dict[ServiceId, _Rest] = {}

    def reports(
        self,
        services: Collection[Service],
        wishes: Mapping[ServiceId, Wish],
        readings: Mapping[TaskQueue, Reading],
        now: datetime,
    ) -> Mapping[ServiceId, ServiceReport]:
        """Return the latest reports of the services that are still at rest."""
        found: dict[ServiceId, ServiceReport] = {}
        for service in services:
            rest = self._rests.get(service.id)
            if rest is None or not _within(rest.at, DECIDED_EVERY, now):
                continue
            turn = rest.report.next_bounds
            if turn is not None and now >= turn.at:
                continue
            wish = wishes[service.id]
            same = rest.service == service and rest.wish is wish
            if same and rest.readings == _readings(wish, readings):
                found[service.id] = rest.report
        return found

    def note(
        self,
        service: Service,
        wish: Wish,
        readings: Mapping[TaskQueue, Reading],
        report: ServiceReport,
        at: datetime,
    ) -> None:
        """Take in what was decided at `at`, and on what."""
        if _is_settled(service) and _is_restful(report, wish.spec):
            self._rests[service.id] = _Rest(service, wish, _readings(wish, readings), at, report)
        else:
            self._rests.pop(service.id, None)

    def forget_all_but(self, services: Collection[ServiceId]) -> None:
        """Drop what is known of services that are gone."""
        self._rests = {id_: rest for id_, rest in self._rests.items() if id_ in services}


def _readings(wish: Wish, readings: Mapping[TaskQueue, Reading]) -> tuple[Reading | None, ...]:
    return tuple(map(readings.get, wish.queues))


def _is_restful(report: ServiceReport, spec: ScalingSpec | None) -> bool:
    """Whether a service would be decided in the same way later, as long as nothing is new."""
    if spec is None or spec.slots_target is not None or spec.max_wait is not None:
        return False
    if report.backlog is None or report.errors:
        return False
    acts = report.action or report.desired != report.replicas or report.interrupted
    reasons = {each.code for each in report.reasons}
    return reasons <= _RESTFUL and not acts


@dataclass(frozen=True, slots=True)
class _Asked:
    service: Service
    spec: ScalingSpec
    answer: InFlight | UnknownInFlight
    at: datetime


class InFlights:
    """The latest answers about work in flight."""

    def __init__(self) -> None:
        """Begin without any."""
        self._asked: dict[ServiceId, _Asked] = {}

    def of(
        self, service: Service, spec: ScalingSpec, now: datetime
    ) -> InFlight | UnknownInFlight | None:
        """Return what was answered for the same replicas just before; None where it is too old."""
        asked = self._asked.get(service.id)
        if asked is None or not _within(asked.at, ASKED_EVERY, now):
            return None
        return asked.answer if asked.service == service and asked.spec == spec else None

    def note(
        self,
        service: Service,
        spec: ScalingSpec,
        answer: InFlight | UnknownInFlight,
        at: datetime,
    ) -> None:
        """Take in an answer."""
        self._asked[service.id] = _Asked(service, spec, answer, at)

    def forget(self) -> None:
        """Drop all answers: something has happened to the replicas since."""
        self._asked.clear()

    def forget_all_but(self, services: Collection[ServiceId]) -> None:
        """Drop what is known of services that are gone."""
        self._asked = {id_: asked for id_, asked in self._asked.items() if id_ in services}

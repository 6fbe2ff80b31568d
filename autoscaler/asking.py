"""What a tick asks the world outside: orchestrators, Temporal, and what is around the services."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime

from autoscaler.change import read_in_flight
from autoscaler.core.backlog import TaskQueue
from autoscaler.core.decide import wants_in_flight
from autoscaler.core.errors import AutoscalerError, BacklogUnavailable, alone, describe
from autoscaler.core.in_flight import InFlight, UnknownInFlight
from autoscaler.core.model import Service, ServiceId
from autoscaler.core.reading import Reading
from autoscaler.core.situation import Situation
from autoscaler.core.spec import ScalingSpec
from autoscaler.kept import Found, InFlights
from autoscaler.ports import BacklogSource, Orchestrator, Outlook


class Asking:
    """Asks, each question once a tick. What cannot be answered is said, and raises nothing."""

    def __init__(
        self,
        orchestrators: Mapping[str, Orchestrator],
        source: BacklogSource,
        clock: Callable[[], datetime],
        outlook: Outlook | None,
    ) -> None:
        """Ask these orchestrators, by their names; without an `outlook`, nothing is around."""
        self._orchestrators = orchestrators
        self._source = source
        self._clock = clock
        self._outlook = outlook
        self._in_flights = InFlights()

    async def services(self) -> Found:
        """Find the services of all orchestrators."""
        at = self._clock()
        services: list[Service] = []
        errors: dict[str, str] = {}

        async def ask(orchestrator: Orchestrator) -> None:
            with alone(errors, orchestrator.name):
                services.extend(await orchestrator.discover())

        await asyncio.gather(*map(ask, self._orchestrators.values()))
        in_order = {name: errors[name] for name in self._orchestrators if name in errors}
        return Found(tuple(sorted(services, key=lambda service: service.id)), in_order, at)

    async def backlogs(
        self, queues: Collection[TaskQueue], waking: Collection[TaskQueue]
    ) -> Mapping[TaskQueue, Reading]:
        """Read each backlog once; what goes wrong as a whole makes all of them unknown."""
        readings: Mapping[TaskQueue, Reading] = {}
        failures: dict[str, str] = {}
        with alone(failures, "reading"):
            readings = await self._source.read(queues, waking)
        for failure in failures.values():
            readings = dict.fromkeys(queues, BacklogUnavailable(failure))
        return readings

    async def around(self, projects: frozenset[str] | None, *, acts: bool) -> tuple[str, ...]:
        """Return what people should know apart from any service.

        `projects` are those that were seen; None where an orchestrator did not answer, which is
        reported already.
        """
        warnings: tuple[str, ...] = ()
        failures: dict[str, str] = {}
        if self._outlook is not None:
            with alone(failures, "outlook"):
                warnings = tuple(await self._outlook.warnings(projects, acts=acts))
        if failures and projects is not None:
            return (f"what is around the services cannot be told: {failures['outlook']}",)
        return warnings

    async def look_closer(
        self,
        services: Mapping[ServiceId, Service],
        situations: dict[ServiceId, Situation],
        failures: dict[ServiceId, str],
    ) -> None:
        """Add what is in flight to those situations whose decision depends on it."""

        async def add_in_flight(service: ServiceId, situation: Situation) -> None:
            with alone(failures, service):
                in_flight = await self._in_flight(services[service], situation.spec)
                situations[service] = replace(situation, in_flight=in_flight)

        wanted: dict[ServiceId, Situation] = {}
        for service, situation in situations.items():
            with alone(failures, service):
                if wants_in_flight(situation):
                    wanted[service] = situation
        await asyncio.gather(*(add_in_flight(*each) for each in wanted.items()))

    def forget_in_flight(self) -> None:
        """Ask anew what is in flight: something has happened to the replicas."""
        self._in_flights.forget()

    def forget_all_but(self, services: Collection[ServiceId]) -> None:
        """Drop what is known of services that are gone."""
        self._in_flights.forget_all_but(services)

    async def _in_flight(self, service: Service, spec: ScalingSpec) -> InFlight | UnknownInFlight:
        now = self._clock()
        known = self._in_flights.of(service, spec, now)
        if known is not None:
            return known
        orchestrator = self._orchestrators[service.id.orchestrator]
        try:
            answer: InFlight | UnknownInFlight = await read_in_flight(
                orchestrator, self._source, service.id, spec
            )
        except AutoscalerError as error:
            answer = UnknownInFlight(describe(error))
        self._in_flights.note(service, spec, answer, now)
        return answer

"""Which services leave their tasks no time to end, although some take longer: for `doctor`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta

from autoscaler.change import read_in_flight
from autoscaler.core.errors import AutoscalerError
from autoscaler.core.findings import Finding, Outcome
from autoscaler.core.in_flight import HEARTBEAT_SLACK, LONGEST_HEARTBEAT, InFlight
from autoscaler.core.label_values import Busy, Mode
from autoscaler.core.model import Service, ServiceId
from autoscaler.core.spec import ScalingSpec
from autoscaler.core.spells import observe_spells, tells_at
from autoscaler.core.stopping import DEFAULT_GRACE, outlasted
from autoscaler.ports import BacklogSource, Orchestrator
from autoscaler.wishes.wishes import Wishes

ARRIVES_WITHIN = timedelta(seconds=2)
"""How long a heartbeat may take from a worker to whoever asks the server for it."""


class GraceExaminer:
    """Asks workers twice what they run, where nobody chose a stop grace. Changes nothing."""

    def __init__(
        self,
        orchestrators: Sequence[Orchestrator],
        source: BacklogSource,
        wishes: Wishes,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Examine the services of these orchestrators."""
        self._orchestrators = {each.name: each for each in orchestrators}
        self._source = source
        self._wishes = wishes
        self._clock = clock
        self._sleep = sleep

    async def examine(self, waits: Callable[[timedelta], None]) -> Sequence[Finding]:
        """Return a warning for each such service with a task that was seen to run for longer.

        Where tasks run, this takes until the next heartbeats, a little more than a minute at most;
        `waits` is told before how long. What cannot be read is left out: the tick reports it.
        """
        services = await self._without_a_grace()
        before = await self._ask(services)
        wait = self._until_it_tells(before)
        if wait is None:
            return []
        waits(wait)
        await self._sleep(wait.total_seconds())
        after = await self._ask({service: services[service] for service in before})
        return [
            Finding(f"service {service}", Outcome.WARNING, outlasted(DEFAULT_GRACE))
            for service, in_flight in after.items()
            if _longest(before[service], in_flight) > DEFAULT_GRACE
        ]

    async def _without_a_grace(self) -> Mapping[ServiceId, ScalingSpec]:
        """Return the services to ask for: nobody chose their stop grace, and some replica runs."""
        found: list[Service] = []
        for orchestrator in self._orchestrators.values():
            try:
                found += await orchestrator.discover()
            except AutoscalerError:
                continue
        specs = {each.id: self._wishes.of(each).spec for each in found if _may_be_stopped(each)}
        return {
            service: spec
            for service, spec in sorted(specs.items())
            if spec is not None and spec.mode is not Mode.OFF and spec.busy is not Busy.IGNORE
        }

    async def _ask(self, services: Mapping[ServiceId, ScalingSpec]) -> Mapping[ServiceId, InFlight]:
        """Return what the workers report, as far as it can be read."""
        found: dict[ServiceId, InFlight] = {}
        for service, spec in services.items():
            orchestrator = self._orchestrators[service.orchestrator]
            try:
                found[service] = await read_in_flight(orchestrator, self._source, service, spec)
            except AutoscalerError:
                continue
        return found

    def _until_it_tells(self, before: Mapping[ServiceId, InFlight]) -> timedelta | None:
        """Return how long to wait for reports that may tell; None where none can."""
        now = self._clock()
        moments = [
            tells_at(worker, DEFAULT_GRACE)
            for in_flight in before.values()
            for worker in in_flight.workers
            if worker.running and worker.fresh(now)
        ]
        latest = max((each for each in moments if each is not None), default=None)
        if latest is None:
            return None
        # By the workers' clocks, which may differ from the one here.
        wait = min(latest - now, LONGEST_HEARTBEAT + HEARTBEAT_SLACK)
        return max(wait, timedelta()) + ARRIVES_WITHIN


def _may_be_stopped(service: Service) -> bool:
    return service.grace is None and service.replicas > 0 and service.refusal is None


def _longest(before: InFlight, after: InFlight) -> timedelta:
    """Return how long a task is certain to have run by the second of two looks."""
    spells, _ = observe_spells(before.workers, {})
    return observe_spells(after.workers, spells)[1]

"""Changes of replicas: at most one at a time for each service, beside the ticks.

A slow change holds up neither the other services nor the next tick (decision 001).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from autoscaler.core.backoff import Backoff
from autoscaler.core.errors import describe
from autoscaler.core.in_flight import (
    Crew,
    InFlight,
    Standing,
    WorkerQuery,
    standings,
)
from autoscaler.core.integration import canonical
from autoscaler.core.label_values import Busy
from autoscaler.core.model import ScalingAction, ServiceId
from autoscaler.core.protect import Choice, choose_for, choose_vacated
from autoscaler.core.spec import ScalingSpec
from autoscaler.ports import BacklogSource, Orchestrator

_BACKOFF = Backoff(first=timedelta(seconds=2), longest=timedelta(minutes=5))
"""Growth that fails is tried again after a growing pause."""


async def read_in_flight(
    orchestrator: Orchestrator, source: BacklogSource, service: ServiceId, spec: ScalingSpec
) -> InFlight:
    """Return the replicas of a service and what their workers report right now.

    Raises OrchestratorError, InFlightUnavailable or IntegrationError.
    """
    replicas = tuple(await orchestrator.replicas(service, spec.swarm_choice))
    # A replica that has not started has no workers yet to ask for.
    nameless = any(replica.host is None and replica.started for replica in replicas)
    query = WorkerQuery(
        canonical(spec.integration),
        spec.namespace,
        hosts=frozenset(replica.host for replica in replicas if replica.host is not None),
        queues=frozenset(spec.queues) if nameless else frozenset(),
    )
    return InFlight(replicas, tuple(await source.workers(query)))


@dataclass(frozen=True, slots=True)
class Order:
    """A change that is to be made."""

    action: ScalingAction
    spec: ScalingSpec
    reported: bool
    """Whether any worker reported when this was decided."""
    unstarted: bool
    """Whether there are replicas to remove that were made and never started."""
    crews: Mapping[str, Crew] = field(default_factory=dict)
    """By host: the processes that were known to run together when this was decided."""


@dataclass(slots=True)
class _Change:
    """What became of the changes of one service."""

    task: asyncio.Task[None] | None = None
    """The change under way."""
    desired: int = 0
    """Replicas that the latest change leads to."""
    growing: bool = False
    """Whether the latest change adds replicas."""
    failure: str | None = None
    """Why the latest change could not be made."""
    interrupted: int = 0
    """Replicas stopped although they were known to be busy, and not reported yet."""
    backoff: Backoff = _BACKOFF


class Changes:
    """Starts changes, and remembers how they ended."""

    def __init__(
        self,
        orchestrators: Mapping[str, Orchestrator],
        source: BacklogSource,
        clock: Callable[[], datetime],
    ) -> None:
        """Have changes made by these orchestrators; `source` is asked for busy workers."""
        self._orchestrators = orchestrators
        self._source = source
        self._clock = clock
        self._changes: dict[ServiceId, _Change] = {}
        self._settled = False
        """Whether the latest `settle` met a change that had ended."""

    def settle(self) -> None:
        """Write down how the changes that have ended did."""
        self._settled = False
        for change in self._changes.values():
            if change.task is None or not change.task.done():
                continue
            error = change.task.exception()
            if error is None:
                change.failure = None
                change.backoff = change.backoff.succeeded()
            else:
                change.failure = describe(error)
                if change.growing:
                    change.backoff = change.backoff.failed(self._clock())
            change.task = None
            self._settled = True

    def under_way(self, service: ServiceId) -> int | None:
        """Return the replicas that a change under way leads to; None where none is.

        A change counts as under way until `settle`: what a tick saw may be older than its end.
        """
        change = self._changes.get(service)
        return change.desired if change is not None and change.task is not None else None

    @property
    def any_under_way(self) -> bool:
        """Whether any change is under way, or was at the latest `settle`."""
        return self._settled or any(change.task is not None for change in self._changes.values())

    def failure(self, service: ServiceId) -> str | None:
        """Return why the latest change could not be made; None where it could."""
        change = self._changes.get(service)
        return None if change is None else change.failure

    def take_interrupted(self, service: ServiceId) -> int:
        """Return the replicas stopped although known to be busy, since this was last asked."""
        change = self._changes.get(service)
        if change is None:
            return 0
        interrupted, change.interrupted = change.interrupted, 0
        return interrupted

    def forget_failure(self, service: ServiceId) -> None:
        """The number is right, or nothing may be changed: an earlier failure no longer counts."""
        change = self._changes.get(service)
        if change is not None and change.task is None:
            change.failure = None
            change.backoff = change.backoff.succeeded()

    def forget_all_but(self, services: set[ServiceId]) -> None:
        """Drop what is known of services that are gone, once no change of theirs is under way."""
        self._changes = {
            id_: change
            for id_, change in self._changes.items()
            if id_ in services or change.task is not None
        }

    def start(self, order: Order) -> bool:
        """Start a change; return whether it was: growth may have to wait after failures."""
        action = order.action
        change = self._changes.setdefault(action.service, _Change())
        growing = action.desired > action.current
        if change.task is not None or (growing and not change.backoff.ready(self._clock())):
            return False
        change.desired, change.growing = action.desired, growing
        change.task = asyncio.create_task(self.make(order), name=f"scale {action.service}")
        return True

    def restore(self, service: ServiceId, replicas: int) -> None:
        """Start to give a service its placement again that a change has left frozen.

        `replicas` is how many it has, and keeps. A change that is under way restores it itself.
        """
        change = self._changes.setdefault(service, _Change())
        if change.task is None:
            change.desired, change.growing = replicas, False
            restoring = self._orchestrators[service.orchestrator].restore(service)
            change.task = asyncio.create_task(restoring, name=f"restore {service}")

    async def make(self, order: Order) -> None:
        """Make a change to its end.

        Raises what the orchestrator raises and, before the first stop, InFlightUnavailable or
        IntegrationError: then nothing is stopped.
        """
        action = order.action
        orchestrator = self._orchestrators[action.service.orchestrator]
        if order.unstarted:
            await orchestrator.remove_unstarted(action.service)
        if action.desired > action.current:
            await orchestrator.grow(action)
        if action.desired < action.current:
            await self._shrink(orchestrator, order)

    async def close(self, patience: timedelta) -> None:
        """Wait at most `patience` for changes under way."""
        tasks = [change.task for change in self._changes.values() if change.task]
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=patience.total_seconds())
            for task in done:
                task.exception()  # Looked at here, or asyncio would print a traceback.

    async def _shrink(self, orchestrator: Orchestrator, order: Order) -> None:
        """Look once more, and stop replicas that are idle now, as far as the order asks for."""
        choice, busy = await self._choose(orchestrator, order)
        if await self._stop(orchestrator, order, choice, busy):
            # The scheduler replaces the stopped replica, unless it is asked for fewer replicas
            # before the replacement starts.
            choice = choose_vacated(await orchestrator.replicas(order.action.service))
            await self._stop(orchestrator, order, choice, busy)

    async def _stop(
        self, orchestrator: Orchestrator, order: Order, choice: Choice, busy: set[str]
    ) -> bool:
        """Stop the chosen replicas, and return whether a place was vacated.

        Replicas that go although they are in `busy` are counted as interrupted.
        """
        if not choice.replicas:
            return False
        stopped = await orchestrator.stop(order.action, choice)
        change = self._changes.setdefault(order.action.service, _Change())
        change.interrupted += len(busy.intersection(stopped.replicas))
        return stopped.vacated

    async def _choose(self, orchestrator: Orchestrator, order: Order) -> tuple[Choice, set[str]]:
        """Choose who stops by what is known right now; return also who is known to be busy."""
        action, spec = order.action, order.spec
        careless = spec.busy is Busy.IGNORE
        in_flight = (
            InFlight(tuple(await orchestrator.replicas(action.service, spec.swarm_choice)), ())
            if careless
            else await read_in_flight(orchestrator, self._source, action.service, spec)
        )
        now = self._clock()
        choice = choose_for(
            action, spec.busy, in_flight, now, reported=order.reported, crews=order.crews
        )
        known = {} if careless else standings(in_flight, now, order.crews)
        return choice, {id_ for id_, standing in known.items() if standing is Standing.BUSY}

"""An orchestrator in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from autoscaler.core.drain import Drain
from autoscaler.core.errors import OrchestratorError
from autoscaler.core.label_values import SwarmChoice
from autoscaler.core.model import (
    Ceiling,
    EndedBy,
    Ending,
    Replica,
    ScalingAction,
    Service,
    ServiceId,
)
from autoscaler.core.protect import Choice, Stopped
from autoscaler.core.territory import Surroundings
from autoscaler.ports import LooksAfter

GRACE = timedelta(seconds=30)


class FakeOrchestrator:
    """Keeps services in a dict; fails or takes its time where a test says so."""

    def __init__(self, name: str = "compose", looks_after: LooksAfter | None = None) -> None:
        """Look after what `looks_after` says; without it, after every service."""
        self.name = name
        self._looks_after = looks_after or (lambda _service, _labels: True)
        self.services: dict[ServiceId, Service] = {}
        self.actions: list[ScalingAction] = []
        """Every action that was asked for, in order, also those that failed."""
        self.tidied: list[ServiceId] = []
        """The service of every call to remove what was left behind."""
        self.closed: list[timedelta] = []
        """The patience of every close."""
        self.unreachable: Exception | None = None
        """Raised by discover while it is set."""
        self.surroundings = Surroundings()
        """What discover is said to have seen beside the services."""
        self.discovery: asyncio.Event | None = None
        """While there is one, discover waits for it."""
        self.careless = False
        """Whether others are stopped than may be, as many as were chosen."""
        self.nameless = False
        """Whether it cannot be told on which hosts the replicas run."""
        self.out_of_reach: set[str] = set()
        """Names of replicas that cannot be stopped by name."""
        self.unplaced: set[str] = set()
        """Names of replicas that have no node yet."""
        self.looks = 0
        """How often discover was asked."""
        self.stubborn = False
        """Whether replicas that are stopped drain until they are killed."""
        self.leaving: list[Drain] = []
        """Replicas that drain."""
        self.taken_up: list[str] = []
        self.killed: list[str] = []
        self._numbers: dict[ServiceId, set[int]] = {}
        """Of the replicas of a service, each for as long as it is there."""
        self._failures: dict[ServiceId, Exception] = {}
        self._gates: dict[ServiceId, asyncio.Event] = {}
        self._scaled = asyncio.Event()

    def add(  # noqa: PLR0913 - all that a Service has
        self,
        name: str,
        labels: Mapping[str, str],
        *,
        replicas: int = 1,
        ceiling: Ceiling | None = None,
        refusal: str | None = None,
        warnings: tuple[str, ...] = (),
        grace: timedelta | None = GRACE,
        order_only: str | None = None,
    ) -> ServiceId:
        """Put a service there."""
        id_ = ServiceId(self.name, name)
        self.services[id_] = Service(
            id_,
            dict(labels),
            replicas,
            ceiling,
            refusal,
            warnings,
            grace=grace,
            order_only=order_only,
        )
        self._numbers[id_] = set(range(1, replicas + 1))
        return id_

    def count(self, id_: ServiceId) -> int:
        """Return how many replicas count now."""
        return self.services[id_].replicas

    def scale_by_hand(self, id_: ServiceId, replicas: int) -> None:
        """Change the replicas behind the daemon's back."""
        ending = None if replicas else Ending(EndedBy.HAND, seen=True)
        self._set(id_, replicas, ending)

    def crash(
        self, id_: ServiceId, story: str, replicas: int, retry_at: datetime | None = None
    ) -> None:
        """Let replicas end by themselves until so many are left."""
        crashed = self.count(id_) - replicas
        self._set(id_, replicas, Ending(EndedBy.ITSELF, seen=True, story=story, retry_at=retry_at))
        self.services[id_] = replace(self.services[id_], crashed=crashed)

    def _set(self, id_: ServiceId, replicas: int, ending: Ending | None) -> None:
        numbers = sorted(self._numbers[id_])[:replicas]
        highest = max(self._numbers[id_], default=0)
        added = range(highest + 1, highest + 1 + replicas - len(numbers))
        self._numbers[id_] = {*numbers, *added}
        self.services[id_] = replace(
            self.services[id_], replicas=replicas, ending=ending, crashed=0
        )
        self._scaled.set()

    async def until(self, id_: ServiceId, replicas: int) -> None:
        """Wait until a service has this many replicas."""
        while self.count(id_) != replicas:
            self._scaled.clear()
            await self._scaled.wait()

    def drain(self, id_: ServiceId, replicas: int) -> None:
        """Let so many replicas that count no more be still stopping."""
        self.services[id_] = replace(self.services[id_], draining=replicas)

    def leave(self, drain: Drain) -> None:
        """Let a replica that counts no more drain until it is killed or taken back."""
        self.leaving.append(drain)
        service = self.services[drain.service]
        self.services[drain.service] = replace(service, draining=service.draining + 1)

    def leave_behind(self, id_: ServiceId, replicas: int) -> None:
        """Let so many replicas have been made and never started."""
        self.services[id_] = replace(self.services[id_], left_behind=replicas)

    def relabel(self, id_: ServiceId, labels: Mapping[str, str]) -> None:
        """Deploy the service again with other labels."""
        self.services[id_] = replace(self.services[id_], labels=dict(labels))

    def fail(self, id_: ServiceId, error: Exception) -> None:
        """Let every action on a service fail from now on."""
        self._failures[id_] = error

    def heal(self, id_: ServiceId) -> None:
        """Let actions on a service succeed again."""
        del self._failures[id_]

    def hold(self, id_: ServiceId) -> asyncio.Event:
        """Let actions on a service take until the event is set."""
        return self._gates.setdefault(id_, asyncio.Event())

    async def discover(self) -> Sequence[Service]:
        """Return the services as they stand now."""
        self.looks += 1
        if self.discovery is not None:
            await self.discovery.wait()
        if self.unreachable is not None:
            raise self.unreachable
        return [each for each in self.services.values() if self._looks_after(each.id, each.labels)]

    async def replicas(
        self,
        service: ServiceId,
        how: SwarmChoice = SwarmChoice.ORDER,  # noqa: ARG002 - each can be stopped by name
    ) -> Sequence[Replica]:
        """Return the replicas, the highest number first; `orders-3` runs on the host `orders-3`."""
        if service not in self.services:
            raise OrchestratorError(f"{service} is not there any more")
        names = [f"{service}-{number}" for number in sorted(self._numbers[service])[::-1]]
        return [
            Replica(
                name,
                None if self.nameless else name,
                turn,
                choosable=name not in self.out_of_reach,
                placed=name not in self.unplaced,
            )
            for turn, name in enumerate(names)
        ]

    async def grow(self, action: ScalingAction) -> None:
        """Add replicas until there are `action.desired`."""
        await self._begin(action)
        self._set(action.service, max(action.desired, self.count(action.service)), None)

    async def stop(self, action: ScalingAction, choice: Choice) -> Stopped:
        """Stop the chosen replicas."""
        await self._begin(action)
        if self.services[action.service].ignoring:
            return Stopped()
        surplus = max(0, self.count(action.service) - action.desired)
        names = [replica.id for replica in choice.replicas][:surplus]
        if self.careless:
            names = [replica.id for replica in choice.of[: len(names)]]
        self._numbers[action.service] -= {
            int(name.removeprefix(f"{action.service}-")) for name in names
        }
        self._set(action.service, len(self._numbers[action.service]), None)
        if self.stubborn:
            for name in names:
                self.leave(Drain(name, name, action.service, datetime.now(UTC), GRACE, name))
        return Stopped(tuple(names))

    async def restore(self, service: ServiceId) -> None:
        """Thaw a frozen service."""
        self.services[service] = replace(self.services[service], frozen=False, refusal=None)

    def freeze(self, id_: ServiceId) -> None:
        """Let a change of a service that was cut off have left it frozen."""
        self.services[id_] = replace(self.services[id_], frozen=True, refusal="it is frozen")

    async def remove_unstarted(self, service: ServiceId) -> None:
        """Forget what was left behind."""
        self.tidied.append(service)
        self.leave_behind(service, 0)

    async def _begin(self, action: ScalingAction) -> None:
        """Write an action down, then wait or fail where a test says so."""
        self.actions.append(action)
        gate = self._gates.get(action.service)
        if gate is not None:
            await gate.wait()
        if action.service in self._failures:
            raise self._failures[action.service]
        if action.service not in self.services:
            raise OrchestratorError(f"{action.service} is not there any more")
        refusal = self.services[action.service].refusal
        if refusal is not None:
            raise OrchestratorError(f"{action.service}: {refusal}")

    @property
    def drains(self) -> Sequence[Drain]:
        """Return those that a test has put there."""
        return self.leaving

    def take_up(self, drain: Drain) -> None:
        """Write down who was taken up."""
        self.taken_up.append(drain.id)

    def take_back(self, drain: Drain, *, ignores: bool) -> None:
        """Count a replica again."""
        service = self.services[drain.service]
        self.leaving.remove(drain)
        number = max(self._numbers[drain.service], default=0) + 1
        self._numbers[drain.service].add(number)
        self.services[drain.service] = replace(
            service,
            replicas=service.replicas + 1,
            draining=service.draining - 1,
            ignoring=(*service.ignoring, drain.name) if ignores else service.ignoring,
        )

    def kill(self, drain: Drain) -> None:
        """End a replica that drains."""
        self.killed.append(drain.id)
        self.leaving.remove(drain)
        service = self.services[drain.service]
        self.services[drain.service] = replace(service, draining=service.draining - 1)

    async def close(self, patience: timedelta) -> None:
        """Nothing drains here: only the patience is written down."""
        self.closed.append(patience)

"""Compose services over the Engine API, without the docker compose command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from autoscaler.core.errors import OrchestratorError
from autoscaler.core.model import Replica, ScalingAction, Service, ServiceId
from autoscaler.core.protect import Choice, Stopped
from autoscaler.core.spec import DEFAULT_PREFIX, scaling_labels
from autoscaler.orchestrators.compose.containers import NAME, Container, Replicas, service_id
from autoscaler.orchestrators.compose.draining import GONE, Drainer
from autoscaler.orchestrators.compose.exits import Exits
from autoscaler.orchestrators.compose.hands import QUIET, OtherHands, OwnHands
from autoscaler.orchestrators.compose.inventory import Inventory
from autoscaler.orchestrators.compose.making import OTHERS_AT_WORK, Maker
from autoscaler.orchestrators.engine import Engine, EngineError, Json


class ComposeOrchestrator:
    """Finds labelled Compose services and scales them."""

    name = NAME

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime],
        prefix: str = DEFAULT_PREFIX,
        projects: Collection[str] = (),
    ) -> None:
        """Look after the services of `projects`, or of all projects where none is named."""
        self._clock = clock
        self._prefix = prefix
        self._inventory = Inventory(engine, clock, projects)
        self._own = OwnHands()
        self._others = OtherHands()
        self._exits = Exits()
        self._maker = Maker(engine, self._own, self._others, self._exits, clock)
        self._drainer = Drainer(engine, self._own, self._inventory)
        self._graces: dict[ServiceId, timedelta] = {}
        """The services that the latest look has found, each with its stop grace."""

    # ------------------------------------------------------------------ events

    def stream_began(self) -> None:
        """Engine events arrive from now on."""
        self._inventory.watched(watched=True)

    def stream_ended(self) -> None:
        """No engine events arrive any more."""
        self._inventory.watched(watched=False)

    def happened(self, event: Json) -> timedelta | None:
        """Take in an engine event, so that nobody else's work is interfered with.

        Returns after how long the service may be looked at again where somebody else caused the
        event, and None otherwise.
        """
        if event["Type"] != "container":
            return None
        self._inventory.changed()
        actor = event["Actor"]
        service = service_id(actor["Attributes"])
        if service is None or service not in self._graces:
            return None
        if self._own.at_work(actor["Attributes"].get("name")) or actor["ID"] in (
            self._drainer.draining
        ):
            return None
        if event["Action"] == "kill":
            self._exits.stopped_on_purpose(service, actor["ID"])
        self._others.notice(service, event, self._clock(), self._graces[service])
        return QUIET

    # ------------------------------------------------------------------ look

    async def discover(self) -> Sequence[Service]:
        """Return the Compose services with a label of the autoscaler. Raises EngineError."""
        groups = await self._inventory.containers()
        labelled = [
            replicas
            for replicas in map(self._sort, groups.values())
            if scaling_labels(replicas.template.labels, self._prefix)
        ]
        services = {replicas.service for replicas in labelled}
        self._others.forget_all_but(services)
        self._drainer.forget_all_but(services)
        self._exits.forget_all_but(services)
        self._graces = {id_: each for id_, each in self._graces.items() if id_ in services}
        # What is new is inspected side by side. A failure shows again below, where it is handled.
        new = [each.template for each in labelled if not self._inventory.knows(each.template)]
        await asyncio.gather(*map(self._inventory.traits, new), return_exceptions=True)
        found = [await self._service(groups[each.service], each) for each in labelled]
        return [service for service in found if service is not None]

    async def _service(self, containers: Sequence[Container], replicas: Replicas) -> Service | None:
        """Describe a service as it stands; None where all its containers have gone meanwhile."""
        try:
            traits = await self._inventory.traits(replicas.template)
        except EngineError as error:
            if error.status not in GONE:
                raise
            # It went after the list was made: the next newest container tells as much.
            rest = [each for each in containers if each is not replicas.template]
            return await self._service(rest, self._sort(rest)) if rest else None
        now, service = self._clock(), replicas.service
        self._graces[service] = timedelta(seconds=max(0, traits.grace))
        trouble = self._drainer.trouble(service)
        refusal = self._refusal(replicas)
        left = replicas.left_behind(now) if refusal is None else ()
        present = (*replicas.running, *replicas.stopped)
        ceilings = (traits.ceiling, self._exits.ceiling(service, present, now))
        return Service(
            id=service,
            labels=replicas.template.labels,
            replicas=len(replicas.running),
            ceiling=min(
                (each for each in ceilings if each is not None),
                key=lambda each: each.replicas,
                default=None,
            ),
            refusal=refusal,
            warnings=(
                *(() if trouble is None else (trouble,)),
                *(f"{each.name} was made and never started; it is removed" for each in left),
            ),
            left_behind=len(left),
            draining=sum(container.id in self._drainer.draining for container in containers),
            grace=traits.chosen_grace,
        )

    async def replicas(self, service: ServiceId) -> Sequence[Replica]:
        """Return the replicas that count, as Compose would stop them. Raises OrchestratorError."""
        present = await self._present(service)
        in_turn = present.in_turn()
        # All replicas of one configuration are set up alike, and the template has been inspected.
        kinds = {each.config_hash: each for each in (*in_turn, present.template)}
        read = await asyncio.gather(*map(self._inventory.traits, kinds.values()))
        traits = dict(zip(kinds, read, strict=True))
        return [
            Replica(each.id, traits[each.config_hash].host_name(each.id), turn)
            for turn, each in enumerate(in_turn)
        ]

    # ------------------------------------------------------------------ act

    async def grow(self, action: ScalingAction) -> None:
        """Add replicas until there are `action.desired`; return when they have been started.

        Raises OrchestratorError.
        """
        replicas = await self._changeable(action.service)
        if action.desired > len(replicas.running):
            try:
                await self._maker.grow(replicas, action.desired)
            finally:
                # The next look may come before the events of what was done here.
                self._inventory.changed()

    async def stop(self, action: ScalingAction, choice: Choice) -> Stopped:
        """Stop the chosen replicas side by side, each with its own signal and grace.

        Does not wait for their end: they drain in the background, and are removed when they have
        ended. At zero one is kept, stopped, to be copied later. Raises OrchestratorError.
        """
        replicas = await self._changeable(action.service)
        chosen = {replica.id for replica in choice.replicas}
        # Some may have ended since they were counted: `desired` stay in any case.
        surplus = max(0, len(replicas.running) - action.desired)
        going = [each for each in replicas.in_turn() if each.id in chosen][:surplus]
        keep = replicas.keeper().id if len(going) == len(replicas.running) else ""
        for container in going:
            self._exits.stopped_on_purpose(action.service, container.id)
        self._drainer.start(action.service, going, keep=keep)
        # As with `up --scale`: on the way in, replicas that do not even run go as well.
        for container in replicas.stopped:
            if container.id != keep:
                await self._drainer.remove(container)
        self._inventory.changed()
        return Stopped(tuple(each.id for each in going))

    async def remove_unstarted(self, service: ServiceId) -> None:
        """Remove the replicas that somebody began to make a while ago and never started.

        Raises OrchestratorError.
        """
        replicas = await self._changeable(service)
        for container in replicas.left_behind(self._clock()):
            await self._drainer.remove(container)
        self._inventory.changed()

    async def close(self, patience: timedelta) -> None:
        """Wait at most `patience` for replicas that drain; the engine stops the others alone."""
        await self._drainer.close(patience)

    async def _present(self, service: ServiceId) -> Replicas:
        """Return what there is of a service right now: a change is made of that."""
        containers = (await self._inventory.listed_now()).get(service)
        if containers is None:
            raise OrchestratorError(f"{service} has no containers any more")
        return self._sort(containers)

    async def _changeable(self, service: ServiceId) -> Replicas:
        replicas = await self._present(service)
        refusal = self._refusal(replicas)
        if refusal is not None:
            raise OrchestratorError(f"{service}: {refusal}")
        return replicas

    def _sort(self, containers: Sequence[Container]) -> Replicas:
        return Replicas.of(containers, self._drainer.draining)

    def _refusal(self, replicas: Replicas) -> str | None:
        if replicas.refusal is None and self._others.at_work(replicas.service, self._clock()):
            return OTHERS_AT_WORK
        return replicas.refusal

"""Compose services over the Engine API, without the docker compose command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from autoscaler.core.drain import Drain
from autoscaler.core.errors import OrchestratorError
from autoscaler.core.label_values import SwarmChoice
from autoscaler.core.labels import DEFAULT_PREFIX
from autoscaler.core.model import Replica, ScalingAction, Service, ServiceId
from autoscaler.core.protect import Choice, Stopped
from autoscaler.core.territory import Surroundings
from autoscaler.orchestrators.compose.containers import NAME, Container, Replicas, service_id
from autoscaler.orchestrators.compose.draining import Drainer
from autoscaler.orchestrators.compose.exits import Exits, may_be_a_stop
from autoscaler.orchestrators.compose.hands import QUIET, OtherHands, OwnHands
from autoscaler.orchestrators.compose.inventory import Inventory
from autoscaler.orchestrators.compose.making import OTHERS_AT_WORK, Maker
from autoscaler.orchestrators.compose.signals import Signals
from autoscaler.orchestrators.compose.uses import Use
from autoscaler.orchestrators.engine import GONE, PODMAN, Engine, EngineError, Json
from autoscaler.orchestrators.projects import OWN_SERVICE, Projects
from autoscaler.ports import LooksAfter
from autoscaler.wishes.labels import Labels


class ComposeOrchestrator:
    """Finds Compose services and scales them."""

    name = NAME

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime],
        prefix: str = DEFAULT_PREFIX,
        projects: Projects | None = None,
        looks_after: LooksAfter | None = None,
    ) -> None:
        """Look after services of `projects`; without any, of all.

        `looks_after` says which; without it, those with a label that begins with `prefix`.
        """
        self._engine = engine
        self._clock = clock
        self._looks_after = looks_after or Labels(prefix).looks_after
        self._projects = projects or Projects(engine)
        self._inventory = Inventory(engine, clock, self._projects)
        self._own = OwnHands()
        self._others = OtherHands()
        self._exits = Exits(self._inventory.exit)
        self._maker = Maker(engine, self._own, self._others, self._exits, clock)
        self._drainer = Drainer(engine, self._own, self._inventory, clock)
        self._signals = Signals(engine, self._inventory)
        self._graces: dict[ServiceId, timedelta] = {}
        """The services that the latest look has found, each with its stop grace."""

    @property
    def inventory(self) -> Inventory:
        """The containers that it finds."""
        return self._inventory

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
        actor = event["Actor"]
        self._inventory.happened(actor["ID"], event["Action"])
        service = service_id(actor["Attributes"])
        if service is None or service not in self._graces:
            return None
        untold = self._engine.product == PODMAN and may_be_a_stop(event)
        self._note_ends(service, actor["ID"], event["Action"], untold=untold)
        if self._is_own(actor["ID"], actor["Attributes"].get("name", ""), event["Action"]):
            return None
        now = self._clock()
        self._others.notice(service, event, now, self._graces[service], untold=untold)
        return QUIET

    def _note_ends(self, service: ServiceId, container: str, action: str, *, untold: bool) -> None:
        """Take in that a replica has ended or come up, whoever did it.

        `untold`: somebody may have stopped it, and no event would have told.
        """
        if action == "die":
            now = self._clock()
            by_others = self._others.stopping(container, now)
            drains = container in self._drainer.draining
            unknown = (drains or untold) and not self._drainer.follows(container)
            if self._drainer.has_ignored(container):
                # It has heeded its signal in the end.
                self._exits.told_to_stop(service, container)
            self._drainer.ended(container)
            # If it was told to stop before the daemon watched, nobody knows by whom.
            if by_others or not unknown:
                self._exits.died(service, container, now, by_others=by_others)
        elif action == "start":
            self._drainer.came_up(container)
            self._exits.came_up(service, container)

    def _is_own(self, container: str, name: str, action: str) -> bool:
        """Whether the daemon's own work has caused an event."""
        if self._drainer.follows(container):
            # Others, such as `docker compose down`, may send it a signal as well.
            return action != "kill" or self._drainer.take_own_signal(container)
        # Events arrive a little after the step that caused them. But the daemon only stops what
        # drains, or what it is still making: others may stop a replica that was just started.
        return self._own.busy_with(name) if action == "kill" else self._own.at_work(name)

    # ------------------------------------------------------------------ look

    async def discover(self) -> Sequence[Service]:
        """Return the Compose services that are looked after. Raises EngineError."""
        groups = await self._inventory.containers()
        listed = self._inventory.listed_at
        await self._drainer.look(groups)
        draining = self._drainer.draining
        ours = [
            replicas
            for replicas in (each.without(draining) for each in groups.values())
            if self._looks_after(replicas.service, replicas.template.labels)
        ]
        services = {replicas.service for replicas in ours}
        self._others.forget_all_but(services)
        self._drainer.forget_all_but(services)
        self._exits.forget_all_but(services)
        self._maker.forget_all_but(services)
        self._graces = {id_: each for id_, each in self._graces.items() if id_ in services}
        # What is new is inspected side by side. A failure shows again below, where it is handled.
        new = [each.template for each in ours if not self._inventory.knows(each.template)]
        await asyncio.gather(*map(self._inventory.traits, new), return_exceptions=True)
        await self._signals.look(ours)
        uses = await self._inventory.uses(ours)
        found = [await self._service(each, uses.get(each.service, ()), listed) for each in ours]
        return [service for service in found if service is not None]

    @property
    def surroundings(self) -> Surroundings:
        """What the latest look saw beside its own services."""
        others = self._inventory.others.items()
        return Surroundings(
            self._inventory.projects,
            tuple(id_ for id_, labels in others if self._looks_after(id_, labels)),
            self._inventory.services,
        )

    async def _service(
        self, replicas: Replicas, uses: Sequence[Use], listed: datetime
    ) -> Service | None:
        """Describe a service as it stood when the engine was asked, at `listed`.

        None where all its containers have gone meanwhile.
        """
        try:
            traits = await self._inventory.traits(replicas.template)
        except EngineError as error:
            if error.status not in GONE:
                raise
            # It went after the list was made: the next newest container tells as much.
            rest = [each for each in replicas.containers if each is not replicas.template]
            if not rest:
                return None
            return await self._service(Replicas.of(rest, self._drainer.draining), uses, listed)
        now, service, draining = self._clock(), replicas.service, self._drainer.draining
        self._graces[service] = timedelta(seconds=max(0, traits.grace))
        trouble = self._drainer.trouble(service)
        refusal = await self._refusal(replicas)
        left = replicas.left_behind(now) if refusal is None else ()
        ceilings = (traits.ceiling, self._maker.ceiling(replicas))
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
            in_use=tuple({each.replica: each.words for each in uses if each.running}.values()),
            draining=sum(each.id in draining for each in replicas.containers),
            grace=traits.chosen_grace,
            ignored_signal=self._signals.ignored(service),
            ending=await self._exits.look(replicas, listed, now),
            crashed=self._exits.take_crashes(service),
            ignoring=self._drainer.ignoring(replicas),
            version=replicas.template.version,
        )

    async def replicas(
        self,
        service: ServiceId,
        how: SwarmChoice = SwarmChoice.ORDER,  # noqa: ARG002 - each can be stopped by name
    ) -> Sequence[Replica]:
        """Return the replicas that count, as Compose would stop them. Raises OrchestratorError."""
        present = await self._present(service)
        uses = (await self._inventory.uses([present])).get(service, ())
        in_turn = present.in_turn({each.replica for each in uses})
        in_use = {each.replica for each in uses if each.running}
        # All replicas of one configuration are set up alike, and the template has been inspected.
        kinds = {each.config_hash: each for each in (*in_turn, present.template)}
        read = await asyncio.gather(*map(self._inventory.traits, kinds.values()))
        traits = dict(zip(kinds, read, strict=True))
        return [
            Replica(
                each.id,
                traits[each.config_hash].host_name(each.id),
                turn,
                in_use=each.id in in_use,
            )
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
        if self._drainer.ignoring(replicas):
            return Stopped()  # The others would ignore their signal as well.
        keep = replicas.keeper().id if len(going) == len(replicas.running) else ""
        traits = await asyncio.gather(*map(self._inventory.traits, going))
        for container in going:
            self._exits.told_to_stop(action.service, container.id)
        self._drainer.start(action.service, zip(going, traits, strict=True), keep=keep)
        # As with `up --scale`: on the way in, replicas that do not even run go as well.
        for container in replicas.stopped:
            if container.id != keep:
                await self._drainer.remove(container)
        self._inventory.changed()
        return Stopped(tuple(each.id for each in going))

    async def restore(self, service: ServiceId) -> None:
        """Do nothing: no change leaves a service frozen."""

    async def remove_unstarted(self, service: ServiceId) -> None:
        """Remove the replicas that somebody began to make a while ago and never started.

        Raises OrchestratorError.
        """
        replicas = await self._changeable(service)
        for container in replicas.left_behind(self._clock()):
            await self._drainer.remove(container)
        self._inventory.changed()

    # ------------------------------------------------------------------ drains

    @property
    def drains(self) -> Sequence[Drain]:
        """The replicas of services that are looked after which were told to stop and still run."""
        return [each for each in self._drainer.seen() if each.service in self._graces]

    def take_up(self, drain: Drain) -> None:
        """Bring a replica to its end that was told to stop before this process began."""
        replicas = self._inventory.groups.get(drain.service)
        if replicas is not None and self._drainer.take_up(drain.id, replicas):
            self._exits.told_to_stop(drain.service, drain.id)

    def take_back(self, drain: Drain, *, ignores: bool) -> None:
        """Count a replica again that was told to stop; `ignores`: it does not heed its signal."""
        self._drainer.take_back(drain.id, ignores=ignores)

    def kill(self, drain: Drain) -> None:
        """Begin to end a replica at once that drains, unless somebody else is at work on it."""
        if not self._others.at_work(drain.service, self._clock()):
            self._drainer.kill(drain.id)

    async def close(self, patience: timedelta) -> None:
        """Wait at most `patience` for replicas that drain; the others end alone."""
        await self._drainer.close(patience)

    async def _present(self, service: ServiceId) -> Replicas:
        """Return what there is of a service right now: a change is made of that."""
        replicas = (await self._inventory.listed_now()).get(service)
        if replicas is None:
            raise OrchestratorError(f"{service} has no containers any more")
        return replicas.without(self._drainer.draining)

    async def _changeable(self, service: ServiceId) -> Replicas:
        replicas = await self._present(service)
        refusal = await self._refusal(replicas)
        if refusal is not None:
            raise OrchestratorError(f"{service}: {refusal}")
        return replicas

    async def _refusal(self, replicas: Replicas) -> str | None:
        """Return why a service must not be changed now; None where it may. Raises EngineError."""
        if replicas.service == service_id(await self._projects.own_labels()):
            return OWN_SERVICE
        if replicas.refusal is not None:
            return replicas.refusal
        now = self._clock()
        if self._others.at_work(replicas.service, now):
            return OTHERS_AT_WORK
        if self._drainer.may_be_others(replicas):
            return OTHERS_AT_WORK
        for container in replicas.being_started(now):
            if await self._is_composes_to_start(replicas, container):
                return (
                    f"{container.name} was created and has not been started yet, so docker compose"
                    " may still be at work; it is scaled again afterwards"
                )
        return replicas.never_started

    async def _is_composes_to_start(self, replicas: Replicas, container: Container) -> bool:
        """Whether Compose may be about to start a container that was created.

        Compose starts the replicas of a service after it has created all of them. So one that was
        created while another of the same configuration ran was made for a scale-out: by others, if
        they were seen, or by a daemon that was killed before the start.
        """
        if self._own.at_work(container.name):
            return False
        eldest = replicas.eldest(container)
        if eldest is None or self._others.made(container.id):
            return True
        ran = (await self._inventory.times(eldest)).started
        return ran >= (await self._inventory.times(container)).created

"""The containers of Compose services: one list, kept for as long as nothing has changed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from autoscaler.core.model import ServiceId
from autoscaler.orchestrators.compose import recipe
from autoscaler.orchestrators.compose.configured import inspect_as_configured
from autoscaler.orchestrators.compose.containers import Container, Replicas
from autoscaler.orchestrators.compose.ended import read_exit
from autoscaler.orchestrators.compose.exits import Exit
from autoscaler.orchestrators.compose.podman import runs
from autoscaler.orchestrators.compose.uses import OtherContainer, Use, uses_of, uses_something_of
from autoscaler.orchestrators.engine import GONE, Engine, EngineError
from autoscaler.orchestrators.projects import Projects

LONGEST = timedelta(minutes=1)
"""How long a list is kept at most: the engine drops events that a reader does not take in time."""

Groups = Mapping[ServiceId, Replicas]
"""The containers of each service, those that drain among them."""

Uses = Mapping[ServiceId, Sequence[Use]]


@dataclass(frozen=True, slots=True)
class Times:
    """When something happened to a container, to a fraction of a second."""

    created: datetime
    started: datetime
    """Its latest start."""


@dataclass(frozen=True, slots=True)
class _List:
    groups: Groups
    projects: frozenset[str]
    """All projects that there are, those that are not looked after among them."""
    others: Mapping[ServiceId, Mapping[str, str]]
    """The services of projects that are not looked after, each with its labels."""
    everything: tuple[OtherContainer, ...]
    """All containers of the engine: each is another one to the replicas of a service."""
    changes: int
    """How many changes were known when the engine was asked."""
    at: datetime
    behind: bool
    """Whether the engine listed a container as running whose end it had told."""


class Inventory:
    """Lists containers, and lists them again whenever they may have changed.

    That is after an engine event, after a change of the daemon's own, while no event stream is
    open, while the engine's list is behind its events, and after a minute. What is read from the
    inspect of a container never changes while the container has its name, so no container is
    inspected twice for that.
    """

    def __init__(
        self, engine: Engine, clock: Callable[[], datetime], projects: Projects | None = None
    ) -> None:
        """List the containers of these projects; without any, of all."""
        self._engine = engine
        self._clock = clock
        self._projects = projects or Projects(engine)
        self._watched = False
        self._changes = 0
        self._list: _List | None = None
        self._ended: set[str] = set()
        """Containers whose end an event has told, and no later event a start, by their ids."""
        self._started: dict[str, datetime] = {}
        """When containers were started that an event has told of, by their ids."""
        self._used: dict[str, frozenset[str]] = {}
        """The containers that others use something of, by the ids of these others."""
        self._traits: dict[tuple[str, str], recipe.Traits] = {}

    @property
    def projects(self) -> frozenset[str]:
        """Every project of the latest list, looked after or not."""
        return frozenset() if self._list is None else self._list.projects

    @property
    def others(self) -> Mapping[ServiceId, Mapping[str, str]]:
        """The services of the latest list that are not looked after, each with its labels."""
        return {} if self._list is None else self._list.others

    @property
    def services(self) -> frozenset[ServiceId]:
        """Every service of the latest list, looked after or not."""
        if self._list is None:
            return frozenset()
        return frozenset((*self._list.groups, *self._list.others))

    @property
    def groups(self) -> Groups:
        """The containers of each service in the latest list, looked after or not."""
        return {} if self._list is None else self._list.groups

    @property
    def all_running(self) -> Sequence[str]:
        """The ids of all containers of the engine that ran in the latest list."""
        everything = () if self._list is None else self._list.everything
        return [each.id for each in everything if each.running]

    def ran_for(self, container: Container) -> timedelta:
        """Return how long a container has run since its latest start, or longer.

        A start that no event has told of is taken for the moment when it was created.
        """
        created = datetime.fromtimestamp(container.created, UTC)
        return self._clock() - max(created, self._started.get(container.id, created))

    @property
    def listed_at(self) -> datetime:
        """When the engine was asked for the latest list; now where there is none."""
        return self._clock() if self._list is None else self._list.at

    def watched(self, *, watched: bool) -> None:
        """Say whether engine events arrive: without them, nothing is known of changes."""
        self._watched = watched
        self._ended.clear()
        self.changed()

    def happened(self, container: str, action: str) -> None:
        """Take in an event of a container.

        The engine tells that a container has ended before it has cleaned up after it, and lists it
        as running until then: some 50 ms at rest (measured on 20.10), and longer under load. No
        later event would tell that such a list is wrong. So an event of an end counts for more.
        """
        if action == "die":
            self._ended.add(container)
        elif action == "start":
            self._ended.discard(container)
            self._started[container] = self._clock()
        elif action == "update":
            # `docker update` has changed its memory, perhaps.
            self._traits = {key: each for key, each in self._traits.items() if key[0] != container}
        self.changed()

    def changed(self) -> None:
        """Say that containers may have changed: the next look lists them again."""
        self._changes += 1

    async def containers(self) -> Groups:
        """Return the containers of each service. Raises EngineError.

        Where the latest list still holds, the engine is only asked whether it answers.
        """
        if self._list is None or not self._holds(self._list):
            return await self.listed_now()
        await self._engine.call("asking whether the engine answers", lambda it: it.ping())
        return self._list.groups

    async def listed_now(self) -> Groups:
        """List the containers of each service, whatever is known of them. Raises EngineError."""
        changes, at = self._changes, self._clock()
        territory = await self._projects.territory()
        rows = await self._engine.call(
            "listing containers",
            lambda client: client.containers(all=True),
        )
        containers: dict[ServiceId, list[Container]] = defaultdict(list)
        others: dict[ServiceId, Mapping[str, str]] = {}
        projects: set[str] = set()
        behind = False
        for row in rows:
            container = Container.from_row(row)
            if container is None:
                continue
            if container.id in self._ended and container.state in ("running", "paused"):
                container, behind = replace(container, state="exited"), True
            project = container.labels[recipe.PROJECT]
            projects.add(project)
            if territory.includes(project):
                containers[container.service].append(container)
            else:
                others[container.service] = container.labels
        groups = {service: Replicas.of(each) for service, each in containers.items()}
        everything = tuple(map(OtherContainer.from_row, rows))
        self._list = _List(groups, frozenset(projects), others, everything, changes, at, behind)
        ids = {each.id for each in everything}
        self._ended &= ids
        self._started = {id_: at for id_, at in self._started.items() if id_ in ids}
        self._used = {id_: used for id_, used in self._used.items() if id_ in ids}
        present = {_key(each) for group in containers.values() for each in group}
        self._traits = {key: traits for key, traits in self._traits.items() if key in present}
        return groups

    def knows(self, container: Container) -> bool:
        """Whether `traits` has an answer without asking the engine."""
        return _key(container) in self._traits

    async def traits(self, container: Container) -> recipe.Traits:
        """Return what counts of a container's inspect. Raises EngineError."""
        key = _key(container)
        if key not in self._traits:
            self._traits[key] = await self._engine.call(
                f"inspecting {container.name}",
                lambda client: recipe.Traits.of(inspect_as_configured(client, container.id)),
            )
        return self._traits[key]

    async def uses(self, groups: Collection[Replicas]) -> Uses:
        """Return the uses of replicas by other containers, by service. Raises EngineError.

        A list shows whose network a container uses. For the rest, only containers that depend on
        one of these services, or that were made by hand, are inspected, once each.
        """
        services = {each.service for each in groups}
        others = () if self._list is None else self._list.everything
        new = [each for each in others if each.id not in self._used and each.may_use(services)]
        await asyncio.gather(*map(self._inspect_for_uses, new))
        users = [(each, self._used.get(each.id) or each.network) for each in others]
        uses: dict[ServiceId, list[Use]] = defaultdict(list)
        for use in uses_of((each for group in groups for each in group.running), users):
            uses[use.service].append(use)
        return uses

    async def _inspect_for_uses(self, other: OtherContainer) -> None:
        try:
            self._used[other.id] = await self._engine.call(
                f"inspecting {other.name}",
                lambda client: uses_something_of(client.inspect_container(other.id)["HostConfig"]),
            )
        except EngineError as error:
            if error.status not in GONE:
                raise

    async def times(self, container: Container) -> Times:
        """Return when a container was created and started. Raises EngineError."""
        found = await self._engine.call(
            f"inspecting {container.name}",
            lambda client: client.inspect_container(container.id),
        )
        created, started = found["Created"], found["State"]["StartedAt"]
        return Times(datetime.fromisoformat(created), datetime.fromisoformat(started))

    async def runs(self, container: Container) -> bool:
        """Whether a container runs, by the word of the engine right now. Raises EngineError."""
        try:
            found = await self._engine.call(
                f"inspecting {container.name}",
                lambda client: client.inspect_container(container.id),
            )
        except EngineError as error:
            if error.status not in GONE:
                raise
            return False
        return runs(found["State"])

    async def exit(self, container: Container) -> Exit | None:
        """Return how a container has ended; None where it is gone. Raises EngineError."""
        try:
            return await self._engine.call(
                f"inspecting {container.name}",
                lambda client: read_exit(client, container.id),
            )
        except EngineError as error:
            if error.status not in GONE:
                raise
            return None

    def _holds(self, kept: _List) -> bool:
        # An age below zero means that the clock was set back: the true age is unknown then.
        young = timedelta() <= self._clock() - kept.at < LONGEST
        current = kept.changes == self._changes and not kept.behind
        return self._watched and young and current


def _key(container: Container) -> tuple[str, str]:
    # Compose gives a container its final name only once the container it replaces is gone.
    return container.id, container.name

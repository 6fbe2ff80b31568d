"""The containers of Compose services: one list, kept for as long as nothing has changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from autoscaler.core.model import ServiceId
from autoscaler.orchestrators.compose import recipe
from autoscaler.orchestrators.compose.containers import Container
from autoscaler.orchestrators.engine import Engine

LONGEST = timedelta(minutes=1)
"""How long a list is kept at most: the engine drops events that a reader does not take in time."""

Groups = Mapping[ServiceId, Sequence[Container]]
"""The containers of each service."""


@dataclass(frozen=True, slots=True)
class _List:
    groups: Groups
    changes: int
    """How many changes were known when the engine was asked."""
    at: datetime


class Inventory:
    """Lists containers, and lists them again whenever they may have changed.

    That is after an engine event, after a change of the daemon's own, while no event stream is
    open, and after a minute. What is read from the inspect of a container never changes while the
    container has its name, so no container is inspected twice for that.
    """

    def __init__(
        self, engine: Engine, clock: Callable[[], datetime], projects: Collection[str] = ()
    ) -> None:
        """List the containers of these projects, or of all where none is named."""
        self._engine = engine
        self._clock = clock
        self._projects = frozenset(projects)
        self._watched = False
        self._changes = 0
        self._list: _List | None = None
        self._traits: dict[tuple[str, str], recipe.Traits] = {}

    def watched(self, *, watched: bool) -> None:
        """Say whether engine events arrive: without them, nothing is known of changes."""
        self._watched = watched
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
        rows = await self._engine.call(
            "listing containers",
            lambda client: client.containers(
                all=True, filters={"label": [recipe.CONFIG_HASH, f"{recipe.ONEOFF}=False"]}
            ),
        )
        groups: dict[ServiceId, list[Container]] = defaultdict(list)
        for row in rows:
            container = Container.from_row(row)
            if container is not None and self._is_ours(container):
                groups[container.service].append(container)
        self._list = _List(groups, changes, at)
        present = {_key(each) for containers in groups.values() for each in containers}
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
                lambda client: recipe.Traits.of(client.inspect_container(container.id)),
            )
        return self._traits[key]

    def _holds(self, kept: _List) -> bool:
        # An age below zero means that the clock was set back: the true age is unknown then.
        young = timedelta() <= self._clock() - kept.at < LONGEST
        return self._watched and young and kept.changes == self._changes

    def _is_ours(self, container: Container) -> bool:
        return not self._projects or container.labels[recipe.PROJECT] in self._projects


def _key(container: Container) -> tuple[str, str]:
    # Compose gives a container its final name only once the container it replaces is gone.
    return container.id, container.name

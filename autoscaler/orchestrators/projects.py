"""Which projects this daemon looks after: what AUTOSCALER_PROJECTS says, resolved once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoscaler.core.territory import EVERY, OWN, Territory
from autoscaler.orchestrators.engine import Engine, EngineError, Json
from autoscaler.orchestrators.place import Place

COMPOSE_PROJECT = "com.docker.compose.project"
STACK = "com.docker.stack.namespace"
SWARM_SERVICE = "com.docker.swarm.service.id"
OWN_SERVICE = "it runs the autoscaler itself, which does not scale itself"
"""Why the service that the daemon is part of keeps its replicas."""


def project_of(labels: Mapping[str, str]) -> str | None:
    """Return the Compose project or the stack that a container's labels name; None: neither."""
    return labels.get(COMPOSE_PROJECT) or labels.get(STACK)


class Projects:
    """Knows the projects that are looked after, from the first time that the engine answers."""

    def __init__(
        self, engine: Engine, wanted: Sequence[str] = (EVERY,), place: Place | None = None
    ) -> None:
        """Look after what `wanted` says, the value of AUTOSCALER_PROJECTS, from this `place`."""
        self._engine = engine
        self._wanted = tuple(wanted)
        self._place = place or Place()
        self._territory: Territory | None = None
        self._own: Mapping[str, str] | None = None

    async def territory(self) -> Territory:
        """Return what is looked after. Raises EngineError where the engine has to be asked and does
        not answer: what is not known is never taken for all projects.
        """
        if self._territory is None:
            self._territory = await self._find()
        return self._territory

    async def own_labels(self) -> Mapping[str, str]:
        """Return the labels of the container that this process runs in; empty where it runs in
        none, or in one that the engine does not know.

        Raises EngineError where the engine does not answer.
        """
        if self._own is None:
            self._own = await self._own_labels() or {} if self._place.in_container else {}
        return self._own

    async def _find(self) -> Territory:
        if OWN not in self._wanted:
            return Territory.of(self._wanted, None, "")
        if not self._place.in_container:
            return Territory.of(self._wanted, None, "this process runs in no container")
        labels = await self._own_labels()
        if labels is None:
            return Territory.of(
                self._wanted, None, "this engine does not know the container of this process"
            )
        return Territory.of(
            self._wanted,
            project_of(labels),
            "the container of this process belongs to no project or stack",
        )

    async def _own_labels(self) -> Mapping[str, str] | None:
        """Return the labels of the container that this process runs in; None: it is not there."""
        own = self._place.containers
        rows: list[Json] = await self._engine.call(
            "looking for the daemon's own container",
            lambda client: client.containers(all=True, filters={"id": list(own)}),
        )
        found: Mapping[str, Mapping[str, str]]
        found = {row["Id"]: row.get("Labels") or {} for row in rows}
        found = found or await self._labels_of_tasks()
        return next((found[each] for each in own if each in found), None)

    async def _labels_of_tasks(self) -> Mapping[str, Mapping[str, str]]:
        """Return the labels of the Swarm's tasks by their containers: they may run on other nodes.

        Empty where the engine is no manager, or a proxy does not let the question through.
        """
        try:
            tasks: list[Json] = await self._engine.call(
                "looking for the daemon's own task", lambda client: client.tasks()
            )
        except EngineError as error:
            if error.status is None:
                raise
            return {}
        return {
            (task["Status"].get("ContainerStatus") or {}).get("ContainerID", ""): {
                **((task["Spec"].get("ContainerSpec") or {}).get("Labels") or {}),
                # The containers themselves have this label too; the tasks do not.
                SWARM_SERVICE: task.get("ServiceID", ""),
            }
            for task in tasks
        }

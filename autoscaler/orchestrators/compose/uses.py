"""Containers that use a replica's network, processes, memory or volumes. Pure.

`network_mode: service:worker`, and likewise `pid`, `ipc` and `volumes_from`, lead to one container
of that service. If it stops, the other one is cut off from it, so it stays while the other runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from autoscaler.core.model import ServiceId
from autoscaler.orchestrators.compose import recipe
from autoscaler.orchestrators.compose.containers import Container, service_id
from autoscaler.orchestrators.engine import Json

DEPENDS_ON = "com.docker.compose.depends_on"
"""Label with the services that a container needs: `db:service_healthy:false,web:...`. Compose also
names the services there whose namespaces or volumes it uses."""
_SWARM_TASK = "com.docker.swarm.task.id"
_NAMESPACE = "container:"
_SHORT_ID = 12


@dataclass(frozen=True, slots=True)
class OtherContainer:
    """Any container of the engine, as far as it may use something of a replica."""

    id: str
    name: str
    running: bool
    network: frozenset[str]
    """The container whose network it uses, if any: the only such use that a list shows."""
    needs: frozenset[ServiceId]
    """The Compose services that it depends on."""
    by_hand: bool
    """Whether neither Compose nor Swarm made it: then nothing says what it depends on."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a row of the engine's list."""
        labels: dict[str, str] = row.get("Labels") or {}
        service = service_id(labels)
        needed = {each.partition(":")[0] for each in labels.get(DEPENDS_ON, "").split(",")}
        needs = (service_id({**labels, recipe.SERVICE: each}) for each in needed)
        return cls(
            id=row["Id"],
            name=(row.get("Names") or ["/"])[0].removeprefix("/"),
            running=row["State"] in ("running", "restarting", "paused"),
            network=uses_something_of(row.get("HostConfig") or {}),
            needs=frozenset(each for each in needs if each is not None),
            by_hand=service is None and _SWARM_TASK not in labels,
        )

    def may_use(self, services: Collection[ServiceId]) -> bool:
        """Whether only an inspect tells that it uses nothing of a replica of these services."""
        return self.by_hand or not self.needs.isdisjoint(services)


@dataclass(frozen=True, slots=True)
class Use:
    """A replica, and another container that uses something of it."""

    service: ServiceId
    replica: str
    """Id of the replica."""
    running: bool
    """Whether the other container runs."""
    words: str
    """Both names: `shop-worker-1 by shop-proxy-1`."""


def uses_something_of(host: Json) -> frozenset[str]:
    """Return the containers, by id or name, that a `HostConfig` uses something of."""
    modes = [host.get(key) or "" for key in ("NetworkMode", "PidMode", "IpcMode")]
    volumes = [each.partition(":")[0] for each in host.get("VolumesFrom") or ()]
    used = [each.removeprefix(_NAMESPACE) for each in modes if each.startswith(_NAMESPACE)]
    return frozenset(each.removeprefix("/") for each in (*used, *volumes))


def uses_of(
    replicas: Iterable[Container], users: Sequence[tuple[OtherContainer, Collection[str]]]
) -> tuple[Use, ...]:
    """Return each use of a replica by another container; `users` are all, with what they use."""
    used = {reference for _, references in users for reference in references}
    known = {
        reference: replica
        for replica in replicas
        for reference in (replica.id, replica.id[:_SHORT_ID], replica.name)
        if reference in used
    }
    found = (
        (known[reference], user)
        for user, references in users
        for reference in references
        if reference in known and known[reference].id != user.id
    )
    return tuple(
        Use(replica.service, replica.id, user.running, f"{replica.name} by {user.name}")
        for replica, user in found
    )

"""What the nodes of a Swarm are asked to do: each node's agent speaks to the node's own engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from autoscaler.core.errors import OrchestratorError


class AgentUnavailable(OrchestratorError):
    """No agent answers for a node, or it refuses."""


class Agents(Protocol):
    """The agents on the nodes of the Swarm.

    `node` is the Swarm's NodeID and `service` the Swarm's id of a service.
    """

    async def state(
        self, node: str, service: str, containers: Collection[str]
    ) -> Mapping[str, bool]:
        """Return for each container of a service whether it runs, by the node's own engine.

        Raises AgentUnavailable.
        """
        ...

    async def drain(self, node: str, service: str, container: str, grace: timedelta) -> None:
        """Have a container stopped behind this grace; return when the node has taken the order.

        Raises AgentUnavailable.
        """
        ...

    async def silent(self) -> Sequence[str]:
        """Return the nodes that are ready and whose agent does not answer, by NodeID."""
        ...

"""The agents on the nodes of a Swarm, as the orchestrator of Swarm services uses them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from autoscaler.core.errors import OrchestratorError


class AgentUnavailable(OrchestratorError):
    """An agent is missing, silent or refused; the message names the node and the remedy."""


class Agents(Protocol):
    """The agent on each node, which asks the node's own engine."""

    async def state(
        self, node: str, service: str, containers: Collection[str]
    ) -> Mapping[str, bool]:
        """Return for each of these containers whether it runs, as the node's own engine says.

        `node` is the Swarm's id of the node, `service` that of the service. A container that is
        gone does not run. Raises AgentUnavailable.
        """

    async def drain(self, node: str, service: str, container: str, grace: timedelta) -> None:
        """Have one container stopped behind this grace.

        Returns when the order is given to the node's engine. Raises AgentUnavailable.
        """

    async def silent(self) -> Sequence[str]:
        """Return a sentence for each node whose agent does not answer: its name, and why."""

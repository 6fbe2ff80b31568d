"""On which nodes of a Swarm tasks can be chosen, and why not on the others."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from autoscaler.core.errors import OrchestratorError, describe
from autoscaler.orchestrators.engine import Engine, Json
from autoscaler.orchestrators.swarm.agents import Agents
from autoscaler.orchestrators.swarm.frost import can_freeze

ANSWERS_WITHIN = 5.0
"""Seconds that a look waits for the agents. Without an answer, no task is chosen."""
NO_AGENTS = (
    "no agents are set up; start `autoscaler agent` on every node, and give it and the daemon"
    " AUTOSCALER_AGENT_SECRET"
)
NO_PLACEMENT = (
    "it was made without any placement, and none can be taken back; make it with `docker stack"
    " deploy` or `docker service create`"
)


class Reach:
    """Knows whose tasks can be chosen, as of the latest look."""

    def __init__(self, engine: Engine, agents: Agents | None) -> None:
        self._engine = engine
        self._agents = agents
        self._shortfall: str | None = None if agents is not None else NO_AGENTS

    def shortfall(self, row: Json) -> str | None:
        """Return why not every task of a service can be chosen; None where nothing is known."""
        return self._shortfall or (None if can_freeze(row["Spec"]) else NO_PLACEMENT)

    async def look(self) -> Collection[str]:
        """Return the ids of the nodes whose tasks can be chosen."""
        if self._agents is None:
            return ()
        try:
            nodes: list[Json] = await self._engine.call(
                "listing the nodes of the Swarm", lambda client: client.nodes()
            )
            managers = sum(node["Spec"]["Role"] == "manager" for node in nodes)
            if managers != 1:
                # A change of the leader while a service was frozen cost busy tasks in 7 of 50
                # trials (Engine 26.1, 2026-11), for a reason that is not known.
                self._shortfall = (
                    f"the Swarm has {managers} managers, and busy tasks were lost where the leader"
                    " changed while tasks were chosen; it takes exactly one manager"
                )
                return ()
            async with asyncio.timeout(ANSWERS_WITHIN):
                silent = await self._agents.silent()
        except (OrchestratorError, TimeoutError) as error:
            self._shortfall = f"it is unknown which agents answer ({describe(error)})"
            return ()
        self._shortfall = "; ".join(sorted(silent.values())) or None
        return {node["ID"] for node in nodes} - silent.keys()

"""On which nodes of a Swarm tasks can be chosen, and why not on the others."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from autoscaler.core.errors import OrchestratorError, describe
from autoscaler.orchestrators.engine import Engine, Json
from autoscaler.orchestrators.swarm.agents import Agents
from autoscaler.orchestrators.swarm.frost import can_freeze
from autoscaler.orchestrators.swarm.tasks import container_of, is_running

ANSWERS_WITHIN = 5.0
"""Seconds that a look waits for an agent. Without an answer, no task of its node is chosen."""
STILL_SILENT_AFTER = 1.0
"""Seconds that a look waits for an agent that was silent at the latest one. All services of a tick
wait for the look, so a node that is cut off must not cost `ANSWERS_WITHIN` in every tick."""
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
        self._shortfalls: dict[str, str] = {}
        """By the id of a service, what the latest look at it has missed."""
        self._silent: set[str] = set()
        """The ids of the nodes whose agents did not answer when they were asked last."""

    def shortfall(self, row: Json) -> str | None:
        """Return why not every task of a service can be chosen; None where nothing is missing."""
        if self._agents is None:
            return NO_AGENTS
        return self._shortfalls.get(row["ID"]) or (
            None if can_freeze(row["Spec"]) else NO_PLACEMENT
        )

    def forget_all_but(self, services: Collection[str]) -> None:
        """Drop what is known of services that are gone, by their ids."""
        self._shortfalls = {id_: each for id_, each in self._shortfalls.items() if id_ in services}

    async def look(self, tasks: Sequence[Json]) -> Collection[str]:
        """Return the ids of the nodes on which tasks of a service can be chosen.

        `tasks` are all of that service. Only agents of nodes that run some of them are asked.
        """
        running: dict[str, list[Json]] = defaultdict(list)
        for task in tasks:
            if is_running(task):
                running[task["NodeID"]].append(task)
        if self._agents is None or not running:
            return ()
        nodes, shortfall = await self._look(self._agents, running)
        self._shortfalls[tasks[0]["ServiceID"]] = shortfall
        return nodes

    async def _look(
        self, agents: Agents, running: Mapping[str, Sequence[Json]]
    ) -> tuple[Collection[str], str]:
        """Return the nodes within reach, and what is missing; empty where nothing is."""
        try:
            rows: list[Json] = await self._engine.call(
                "listing the nodes of the Swarm", lambda client: client.nodes()
            )
        except OrchestratorError as error:
            return (), f"it is unknown how many managers the Swarm has ({describe(error)})"
        managers = [row for row in rows if row["Spec"]["Role"] == "manager"]
        if len(managers) != 1:
            # A change of the leader while a service was frozen cost busy tasks in 7 of 50 trials
            # (Engine 26.1, 2026-11), for a reason that is not known.
            return (), (
                f"the Swarm has {len(managers)} managers, and busy tasks were lost where the leader"
                " changed while tasks were chosen; it takes exactly one manager"
            )
        names = {row["ID"]: row["Description"]["Hostname"] for row in rows}
        asked = (self._ask(agents, names.get(node, node), node, running[node]) for node in running)
        problems = dict(zip(running, await asyncio.gather(*asked), strict=True))
        within = {node for node, problem in problems.items() if problem is None}
        return within, "; ".join(sorted(filter(None, problems.values())))

    async def _ask(self, agents: Agents, name: str, node: str, tasks: Sequence[Json]) -> str | None:
        """Return why the agent of a node cannot be asked to stop these tasks; None where it can."""
        containers = [container_of(task) for task in tasks]
        problem: str | None = None
        seconds = STILL_SILENT_AFTER if node in self._silent else ANSWERS_WITHIN
        try:
            async with asyncio.timeout(seconds):
                await agents.state(node, tasks[0]["ServiceID"], containers)
        except TimeoutError:
            self._silent.add(node)
            return (
                f"the agent on node {name} did not answer within {ANSWERS_WITHIN:.0f} s: see"
                " docs/agents.md, and the agent's log"
            )
        except OrchestratorError as error:
            problem = describe(error)
        self._silent.discard(node)
        return problem

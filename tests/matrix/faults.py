"""What fails while chosen tasks stop: the daemon, an agent, a network; or a secret is false."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from autoscaler.orchestrators.engine import Engine, Lane
from autoscaler.orchestrators.swarm.agents import AgentUnavailable
from tests.matrix.agents import OTHER_SECRET
from tests.matrix.cluster import Cluster, Stack
from tests.matrix.ours import Ours
from tests.real.agent import AgentsAt

T = TypeVar("T")
KILLED, CUT_OFF, FALSE_SECRET = "killed", "cut-off", "false-secret"
AGENT_KILLED, AGENT_GONE = "agent-killed", "agent-gone"
FAULTS = (KILLED, AGENT_KILLED, AGENT_GONE, CUT_OFF, FALSE_SECRET)
AT_FIRST = (AGENT_GONE, FALSE_SECRET)
"""What is wrong before the daemon looks; the others strike while tasks stop."""
MOST_CALLS = 12
"""Calls to the engine, from the freezing on, after which a daemon is killed at the latest."""
LATEST = 2.0
"""Seconds from the first stop on, within which an agent is killed or a node cut off."""


class Killed(BaseException):
    """What a daemon that is killed sees. Nothing in the daemon catches it."""


class MortalEngine(Engine):
    """An engine as a daemon sees it that is killed so many calls after it has begun to freeze."""

    def __init__(self, environment: Mapping[str, str], calls: int) -> None:
        super().__init__(environment)
        self._left = calls
        self._freezing = False

    @property
    def dead(self) -> bool:
        """Whether the daemon has been killed."""
        return self._left <= 0

    async def call(self, what: str, work: Callable[[Any], T], lane: Lane = Lane.LOOK) -> T:
        """Call the engine; the last call is made, but its answer reaches nobody."""
        if self.dead:
            raise Killed
        self._freezing = self._freezing or what.startswith("freezing")
        self._left -= self._freezing
        answer = await super().call(what, work, lane)
        if self.dead:
            raise Killed
        return answer


async def let_a_daemon_die(
    cluster: Cluster, stack: Stack, hosts: set[str], luck: random.Random
) -> None:
    """Let a daemon of its own work until it is killed; the workers on `hosts` are busy."""
    engine = MortalEngine(cluster.manager.environment, luck.randint(1, MOST_CALLS))
    try:
        dying = Ours(cluster, stack, cluster.agents.asked_by(engine, cluster.ids()), engine)
        dying.busy_on(hosts)
        for _ in range(MOST_CALLS):
            await dying.tick()
            if engine.dead:
                break
    except Killed:
        pass
    finally:
        engine.close()


class NodeFault:
    """One node loses its network or its agent, or its agent has a false secret."""

    def __init__(self, cluster: Cluster, fault: str, luck: random.Random) -> None:
        # Without its network, the manager could not be asked for anything.
        spared = {cluster.manager.name} if fault == CUT_OFF else set()
        self.node = luck.choice(sorted(cluster.nodes.keys() - spared))
        self._cluster = cluster
        self._fault = fault
        self._after = luck.uniform(0, LATEST)
        self._striking: asyncio.Task[None] | None = None

    @property
    def over(self) -> bool:
        """Whether it has happened."""
        return self._fault in AT_FIRST or (self._striking is not None and self._striking.done())

    async def begin(self, agents: AgentsAt, stack: Stack) -> Sequence[str]:
        """Let it happen: now, or at a random moment from the first stop on; return problems."""
        if self._fault == FALSE_SECRET:
            await asyncio.to_thread(self._cluster.agents.start, self.node, OTHER_SECRET)
            return await self._ask(agents, stack)
        if self._fault == AGENT_GONE:
            await asyncio.to_thread(self._cluster.agents.kill, self.node)
            return ()
        agents.before_drain = self._first_stop
        return ()

    async def end(self) -> None:
        """Wait until it has happened, where it began."""
        if self._striking is not None:
            await self._striking

    def _first_stop(self) -> None:
        if self._striking is None:
            self._striking = asyncio.create_task(self._strike())

    async def _strike(self) -> None:
        await asyncio.sleep(self._after)
        cut = self._fault == CUT_OFF
        await asyncio.to_thread(
            self._cluster.cut_off if cut else self._cluster.agents.kill, self.node
        )

    async def _ask(self, agents: AgentsAt, stack: Stack) -> Sequence[str]:
        """Ask the agent with the false secret for the end of every task on its node."""
        engine = self._cluster.nodes[self.node]
        mine = f"--filter=label=com.docker.swarm.service.name={stack.service}"
        containers = engine.docker("ps", "--quiet", "--no-trunc", mine).split()
        service = self._cluster.manager.docker(
            "service", "inspect", "--format={{.ID}}", stack.service
        ).strip()
        (node,) = (id_ for id_, name in self._cluster.ids().items() if name == self.node)
        problems = []
        for container in containers:
            try:
                await agents.drain(node, service, container, timedelta())
            except AgentUnavailable as error:
                if self.node not in str(error):
                    problems.append(f"the refusal does not name the node: {error}")
            else:
                problems.append("an agent with another secret took an order")
        if engine.docker("ps", "--quiet", "--no-trunc", mine).split() != containers:
            problems.append("tasks stopped on the node whose agent has another secret")
        said = self._cluster.agents.refusals(self.node)
        if containers and not any("AUTOSCALER_AGENT_SECRET" in because for because in said):
            problems.append("the agent with another secret logged no refusal")
        return problems

"""Chosen tasks of a service are stopped, on whichever node, while its placement is frozen.

A Swarm gives up the slots first that have no node. So the service is frozen, the chosen tasks are
stopped by the agents on their nodes, and their replacements get no node. Then one write lowers the
number by exactly those, and gives the service its own placement again (decision 031).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from autoscaler.core.errors import OrchestratorError
from autoscaler.core.model import Replica, ScalingAction, ServiceId
from autoscaler.core.protect import Stopped
from autoscaler.orchestrators.engine import Engine, Json
from autoscaler.orchestrators.swarm.agents import Agents
from autoscaler.orchestrators.swarm.failures import Failures, Zero, replicas_of
from autoscaler.orchestrators.swarm.frost import can_freeze, freeze, is_frozen, thaw
from autoscaler.orchestrators.swarm.manager import rewrite, tasks_of
from autoscaler.orchestrators.swarm.rows import needs_thaw, refusal
from autoscaler.orchestrators.swarm.tasks import (
    container_of,
    ended_for_good,
    grace_of_task,
    is_running,
)

END_LOOKS, END_PAUSE = 100, 0.1
"""How often, and with what pause in seconds, the manager is asked which chosen tasks have ended.
An idle worker ends within a second or two. Meanwhile the service gets no task that it may need."""
THAW_TRIES = 5
"""How often the last write is tried: other writers change the service between reading and writing.
After that, the next tick restores it."""


class Choosing:
    """Stops chosen tasks of a service, and leaves its placement as it was."""

    def __init__(
        self,
        engine: Engine,
        agents: Agents | None,
        clock: Callable[[], datetime],
        failures: Failures,
        zero: Zero,
    ) -> None:
        self._engine = engine
        self._agents = agents
        self._clock = clock
        self._failures = failures
        self._zero = zero

    async def stop(self, action: ScalingAction, replicas: Sequence[Replica]) -> Stopped:
        """Stop these replicas; return which have ended and are not replaced.

        None where the service may not be frozen now, and none where somebody else has changed it
        meanwhile. A replica that goes on running behind its stop grace is replaced when it ends.
        Raises OrchestratorError; then the service is restored as far as that can be done.
        """
        if self._agents is None:
            return Stopped()
        chosen = await self._running(self._agents, action.service, {each.id for each in replicas})
        frozen = await self._freeze(action) if chosen else None
        if frozen is None:
            return Stopped()
        ended: Collection[str] = ()
        try:
            told = await self._order(self._agents, action.service, chosen)
            ended = await self._ended(action.service, {task["ID"] for task in chosen}, told)
        finally:
            lowered = await self._thaw(action, frozen, len(ended))
            await self.restore(action.service)
        return Stopped(tuple(ended) if lowered else ())

    async def restore(self, service: ServiceId) -> None:
        """Give a frozen service its own placement again, and see that no rollback freezes it.

        Its number of replicas stays. Raises EngineError.
        """
        what = f"restoring the placement of {service}"
        # Each write makes the spec before it the one that a rollback returns to.
        for _ in range(2):
            if not await rewrite(self._engine, what, service.name, _restored, THAW_TRIES):
                break

    async def _running(
        self, agents: Agents, service: ServiceId, ids: Collection[str]
    ) -> list[Json]:
        """Return those of the tasks that run by the word of their nodes' agents."""
        tasks = await tasks_of(self._engine, service)
        asked: dict[str, list[Json]] = defaultdict(list)
        for task in tasks:
            if task["ID"] in ids and is_running(task) and container_of(task):
                asked[task["NodeID"]].append(task)

        async def ask(node: str, tasks: Sequence[Json]) -> list[Json]:
            containers = [container_of(task) for task in tasks]
            try:
                runs = await agents.state(node, tasks[0]["ServiceID"], containers)
            except OrchestratorError:
                return []  # Who is silent is said by the next look at the agents.
            return [task for task in tasks if runs.get(container_of(task))]

        found = await asyncio.gather(*(ask(*each) for each in asked.items()))
        return [task for some in found for task in some]

    async def _freeze(self, action: ScalingAction) -> Json | None:
        """Freeze the service; return its spec as the manager has it then, None where it stays."""
        at = self._clock()

        def edit(row: Json) -> Json | None:
            spec: Json = row["Spec"]
            if refusal(row) is not None or not can_freeze(spec):
                return None
            return freeze(spec, at) if replicas_of(spec) == action.current else None

        what = f"freezing the placement of {action.service}"
        if not await rewrite(self._engine, what, action.service.name, edit, tries=1):
            return None
        row: Json = await self._engine.call(
            what, lambda client: client.inspect_service(action.service.name)
        )
        spec: Json = row["Spec"]
        return spec if is_frozen(spec) else None

    async def _order(
        self, agents: Agents, service: ServiceId, chosen: Sequence[Json]
    ) -> Collection[str]:
        """Have tasks stopped, each behind its grace; return the ids of those that were told to."""

        async def order(task: Json) -> str | None:
            self._failures.told_to_stop(service.name, task["ID"])
            container, grace = container_of(task), grace_of_task(task)
            try:
                await agents.drain(task["NodeID"], task["ServiceID"], container, grace)
            except OrchestratorError:
                return None  # The agent may have taken the order all the same: see `_ended`.
            return str(task["ID"])

        return [told for told in await asyncio.gather(*map(order, chosen)) if told is not None]

    async def _ended(
        self, service: ServiceId, chosen: Collection[str], told: Collection[str]
    ) -> Collection[str]:
        """Wait for the tasks that were told to stop, within bounds; return which have ended.

        Of the other `chosen` ones, an order may have been taken whose answer was lost.
        """
        ended: Collection[str] = ()
        for _ in range(END_LOOKS):
            ended = ended_for_good(await tasks_of(self._engine, service), chosen)
            if set(told) <= set(ended):
                break
            await asyncio.sleep(END_PAUSE)
        return ended

    async def _thaw(self, action: ScalingAction, frozen: Json, fewer: int) -> bool:
        """Lower the number by so many and restore the placement, in one write; return whether.

        Where the spec is not the frozen one any more, somebody else has changed it: then the
        number is left, because the replacements may have nodes.
        """
        lowered = False

        def edit(row: Json) -> Json | None:
            nonlocal lowered
            spec: Json = row["Spec"]
            if not is_frozen(spec):
                return None
            thawed = thaw(spec)
            lowered = spec == frozen and fewer > 0
            if lowered:
                desired = action.current - fewer
                thawed["Mode"]["Replicated"]["Replicas"] = desired
                self._zero.asked_for(action.service.name, desired, row["Version"]["Index"])
            return thawed

        what = f"scaling {action.service} to {action.current - fewer}"
        return await rewrite(self._engine, what, action.service.name, edit, THAW_TRIES) and lowered


def _restored(row: Json) -> Json | None:
    if not needs_thaw(row):
        return None
    spec: Json = row["Spec"]
    return thaw(spec) if is_frozen(spec) else spec

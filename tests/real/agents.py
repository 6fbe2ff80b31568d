"""Agents that speak to the engines of the nodes themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta

from docker import APIClient
from docker.errors import NotFound

from autoscaler.orchestrators.engine import Engine, Json
from autoscaler.orchestrators.swarm.agents import AgentUnavailable


class EngineAgents:
    """Does at the engine of each node what an agent there would do."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        """Speak to these engines, by the NodeIDs of their nodes."""
        self.engines = engines
        self.mute: set[str] = set()
        """NodeIDs whose agent does not answer."""
        self.drained: list[str] = []
        """Every container that was told to stop."""
        self.before_drain: Callable[[], None] = lambda: None
        """Is called before each container is told to stop."""
        self._stopping: set[asyncio.Task[None]] = set()

    async def state(
        self, node: str, service: str, containers: Collection[str]
    ) -> Mapping[str, bool]:
        """Return for each container of a service whether it runs."""
        engine = self._engine(node)

        async def runs(container: str) -> bool:
            found = await engine.call("inspecting", lambda client: _inspect(client, container))
            labels = found.get("Config", {}).get("Labels", {})
            ours = labels.get("com.docker.swarm.service.id") == service
            return ours and bool(found["State"]["Running"])

        return {each: await runs(each) for each in containers}

    async def drain(self, node: str, service: str, container: str, grace: timedelta) -> None:  # noqa: ARG002
        """Begin to stop a container."""
        self.before_drain()
        engine = self._engine(node)
        self.drained.append(container)
        stopping = asyncio.create_task(engine.stop(container, int(grace.total_seconds())))
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)

    async def silent(self) -> Sequence[str]:
        """Return a sentence for each node whose agent does not answer."""
        return [f"no agent answers on {node}" for node in sorted(self.mute)]

    async def close(self) -> None:
        """Wait for what stops, and close the engines."""
        await asyncio.gather(*self._stopping, return_exceptions=True)
        for engine in self.engines.values():
            engine.close()

    def _engine(self, node: str) -> Engine:
        if node in self.mute or node not in self.engines:
            raise AgentUnavailable(f"no agent answers on {node}")
        return self.engines[node]


def _inspect(client: APIClient, container: str) -> Json:
    try:
        found: Json = client.inspect_container(container)
    except NotFound:
        return {}
    return found

"""The containers of Swarm tasks on the node of this engine, for the agent that runs there."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Mapping
from datetime import timedelta

from docker import APIClient

from autoscaler.core.agent_messages import NotServed
from autoscaler.core.errors import OrchestratorError
from autoscaler.core.labels import DEFAULT_PREFIX, scaling_labels
from autoscaler.orchestrators.engine import Engine, EngineError, Json
from autoscaler.orchestrators.neighbours import IMAGE
from autoscaler.orchestrators.projects import STACK, SWARM_SERVICE, Projects
from autoscaler.orchestrators.swarm.absence import without_swarm
from autoscaler.orchestrators.swarm.frost import is_frozen
from autoscaler.orchestrators.swarm.rows import labels_of

REFUSED_WITHIN = 0.5
"""Seconds in which an engine that does not follow an order says so. One that follows it sends the
signal at once, and answers when the container has ended."""
NODE = "com.docker.swarm.node.id"
TASK = "com.docker.swarm.task.id"

_RUNS = ("running", "paused", "restarting")
_NOT_FOUND = 404


class OwnNode:
    """Looks at and stops containers on this node, as far as they are those of a Swarm service."""

    def __init__(self, engine: Engine, projects: Projects, prefix: str = DEFAULT_PREFIX) -> None:
        """Serve the stacks among `projects`; `prefix` begins the labels of what is scaled."""
        self._engine = engine
        self._projects = projects
        self._prefix = prefix
        self._id = ""
        self._stopping: dict[str, asyncio.Task[None]] = {}
        """Containers that were told to stop, each until it has ended."""

    async def id(self) -> str:
        """Return the Swarm's id of this node. Raises OrchestratorError."""
        if not self._id:
            info = await self._engine.call("looking up this node", lambda client: client.info())
            self._id = str((info.get("Swarm") or {}).get("NodeID") or "")
            if not self._id:
                raise OrchestratorError(
                    "this engine is part of no Swarm: join one, or do not run an agent here"
                )
        return self._id

    async def state(self, service: str, containers: Collection[str]) -> Mapping[str, bool]:
        """Return for each of these containers whether it runs; one that is gone does not.

        Raises NotServed where one is of something else, and EngineError.
        """
        rows: list[Json] = await self._engine.call(
            "listing the containers of a service",
            lambda client: client.containers(
                all=True, filters={"label": f"{SWARM_SERVICE}={service}"}
            ),
        )
        running: dict[str, bool] = {}
        for row in rows:
            if row["Id"] in containers:
                await self._check(row["Id"], row.get("Labels") or {}, service)
                running[row["Id"]] = row["State"] in _RUNS
        for container in containers:
            if container not in running:
                # One that is not listed is gone, belongs to something else, or is very new.
                found = await self._found(container, service)
                running[container] = found is not None and bool(found["State"]["Running"])
        return running

    async def drain(self, service: str, container: str, grace: timedelta) -> None:
        """Have the engine stop a container behind this grace; return when it has taken the order.

        A container that is gone or is being stopped already is no error, and gets no second signal.
        Raises NotServed and EngineError.
        """
        found = await self._found(container, service)
        if found is None or not found["State"]["Running"]:
            return
        await self._check_scaled(service)
        if container not in self._stopping:
            stopping = asyncio.create_task(
                self._engine.stop(container, math.ceil(grace.total_seconds()))
            )
            self._stopping[container] = stopping
            stopping.add_done_callback(lambda ended: self._forget(container, ended))
        stopping = self._stopping[container]
        done, _ = await asyncio.wait({stopping}, timeout=REFUSED_WITHIN)
        for each in done:
            each.result()

    def _forget(self, container: str, ended: asyncio.Task[None]) -> None:
        """Forget an order that has ended. Where it failed late, the container is seen to run."""
        self._stopping.pop(container, None)
        if not ended.cancelled():
            ended.exception()

    async def _found(self, container: str, service: str) -> Json | None:
        """Return the inspect of a container of the service; None where it is gone."""

        def inspect(client: APIClient) -> Json:
            found: Json = client.inspect_container(container)
            return found

        try:
            found = await self._engine.call(f"inspecting container {container[:12]}", inspect)
        except EngineError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        await self._check(container, found["Config"].get("Labels") or {}, service)
        return found

    async def _check(self, container: str, labels: Mapping[str, str], service: str) -> None:
        """Raise NotServed where a container is none of the service, or of another stack."""
        name = f"container {container[:12]}"
        if not labels.get(TASK) or labels.get(SWARM_SERVICE) != service:
            raise NotServed(f"{name} is no task of the service")
        if labels.get(NODE) != await self.id():
            raise NotServed(f"{name} is a task of another node")
        title, _, ours = IMAGE.partition("=")
        if labels.get(title) == ours:
            raise NotServed(f"{name} runs the autoscaler itself")
        territory = await self._projects.territory()
        if not territory.includes(labels.get(STACK)):
            raise NotServed(
                f"{name} is of no stack that this agent serves ({territory}: {territory.because};"
                " AUTOSCALER_PROJECTS of the agents names others)"
            )

    async def _check_scaled(self, service: str) -> None:
        """Raise NotServed where a manager knows that nobody wants the service scaled.

        A worker node does not know the labels of services. A service without labels, which only a
        services file names, is frozen while the daemon has its tasks stopped.
        """

        def inspect(client: APIClient) -> Json:
            found: Json = client.inspect_service(service)
            return found

        try:
            row = await self._engine.call("inspecting the service", inspect)
        except EngineError as error:
            if without_swarm(error) is not None:
                return
            if error.status == _NOT_FOUND:
                raise NotServed("the Swarm has no such service") from error
            raise
        if not scaling_labels(labels_of(row), self._prefix) and not is_frozen(row["Spec"]):
            raise NotServed(f"the service has no {self._prefix}.* labels, and is not frozen")

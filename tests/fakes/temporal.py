"""A Temporal client that answers DescribeTaskQueue from memory, and counts."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import cast

from temporalio.api.taskqueue.v1 import TaskQueueStats
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse
from temporalio.client import Client

from autoscaler.core.errors import IntegrationError
from autoscaler.core.integration import Integration, canonical
from autoscaler.sources.connections import Connections


class FakeTemporal:
    """Stands for one server: its clients, and what they are asked."""

    def __init__(self) -> None:
        self.calls: list[DescribeTaskQueueRequest] = []
        self.options: list[tuple[bool, timedelta]] = []
        """`retry` and `timeout` of every call."""
        self.most_at_once = 0
        self.stats: dict[str, TaskQueueStats] = defaultdict(TaskQueueStats)
        """By task queue."""
        self.broken_queues: dict[str, Exception] = {}
        self.broken_namespaces: dict[str, Exception] = {}
        self.answering: asyncio.Event | None = None
        """While there is one, calls wait for it."""
        self._at_once = 0

    @property
    def workflow_service(self) -> FakeTemporal:
        """The client's way to its calls."""
        return self

    async def describe_task_queue(
        self,
        request: DescribeTaskQueueRequest,
        *,
        retry: bool,
        timeout: timedelta,  # noqa: ASYNC109 - the client's own name for it
    ) -> DescribeTaskQueueResponse:
        """Answer, after everybody else had a chance to call as well."""
        self.calls.append(request)
        self.options.append((retry, timeout))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(0)
            if self.answering is not None:
                await self.answering.wait()
        finally:
            self._at_once -= 1
        name = request.task_queue.name
        error = self.broken_namespaces.get(request.namespace) or self.broken_queues.get(name)
        if error is not None:
            raise error
        return DescribeTaskQueueResponse(stats=self.stats[name])


class FakeConnections(Connections):
    """Leads every known integration to the fake server."""

    def __init__(self, server: FakeTemporal, integrations: Mapping[str, Integration]) -> None:
        super().__init__(FakeIntegrations(integrations))
        self._server = server

    async def client(self, name: str) -> Client:
        """Return the fake server for every integration that is known."""
        self.integration(name)
        return cast("Client", self._server)


class FakeIntegrations:
    """Integrations in a dict, by canonical name."""

    def __init__(self, integrations: Mapping[str, Integration]) -> None:
        self._integrations = integrations

    def get(self, name: str) -> Integration:
        """Return an integration or raise IntegrationError."""
        try:
            return self._integrations[canonical(name)]
        except KeyError:
            raise IntegrationError(f"integration {name} is not known") from None

    def names(self) -> list[str]:
        """Return the names of all of them."""
        return list(self._integrations)

    def origin(self, name: str) -> str:
        """Return the same place for every integration that is known."""
        self.get(name)
        return "a test"

"""Backlogs and in-flight work of any number of connections, read side by side."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from temporalio.service import RPCError, RPCStatusCode

from autoscaler.core.backoff import Backoff
from autoscaler.core.errors import BacklogUnavailable, InFlightUnavailable, IntegrationError
from autoscaler.core.model import QueueStats, TaskQueue, Worker, WorkerQuery, WorkerVersion
from autoscaler.core.spec import QueueType
from autoscaler.sources.builds import describe_build
from autoscaler.sources.calls import AT_ONCE
from autoscaler.sources.connections import Connections, explain
from autoscaler.sources.queues import describe_queue
from autoscaler.sources.workers import list_workers

FRESH = timedelta(seconds=4)
"""A reading this young is used again: the server keeps its own answer for 5 s, so asking more
often, as when many events cause many ticks, would only cost calls."""
Reading = QueueStats | BacklogUnavailable
Address = tuple[str, QueueType, WorkerVersion | None]
"""A task queue, a type and perhaps a build within one namespace."""
Scope = tuple[str, str]
"""An integration and a namespace: what fails together and recovers together."""


class TemporalBacklogSource:
    """Reads task queues of any number of integrations side by side."""

    def __init__(self, connections: Connections, clock: Callable[[], datetime]) -> None:
        self._connections = connections
        self._clock = clock
        self._scopes: dict[Scope, _ScopeReader] = {}
        self._gates: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))

    async def read(self, queues: Collection[TaskQueue]) -> Mapping[TaskQueue, Reading]:
        """Read each task queue and type once, or each build, however many services share it.

        A namespace that does not answer is left alone for a while (1 s, doubling up to 30 s)
        and answers with its last error meanwhile.
        """
        readings: dict[TaskQueue, Reading] = {}
        scoped: dict[Scope, list[TaskQueue]] = defaultdict(list)
        for queue in queues:
            try:
                scoped[self._scope(queue)].append(queue)
            except IntegrationError as error:
                readings[queue] = BacklogUnavailable(str(error))
        for gone in self._scopes.keys() - scoped.keys():
            del self._scopes[gone]
        for answer in await asyncio.gather(
            *(
                self._reader(scope).read(members, self._gates[scope[0]])
                for scope, members in scoped.items()
            )
        ):
            readings.update(answer)
        return readings

    async def workers(self, query: WorkerQuery) -> Sequence[Worker]:
        """Return the workers asked for, each with its latest heartbeat, as they are right now.

        Raises InFlightUnavailable or IntegrationError.
        """
        integration = self._connections.integration(query.integration)
        namespace = query.namespace or integration.namespace
        client = await self._connections.client(query.integration)
        try:
            return await list_workers(client, namespace, query, self._gates[query.integration])
        except (RPCError, RuntimeError) as error:
            tried = f"reading worker heartbeats in namespace {namespace} at {integration.endpoint}"
            raise InFlightUnavailable(
                explain(error, query.integration, namespace, tried)
            ) from error

    def _scope(self, queue: TaskQueue) -> Scope:
        integration = self._connections.integration(queue.integration)
        return queue.integration, queue.namespace or integration.namespace

    def _reader(self, scope: Scope) -> _ScopeReader:
        if scope not in self._scopes:
            self._scopes[scope] = _ScopeReader(scope, self._connections, self._clock)
        return self._scopes[scope]


class _ScopeReader:
    """Reads the task queues of one namespace over one connection."""

    def __init__(
        self, scope: Scope, connections: Connections, clock: Callable[[], datetime]
    ) -> None:
        self._integration, self._namespace = scope
        self._connections = connections
        self._clock = clock
        self._backoff = Backoff()
        self._failure: BacklogUnavailable | None = None
        self._latest: dict[Address, tuple[datetime, QueueStats]] = {}

    async def read(
        self, queues: Iterable[TaskQueue], gate: asyncio.Semaphore
    ) -> Mapping[TaskQueue, Reading]:
        """Read task queues; `gate` is shared by all namespaces of the connection."""
        # A namespace may be named by a label or be the integration's own: one call for both.
        by_address: dict[Address, list[TaskQueue]] = defaultdict(list)
        for queue in queues:
            by_address[queue.name, queue.type, queue.version].append(queue)
        now = self._clock()
        if not self._backoff.ready(now) and self._failure is not None:
            return {queue: self._failure for group in by_address.values() for queue in group}
        self._failure = None
        self._latest = {
            address: (at, stats)
            for address, (at, stats) in self._latest.items()
            if address in by_address and timedelta() <= now - at < FRESH
        }
        # All queues of one build come with one call.
        calls: dict[object, list[Address]] = defaultdict(list)
        for address in by_address:
            calls[address[2] or address].append(address)
        answers: dict[Address, Reading] = {}
        waiting = iter(calls.values())

        async def read_on() -> None:
            for addresses in waiting:
                answers.update(await self._read_one(addresses, gate, now))

        # A task for each call would cost as much again as the call itself.
        await asyncio.gather(*(read_on() for _ in range(min(AT_ONCE, len(calls)))))
        self._backoff = (
            self._backoff.succeeded()
            if self._failure is None
            else self._backoff.failed(self._clock())
        )
        return {queue: answers[address] for address, group in by_address.items() for queue in group}

    async def _read_one(
        self, addresses: Sequence[Address], gate: asyncio.Semaphore, now: datetime
    ) -> Mapping[Address, Reading]:
        """Make one call: for a task queue and type, or for all of one build."""
        if all(address in self._latest for address in addresses):
            return {address: self._latest[address][1] for address in addresses}
        async with gate:
            if self._failure is not None:
                # One call in this tick has shown that the namespace does not answer: the
                # others would only wait for their deadlines.
                return dict.fromkeys(addresses, self._failure)
            try:
                stats = await self._describe(addresses)
            except IntegrationError as error:
                self._failure = BacklogUnavailable(str(error))
            except (RPCError, RuntimeError) as error:
                return dict.fromkeys(addresses, self._failed(error, addresses[0][0]))
            else:
                self._latest |= {address: (now, stats[address]) for address in addresses}
                return stats
            return dict.fromkeys(addresses, self._failure)

    async def _describe(self, addresses: Sequence[Address]) -> Mapping[Address, QueueStats]:
        client = await self._connections.client(self._integration)
        name, type_, version = addresses[0]
        if version is None:
            return {addresses[0]: await describe_queue(client, self._namespace, name, type_)}
        wanted = {(name, type_): (name, type_, version) for name, type_, _ in addresses}
        build = await describe_build(client, self._namespace, version, wanted)
        return {wanted[short]: stats for short, stats in build.items()}

    def _failed(self, error: RPCError | RuntimeError, name: str) -> Reading:
        endpoint = self._connections.integration(self._integration).endpoint
        if isinstance(error, RPCError) and error.status is RPCStatusCode.INVALID_ARGUMENT:
            tried = f"reading task queue {name!r} in namespace {self._namespace} at {endpoint}"
            return BacklogUnavailable(explain(error, self._integration, self._namespace, tried))
        tried = f"reading backlogs in namespace {self._namespace} at {endpoint}"
        self._failure = BacklogUnavailable(
            explain(error, self._integration, self._namespace, tried)
        )
        return self._failure

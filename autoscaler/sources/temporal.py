"""Backlogs and in-flight work of any number of connections, read side by side."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from autoscaler.core.backoff import Backoff
from autoscaler.core.budget import Budget, Look, Pace
from autoscaler.core.durations import format_duration
from autoscaler.core.errors import BacklogUnavailable, InFlightUnavailable, IntegrationError
from autoscaler.core.model import QueueStats, TaskQueue, Worker, WorkerQuery, WorkerVersion
from autoscaler.core.report import IntegrationReport
from autoscaler.core.spec import QueueType
from autoscaler.sources.builds import describe_build
from autoscaler.sources.calls import AT_ONCE, PATIENCE, no_answer
from autoscaler.sources.connections import Connections
from autoscaler.sources.queues import describe_queue
from autoscaler.sources.workers import calls_for, list_workers

FRESH = timedelta(seconds=5.1)
"""A reading this young is used again: the server keeps its own answer for 5 s. Asked sooner, as
when many events cause many ticks, it would say the same again, and that would count as new."""
LAG = timedelta(seconds=0.2)
"""So much later than each 5 s it is asked: at 5 s sharp it may or may not have a new answer."""
DEFAULT_BUDGET = Budget(rate=40, interval=timedelta(seconds=5))
Reading = QueueStats | BacklogUnavailable
Address = tuple[str, QueueType, WorkerVersion | None]
"""A task queue, a type and perhaps a build within one namespace."""
Took = Callable[[float], None]
"""Is told how many seconds each call took."""
Scope = tuple[str, str]
"""An integration and a namespace: what fails together and recovers together."""
Call = Address | WorkerVersion
"""What is read with one call: a task queue and type, or all of one build."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be read in one namespace."""

    queues: Mapping[Address, Sequence[TaskQueue]]
    """A namespace may be named by a label or be the integration's own: one call for both."""
    calls: Mapping[Call, Sequence[Address]]
    """All queues of one build come with one call."""

    @classmethod
    def of(cls, queues: Iterable[TaskQueue]) -> _Wanted:
        """Sort task queues by what they are read with."""
        by_address: dict[Address, list[TaskQueue]] = defaultdict(list)
        for queue in queues:
            by_address[queue.name, queue.type, queue.version].append(queue)
        calls: dict[Call, list[Address]] = defaultdict(list)
        for address in by_address:
            calls[address[2] or address].append(address)
        return cls(by_address, calls)


class TemporalBacklogSource:
    """Reads task queues of any number of integrations side by side."""

    def __init__(
        self,
        connections: Connections,
        clock: Callable[[], datetime],
        *,
        budget: Budget = DEFAULT_BUDGET,
        took: Took = lambda _: None,
    ) -> None:
        """Make no more calls than `budget` allows, for each integration; `took` hears of each."""
        self._connections = connections
        self._clock = clock
        self._took = took
        self._budget = replace(budget, spacing=FRESH)
        self._budgets: dict[str, Budget] = {}
        self._paces: dict[str, Pace] = {}
        self._scopes: dict[Scope, _ScopeReader] = {}
        self._gates: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))

    async def read(self, queues: Collection[TaskQueue]) -> Mapping[TaskQueue, Reading]:
        """Read each task queue and type once, or each build, however many services share it.

        A namespace that does not answer is left alone for a while (1 s, doubling up to 30 s)
        and answers with its last error meanwhile. Where the budget does not let all be read, the
        latest readings answer for what waits for its turn; what has never been read is missing.
        """
        self._connections.keep({queue.integration for queue in queues})
        readings: dict[TaskQueue, Reading] = {}
        scoped: dict[Scope, list[TaskQueue]] = defaultdict(list)
        for queue in queues:
            try:
                scoped[self._scope(queue)].append(queue)
            except IntegrationError as error:
                readings[queue] = BacklogUnavailable(str(error))
        for gone in self._scopes.keys() - scoped.keys():
            del self._scopes[gone]
        wanted = {scope: _Wanted.of(members) for scope, members in scoped.items()}
        chosen = self._choose(wanted)
        for answer in await asyncio.gather(
            *(
                self._reader(scope).read(each, chosen[scope], self._gates[scope[0]])
                for scope, each in wanted.items()
            )
        ):
            readings.update(answer)
        return readings

    def warnings(self, integration: str) -> Sequence[str]:
        """Say where the budget of an integration stretches the interval."""
        pace = self._paces.get(integration)
        interval = self._budget.interval
        if pace is None or pace.quiet <= interval:
            return ()
        text = (
            f"integration {integration}: its task queues want more than the"
            f" {self._budget.rate:g} calls a second of AUTOSCALER_RPC_BUDGET, so quiet ones are"
            f" read about every {_rounded(pace.quiet, interval)} and those in motion about every"
            f" {_rounded(pace.moving, interval)} instead of every {format_duration(interval)}"
        )
        return (text,)

    def _choose(self, wanted: Mapping[Scope, _Wanted]) -> Mapping[Scope, Collection[Call]]:
        """Spread the calls that each integration may make over its namespaces."""
        now = self._clock()
        looks: dict[str, dict[tuple[Scope, Call], Look | None]] = defaultdict(dict)
        for scope, each in wanted.items():
            latest = self._reader(scope).looks(each)
            looks[scope[0]] |= {(scope, call): look for call, look in latest.items()}
        chosen: dict[Scope, set[Call]] = {scope: set() for scope in wanted}
        for integration, mine in looks.items():
            budget = self._budgets.get(integration, self._budget)
            turns, self._paces[integration], budget = budget.choose(mine, now)
            self._budgets[integration] = budget
            for scope, call in turns:
                chosen[scope].add(call)
        return chosen

    async def workers(self, query: WorkerQuery) -> Sequence[Worker]:
        """Return the workers asked for, each with its latest heartbeat, as they are right now.

        Raises InFlightUnavailable or IntegrationError.
        """
        integration = self._connections.integration(query.integration)
        namespace = query.namespace or integration.namespace
        client = await self._connections.client(query.integration)
        self._charge(query)
        began = time.perf_counter()
        try:
            return await list_workers(client, namespace, query, self._gates[query.integration])
        except (RPCError, RuntimeError) as error:
            tried = f"reading worker heartbeats in namespace {namespace} at {integration.endpoint}"
            raise InFlightUnavailable(
                self._connections.explain(error, query.integration, namespace, tried)
            ) from error
        finally:
            self._took(time.perf_counter() - began)

    def integrations(self) -> Sequence[IntegrationReport]:
        """Tell how each integration fared in the latest read."""
        outcomes: dict[str, list[str | None]] = defaultdict(list)
        for (integration, _), reader in self._scopes.items():
            outcomes[integration].append(reader.failure)
        return self._connections.reports(outcomes)

    def _charge(self, query: WorkerQuery) -> None:
        """Heartbeats are read when replicas are about to go, and cannot wait for a turn."""
        budget = self._budgets.get(query.integration, self._budget)
        self._budgets[query.integration] = budget.charge(calls_for(query))

    def _scope(self, queue: TaskQueue) -> Scope:
        integration = self._connections.integration(queue.integration)
        return queue.integration, queue.namespace or integration.namespace

    def _reader(self, scope: Scope) -> _ScopeReader:
        if scope not in self._scopes:
            self._scopes[scope] = _ScopeReader(scope, self._connections, self._clock, self._took)
        return self._scopes[scope]


class _ScopeReader:
    """Reads the task queues of one namespace over one connection."""

    def __init__(
        self,
        scope: Scope,
        connections: Connections,
        clock: Callable[[], datetime],
        took: Took,
    ) -> None:
        self._integration, self._namespace = scope
        self._connections = connections
        self._clock = clock
        self._took = took
        self._backoff = Backoff()
        self._failure: BacklogUnavailable | None = None
        self._latest: dict[Call, tuple[datetime, Mapping[Address, QueueStats]]] = {}

    def looks(self, wanted: _Wanted) -> Mapping[Call, Look | None]:
        """Return what each call has brought last; forget what is not wanted any more.

        While the namespace is left alone, none is to be made.
        """
        self._latest = {
            call: latest
            for call, latest in self._latest.items()
            if call in wanted.calls and latest[1].keys() >= set(wanted.calls[call])
        }
        if self._left_alone():
            return {}
        return {call: self._look(call) for call in wanted.calls}

    def _look(self, call: Call) -> Look | None:
        if call not in self._latest:
            return None
        at, brought = self._latest[call]
        return Look(at, moving=any(map(_is_moving, brought.values())))

    def _left_alone(self) -> bool:
        return self._failure is not None and not self._backoff.ready(self._clock())

    @property
    def failure(self) -> str | None:
        """Why the namespace could not be read the last time."""
        return None if self._failure is None else str(self._failure)

    async def read(
        self, wanted: _Wanted, chosen: Collection[Call], gate: asyncio.Semaphore
    ) -> Mapping[TaskQueue, Reading]:
        """Make the calls that were chosen; `gate` is shared by all namespaces of the connection."""
        if self._failure is not None and self._left_alone():
            return {queue: self._failure for group in wanted.queues.values() for queue in group}
        self._failure = None
        answers: dict[Address, Reading] = {}
        for _, brought in self._latest.values():
            answers.update(brought)
        if chosen:
            await self._make(chosen, wanted.calls, gate, answers)
        self._backoff = (
            self._backoff.succeeded()
            if self._failure is None
            else self._backoff.failed(self._clock())
        )
        return {
            queue: answers[address]
            for address, group in wanted.queues.items()
            if address in answers
            for queue in group
        }

    async def _make(
        self,
        chosen: Collection[Call],
        addresses: Mapping[Call, Sequence[Address]],
        gate: asyncio.Semaphore,
        answers: dict[Address, Reading],
    ) -> None:
        """Make calls side by side, and put what they bring into `answers`."""
        now = self._clock()
        left = dict.fromkeys(chosen)
        waiting = iter(chosen)

        async def read_on(client: Client) -> None:
            for call in waiting:
                async with gate:
                    answers.update(await self._read_one(client, call, addresses[call], now))
                del left[call]

        try:
            client = await self._connections.client(self._integration)
        except IntegrationError as error:
            self._failure = BacklogUnavailable(str(error))
        else:
            # A task for each call would cost as much again as the call itself.
            loops = (read_on(client) for _ in range(min(AT_ONCE, len(chosen))))
            reading = asyncio.gather(*loops)
            try:
                # A deadline for each would cost a tenth of the call. That none at all comes back
                # is what a connection that cannot be made looks like.
                while not reading.done():
                    before = len(left)
                    await asyncio.wait({reading}, timeout=PATIENCE.total_seconds())
                    if not reading.done() and len(left) == before:
                        self._failed(no_answer(), "")
                        break
                else:
                    reading.result()
            finally:
                reading.cancel()
        if self._failure is not None:
            for call in left:
                answers.update(dict.fromkeys(addresses[call], self._failure))

    async def _read_one(
        self, client: Client, call: Call, addresses: Sequence[Address], now: datetime
    ) -> Mapping[Address, Reading]:
        """Make one call: for a task queue and type, or for all of one build."""
        self._latest.pop(call, None)
        if self._failure is not None:
            # One call in this tick has shown that the namespace does not answer: the others
            # would only wait for their deadlines.
            return dict.fromkeys(addresses, self._failure)
        began = time.perf_counter()
        try:
            stats = await self._describe(client, addresses)
        except (RPCError, RuntimeError) as error:
            return dict.fromkeys(addresses, self._failed(error, addresses[0][0]))
        finally:
            self._took(time.perf_counter() - began)
        self._latest[call] = now, stats
        return stats

    async def _describe(
        self, client: Client, addresses: Sequence[Address]
    ) -> Mapping[Address, QueueStats]:
        name, type_, version = addresses[0]
        if version is None:
            return {addresses[0]: await describe_queue(client, self._namespace, name, type_)}
        wanted = {(name, type_): (name, type_, version) for name, type_, _ in addresses}
        build = await describe_build(client, self._namespace, version, wanted)
        return {wanted[short]: stats for short, stats in build.items()}

    def _failed(self, error: RPCError | RuntimeError, name: str) -> Reading:
        endpoint = self._connections.endpoint(self._integration)
        if isinstance(error, RPCError) and error.status is RPCStatusCode.INVALID_ARGUMENT:
            tried = f"reading task queue {name!r} in namespace {self._namespace} at {endpoint}"
            return BacklogUnavailable(
                self._connections.explain(error, self._integration, self._namespace, tried)
            )
        tried = f"reading backlogs in namespace {self._namespace} at {endpoint}"
        self._failure = BacklogUnavailable(
            self._connections.explain(error, self._integration, self._namespace, tried)
        )
        return self._failure


def _is_moving(stats: QueueStats) -> bool:
    return bool(stats.waiting or stats.add_rate or stats.dispatch_rate)


def _rounded(pace: timedelta, interval: timedelta) -> str:
    """Write a pace coarsely: a figure that changes with every tick would be said anew each time."""
    while interval < pace:
        interval *= 2
    return format_duration(interval)

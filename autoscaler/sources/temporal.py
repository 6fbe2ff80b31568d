"""Backlogs and in-flight work of any number of connections, read side by side."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain

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


Calls = Mapping[Call, Mapping[Address, Sequence[TaskQueue]]]
"""All queues of one build come with one call; and one call is enough for a namespace that is
named by one label and for another the integration's own."""


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
        places: dict[tuple[str, str | None], list[TaskQueue]] = defaultdict(list)
        for queue in queues:
            places[queue.integration, queue.namespace].append(queue)
        self._connections.keep({integration for integration, _ in places})
        readings: dict[TaskQueue, Reading] = {}
        scoped: dict[Scope, list[TaskQueue]] = defaultdict(list)
        for (integration, namespace), members in places.items():
            try:
                scoped[self._scope(integration, namespace)] += members
            except IntegrationError as error:
                readings |= dict.fromkeys(members, BacklogUnavailable(str(error)))
        for gone in self._scopes.keys() - scoped.keys():
            del self._scopes[gone]
        for scope, members in scoped.items():
            self._reader(scope).want(members)
        chosen = self._choose()
        for answer in await asyncio.gather(
            *(
                self._reader(scope).read(calls, self._gates[scope[0]])
                for scope, calls in chosen.items()
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

    def _choose(self) -> Mapping[Scope, Collection[Call]]:
        """Spread the calls that each integration may make over its namespaces."""
        now = self._clock()
        looks: dict[str, dict[tuple[Scope, Call], Look | None]] = defaultdict(dict)
        for scope, reader in self._scopes.items():
            looks[scope[0]] |= {(scope, call): look for call, look in reader.looks().items()}
        chosen: dict[Scope, set[Call]] = {scope: set() for scope in self._scopes}
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

    def _scope(self, integration: str, namespace: str | None) -> Scope:
        settings = self._connections.integration(integration)
        return integration, namespace or settings.namespace

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
        self._queues: Sequence[TaskQueue] = ()
        self._calls: Calls = {}
        self._looks: dict[Call, Look | None] = {}
        """The latest of each call; None where it has brought nothing."""
        self._latest: dict[TaskQueue, QueueStats] = {}
        """What they have brought."""

    def want(self, queues: Sequence[TaskQueue]) -> None:
        """Say what is to be read from now on; the rest is forgotten."""
        if queues == self._queues:
            return
        known = {_address(queue): stats for queue, stats in self._latest.items()}
        self._queues, self._calls = queues, _by_calls(queues)
        self._looks = {
            call: self._looks.get(call) if known.keys() >= groups.keys() else None
            for call, groups in self._calls.items()
        }
        self._latest = {
            queue: known[address] for queue in queues if (address := _address(queue)) in known
        }

    def looks(self) -> Mapping[Call, Look | None]:
        """Return when each call was made last, and whether anything moved.

        While the namespace is left alone, none is to be made.
        """
        return {} if self._left_alone() else self._looks

    def _left_alone(self) -> bool:
        return self._failure is not None and not self._backoff.ready(self._clock())

    @property
    def failure(self) -> str | None:
        """Why the namespace could not be read the last time."""
        return None if self._failure is None else str(self._failure)

    async def read(
        self, chosen: Collection[Call], gate: asyncio.Semaphore
    ) -> Mapping[TaskQueue, Reading]:
        """Make the calls that were chosen; `gate` is shared by all namespaces of the connection."""
        if self._failure is not None and self._left_alone():
            return dict.fromkeys(self._queues, self._failure)
        self._failure = None
        errors = await self._make(chosen, gate) if chosen else {}
        self._backoff = (
            self._backoff.succeeded()
            if self._failure is None
            else self._backoff.failed(self._clock())
        )
        return {**self._latest, **errors}

    async def _make(
        self, chosen: Collection[Call], gate: asyncio.Semaphore
    ) -> Mapping[TaskQueue, Reading]:
        """Make calls side by side; return what could not be read, and why."""
        now = self._clock()
        left = dict.fromkeys(chosen)
        waiting = iter(chosen)
        errors: dict[TaskQueue, Reading] = {}

        async def read_on(client: Client) -> None:
            for call in waiting:
                async with gate:
                    error = await self._read_one(client, call, now)
                if error is not None:
                    errors.update(dict.fromkeys(self._queues_of(call), error))
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
                errors.update(dict.fromkeys(self._queues_of(call), self._failure))
        return errors

    def _queues_of(self, call: Call) -> Iterator[TaskQueue]:
        return chain.from_iterable(self._calls[call].values())

    async def _read_one(
        self, client: Client, call: Call, now: datetime
    ) -> BacklogUnavailable | None:
        """Make one call, for a task queue and type or for all of one build; return what failed."""
        groups = self._calls[call]
        self._looks[call] = None
        for queue in self._queues_of(call):
            self._latest.pop(queue, None)
        if self._failure is not None:
            # One call in this tick has shown that the namespace does not answer: the others
            # would only wait for their deadlines.
            return self._failure
        began = time.perf_counter()
        try:
            brought = await self._describe(client, tuple(groups))
        except (RPCError, RuntimeError) as error:
            return self._failed(error, next(iter(groups))[0])
        finally:
            self._took(time.perf_counter() - began)
        self._looks[call] = Look(now, moving=any(map(_is_moving, brought.values())))
        for address, stats in brought.items():
            self._latest.update(dict.fromkeys(groups[address], stats))
        return None

    async def _describe(
        self, client: Client, addresses: Sequence[Address]
    ) -> Mapping[Address, QueueStats]:
        name, type_, version = addresses[0]
        if version is None:
            return {addresses[0]: await describe_queue(client, self._namespace, name, type_)}
        wanted = {(name, type_): (name, type_, version) for name, type_, _ in addresses}
        build = await describe_build(client, self._namespace, version, wanted)
        return {wanted[short]: stats for short, stats in build.items()}

    def _failed(self, error: RPCError | RuntimeError, name: str) -> BacklogUnavailable:
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


def _address(queue: TaskQueue) -> Address:
    return queue.name, queue.type, queue.version


def _by_calls(queues: Iterable[TaskQueue]) -> Calls:
    """Sort task queues by what they are read with."""
    calls: dict[Call, dict[Address, list[TaskQueue]]] = defaultdict(lambda: defaultdict(list))
    for queue in queues:
        address = _address(queue)
        calls[queue.version or address][address].append(queue)
    return calls


def _is_moving(stats: QueueStats) -> bool:
    return bool(stats.waiting or stats.add_rate or stats.dispatch_rate)


def _rounded(pace: timedelta, interval: timedelta) -> str:
    """Write a pace coarsely: a figure that changes with every tick would be said anew each time."""
    while interval < pace:
        interval *= 2
    return format_duration(interval)

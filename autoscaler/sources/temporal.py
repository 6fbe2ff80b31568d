"""Backlogs and in-flight work of any number of connections, read side by side."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain, islice

from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    DescribeWorkerDeploymentVersionRequest,
    DescribeWorkerDeploymentVersionResponse,
)
from temporalio.service import RPCError, RPCStatusCode, ServiceClient

from autoscaler.core.backoff import Backoff
from autoscaler.core.budget import Budget, Look, Pace
from autoscaler.core.durations import format_duration
from autoscaler.core.errors import BacklogUnavailable, InFlightUnavailable, IntegrationError
from autoscaler.core.in_flight import Worker, WorkerQuery
from autoscaler.core.model import QueueStats, TaskQueue, WorkerVersion
from autoscaler.core.report import IntegrationReport
from autoscaler.sources.builds import build_call, build_request, read_build
from autoscaler.sources.calls import AT_ONCE, PATIENCE, no_answer
from autoscaler.sources.connections import Connections
from autoscaler.sources.queues import Address, queue_call, queue_request, read_queue
from autoscaler.sources.workers import calls_for, list_workers

FRESH = timedelta(seconds=5.1)
"""A reading this young is used again: the server keeps its own answer for 5 s. Asked sooner, as
when many events cause many ticks, it would say the same again, and that would count as new."""
LAG = timedelta(seconds=0.2)
"""So much later than each 5 s it is asked: at 5 s sharp it may or may not have a new answer."""
DEFAULT_BUDGET = Budget(rate=40, interval=timedelta(seconds=5))
Reading = QueueStats | BacklogUnavailable
Took = Callable[[float], None]
"""Is told how many seconds each call took."""
Scope = tuple[str, str]
"""An integration and a namespace: what fails together and recovers together."""
Call = Address | WorkerVersion
"""What is read with one call: a task queue and type, or all of one build."""
Request = DescribeTaskQueueRequest | DescribeWorkerDeploymentVersionRequest
"""What it says."""
Answer = DescribeTaskQueueResponse | DescribeWorkerDeploymentVersionResponse | None
"""What one brings; None for a build that Temporal does not know."""
Send = Callable[[], Awaitable[Answer]]
"""Makes it."""
BATCH = 40
"""When so many calls are back, as many more are made, in one go. Taken up singly, each as another
ends, they cost a fifth more: Python and the threads of Temporal's client then take the processor,
and Python's lock, from each other for every one of them. The others keep the server at work."""
ROUND = timedelta(seconds=0.05)
"""So long at most a batch is waited for before more calls are made beside those left of it."""
READ_AT_ONCE = 256
"""Answers, and few enough not to count in memory: between two batches the processor has been with
those threads, and what is then done anew takes longer."""
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
        self._requests: Mapping[Call, Request] = {}
        """The same in each tick, so they are made once. No client is among them: it is let go
        where credentials change."""
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
        self._requests = {call: self._request(call) for call in self._calls}
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
        errors: dict[TaskQueue, Reading] = {}
        if chosen:
            for call, error in (await self._make(chosen, gate)).items():
                errors |= self._miss(call, error)
        self._backoff = (
            self._backoff.succeeded()
            if self._failure is None
            else self._backoff.failed(self._clock())
        )
        return {**self._latest, **errors}

    async def _make(
        self, chosen: Collection[Call], gate: asyncio.Semaphore
    ) -> Mapping[Call, BacklogUnavailable]:
        """Make calls side by side; return those that failed, and why."""
        now = self._clock()
        left = dict.fromkeys(chosen)
        answers: list[tuple[Call, Answer, float]] = []
        errors: dict[Call, BacklogUnavailable] = {}

        async def make(call: Call, send: Send) -> None:
            async with gate:
                if self._failure is not None:
                    # One call in this tick has shown that the namespace does not answer: the
                    # others would only wait for their deadlines.
                    return
                began = time.perf_counter()
                try:
                    answer = await send()
                    answers.append((call, answer, time.perf_counter() - began))
                except (RPCError, RuntimeError) as error:
                    self._took(time.perf_counter() - began)
                    errors[call] = self._failed(error, call)
            del left[call]

        try:
            client = await self._connections.client(self._integration)
        except IntegrationError as error:
            self._failure = BacklogUnavailable(str(error))
        else:
            requests = (make(call, _prepare(client, self._requests[call])) for call in chosen)

            def some_are_back() -> None:
                if len(answers) >= READ_AT_ONCE:
                    self._take(answers, now)

            await self._in_batches(requests, some_are_back)
            self._take(answers, now)
        if self._failure is not None:
            errors |= dict.fromkeys(left, self._failure)
        return errors

    async def _in_batches(
        self, calls: Iterator[Coroutine[None, None, None]], some_are_back: Callable[[], None]
    ) -> None:
        """Make all calls, unless one shows that the namespace does not answer.

        A deadline for each would cost a tenth of the call. That for long none at all comes back is
        what a connection that cannot be made looks like.
        """
        loop = asyncio.get_running_loop()
        pending: list[asyncio.Task[None]] = []
        heard = loop.time()
        try:
            while True:
                if self._failure is None:
                    more = islice(calls, AT_ONCE - len(pending))
                    pending += map(asyncio.create_task, more)
                if not pending:
                    return
                # The oldest are most likely the first to be back.
                await asyncio.wait(pending[:BATCH], timeout=ROUND.total_seconds())
                back = [call for call in pending if call.done()]
                pending = [call for call in pending if not call.done()]
                for call in back:
                    call.result()
                if back:
                    heard = loop.time()
                    some_are_back()
                elif loop.time() - heard >= PATIENCE.total_seconds():
                    self._failed(no_answer())
                    return
        finally:
            for call in pending:
                call.cancel()

    def _request(self, call: Call) -> Request:
        if isinstance(call, WorkerVersion):
            return build_request(self._namespace, call)
        name, type_, _ = call
        return queue_request(self._namespace, name, type_)

    def _take(self, answers: list[tuple[Call, Answer, float]], now: datetime) -> None:
        """Read answers that have come, and take them off the list."""
        moves, rests = Look(now, moving=True), Look(now, moving=False)
        for call, answer, seconds in answers:
            self._took(seconds)
            groups = self._calls[call]
            brought = (
                dict.fromkeys(groups, read_queue(answer))
                if isinstance(answer, DescribeTaskQueueResponse)
                else read_build(answer, groups)
            )
            self._looks[call] = moves if any(map(_is_moving, brought.values())) else rests
            for address, stats in brought.items():
                for queue in groups[address]:
                    self._latest[queue] = stats
        answers.clear()

    def _miss(self, call: Call, error: BacklogUnavailable) -> Mapping[TaskQueue, Reading]:
        """Forget what a call has brought before: it is unknown until it can be made again."""
        self._looks[call] = None
        queues = [*chain.from_iterable(self._calls[call].values())]
        for queue in queues:
            self._latest.pop(queue, None)
        return dict.fromkeys(queues, error)

    def _failed(
        self, error: RPCError | RuntimeError, call: Call | None = None
    ) -> BacklogUnavailable:
        endpoint = self._connections.endpoint(self._integration)
        if (
            call is not None
            and isinstance(error, RPCError)
            and error.status is RPCStatusCode.INVALID_ARGUMENT
        ):
            name = next(iter(self._calls[call]))[0]
            tried = f"reading task queue {name!r} in namespace {self._namespace} at {endpoint}"
            return BacklogUnavailable(
                self._connections.explain(error, self._integration, self._namespace, tried)
            )
        tried = f"reading backlogs in namespace {self._namespace} at {endpoint}"
        self._failure = BacklogUnavailable(
            self._connections.explain(error, self._integration, self._namespace, tried)
        )
        return self._failure


def _prepare(client: ServiceClient, request: Request) -> Send:
    if isinstance(request, DescribeTaskQueueRequest):
        return queue_call(client, request)
    return build_call(client, request)


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

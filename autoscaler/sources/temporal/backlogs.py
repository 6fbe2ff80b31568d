"""Backlogs and in-flight work of any number of integrations, read side by side."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from temporalio.service import RPCError

from autoscaler.core.budget import Budget, LastCall, Pace
from autoscaler.core.durations import format_duration
from autoscaler.core.errors import BacklogUnavailable, InFlightUnavailable, IntegrationError
from autoscaler.core.in_flight import Worker, WorkerQuery
from autoscaler.core.model import TaskQueue
from autoscaler.core.reading import Reading
from autoscaler.core.report import IntegrationReport
from autoscaler.sources.connections.clients import Connections
from autoscaler.sources.temporal.calls import AT_ONCE
from autoscaler.sources.temporal.namespaces import Call, Calls, NamespaceReader, Took, group_by_call
from autoscaler.sources.temporal.workers import calls_for, list_workers

FRESH = timedelta(seconds=5.1)
"""A reading younger than this is used again. The server keeps its own answer for 5 s: asked sooner,
as when many events cause many ticks, it would repeat that answer, which would then count as new."""
LAG = timedelta(seconds=0.1)
"""Added to the poll interval: exactly 5 s later, the server may or may not have a new answer."""
DEFAULT_BUDGET = Budget(rate=40, interval=timedelta(seconds=5))
Scope = tuple[str, str]
"""An integration and a namespace: what fails together and recovers together."""


@dataclass(slots=True)
class _Allowance:
    """How many calls one integration may make."""

    budget: Budget
    pace: Pace
    """The pace of the latest read."""
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    """Limits the calls at the same time on the one connection."""


class TemporalBacklogSource:
    """Reads task queues and workers of any number of integrations."""

    def __init__(
        self,
        connections: Connections,
        clock: Callable[[], datetime],
        *,
        budget: Budget = DEFAULT_BUDGET,
        took: Took = lambda _: None,
    ) -> None:
        """Give each integration this budget of calls; `took` is called after each call."""
        self._connections = connections
        self._clock = clock
        self._budget = replace(budget, spacing=FRESH)
        self._took = took
        self._allowances: dict[str, _Allowance] = {}
        self._readers: dict[Scope, NamespaceReader] = {}

    async def read(self, queues: Collection[TaskQueue]) -> Mapping[TaskQueue, Reading]:
        """Read each task queue and type once, or each build, however many services share it.

        A namespace that does not answer is left alone for a while (1 s, doubling up to 30 s) and
        answers with its last error meanwhile. Where the budget does not allow all calls, the latest
        readings answer for what waits for its turn; what has never been read is missing.
        """
        self._connections.keep({queue.integration for queue in queues})
        own, unknown = self._own_namespaces(queue.integration for queue in queues)
        readings: dict[TaskQueue, Reading] = {}
        resolved: dict[TaskQueue, TaskQueue] = {}
        wanted: dict[Scope, list[TaskQueue]] = defaultdict(list)
        for queue in queues:
            if queue.integration in unknown:
                readings[queue] = unknown[queue.integration]
                continue
            # One label may leave the namespace out, and another may name the same one.
            namespace = queue.namespace or own[queue.integration]
            resolved[queue] = queue._replace(namespace=namespace)
            wanted[queue.integration, namespace].append(resolved[queue])
        calls = {scope: group_by_call(members) for scope, members in wanted.items()}
        found = await self._read_all(calls)
        readings |= {queue: found[full] for queue, full in resolved.items() if full in found}
        return readings

    def warnings(self, integration: str) -> Sequence[str]:
        """Return a warning where the budget of an integration stretches the interval."""
        allowance = self._allowances.get(integration)
        interval = self._budget.interval
        if allowance is None or allowance.pace.quiet <= interval:
            return ()
        quiet = _rounded(allowance.pace.quiet, interval)
        moving = _rounded(allowance.pace.moving, interval)
        text = (
            f"integration {integration}: its task queues want more than the"
            f" {self._budget.rate:g} calls a second of AUTOSCALER_RPC_BUDGET, so quiet ones are"
            f" read about every {quiet} and those in motion about every"
            f" {moving} instead of every {format_duration(interval)}"
        )
        return (text,)

    async def workers(self, query: WorkerQuery) -> Sequence[Worker]:
        """Return the workers asked for, each with its latest heartbeat, as they are right now.

        Raises InFlightUnavailable or IntegrationError.
        """
        integration = self._connections.integration(query.integration)
        namespace = query.namespace or integration.namespace
        client = await self._connections.client(query.integration)
        allowance = self._allowance(query.integration)
        # Heartbeats are read when replicas are about to be stopped, and cannot wait for a turn.
        allowance.budget = allowance.budget.charge(calls_for(query))
        began = time.perf_counter()
        try:
            return await list_workers(client, namespace, query, allowance.gate)
        except (RPCError, RuntimeError) as error:
            tried = f"reading worker heartbeats in namespace {namespace} at {integration.endpoint}"
            raise InFlightUnavailable(
                self._connections.explain(error, query.integration, namespace, tried)
            ) from error
        finally:
            self._took(time.perf_counter() - began)

    def integrations(self) -> Sequence[IntegrationReport]:
        """Return how each integration fared in the latest read."""
        outcomes: dict[str, list[str | None]] = defaultdict(list)
        for (integration, _), reader in self._readers.items():
            outcomes[integration].append(reader.failure)
        return self._connections.reports(outcomes)

    def _own_namespaces(
        self, integrations: Iterable[str]
    ) -> tuple[Mapping[str, str], Mapping[str, BacklogUnavailable]]:
        """Return the namespace of each integration, and why an integration cannot be used."""
        own: dict[str, str] = {}
        unknown: dict[str, BacklogUnavailable] = {}
        for integration in set(integrations):
            try:
                own[integration] = self._connections.integration(integration).namespace
            except IntegrationError as error:
                unknown[integration] = BacklogUnavailable(str(error))
        return own, unknown

    async def _read_all(self, calls: Mapping[Scope, Calls]) -> Mapping[TaskQueue, Reading]:
        """Read all namespaces side by side; forget those that are no longer wanted."""
        self._readers = {scope: self._readers.get(scope) or self._reader(scope) for scope in calls}
        chosen = self._choose(calls)
        answers = await asyncio.gather(
            *(
                reader.read(calls[scope], chosen[scope], self._allowance(scope[0]).gate)
                for scope, reader in self._readers.items()
            )
        )
        return {queue: reading for answer in answers for queue, reading in answer.items()}

    def _choose(self, calls: Mapping[Scope, Calls]) -> Mapping[Scope, Collection[Call]]:
        """Spread the calls that each integration may make over its namespaces."""
        now = self._clock()
        last_calls: dict[str, dict[tuple[Scope, Call], LastCall | None]] = defaultdict(dict)
        for scope, reader in self._readers.items():
            of_scope = reader.last_calls(calls[scope])
            last_calls[scope[0]] |= {(scope, call): last for call, last in of_scope.items()}
        chosen: dict[Scope, list[Call]] = {scope: [] for scope in calls}
        for integration, of_integration in last_calls.items():
            allowance = self._allowance(integration)
            turns, allowance.pace, allowance.budget = allowance.budget.choose(of_integration, now)
            for scope, call in turns:
                chosen[scope].append(call)
        return chosen

    def _allowance(self, integration: str) -> _Allowance:
        if integration not in self._allowances:
            pace = Pace(self._budget.interval, self._budget.interval)
            self._allowances[integration] = _Allowance(self._budget, pace)
        return self._allowances[integration]

    def _reader(self, scope: Scope) -> NamespaceReader:
        return NamespaceReader(*scope, self._connections, self._clock, self._took)


def _rounded(pace: timedelta, interval: timedelta) -> str:
    """Round a pace up coarsely, so that the warning does not change with every tick."""
    while interval < pace:
        interval *= 2
    return format_duration(interval)

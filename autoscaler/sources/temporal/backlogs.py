"""Backlogs and in-flight work of any number of integrations, read side by side."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from temporalio.service import RPCError

from autoscaler.core.backlog import TaskQueue
from autoscaler.core.budget import Budget, LastCall
from autoscaler.core.durations import format_duration
from autoscaler.core.errors import BacklogUnavailable, InFlightUnavailable, IntegrationError
from autoscaler.core.in_flight import Worker, WorkerQuery
from autoscaler.core.reading import Reading
from autoscaler.core.report import IntegrationReport
from autoscaler.core.sighting import KEPT
from autoscaler.sources.connections.clients import Connections
from autoscaler.sources.temporal.allowance import Allowance, Took
from autoscaler.sources.temporal.answers import Call, Calls, group_by_call
from autoscaler.sources.temporal.namespaces import NamespaceReader, Turns
from autoscaler.sources.temporal.workers import calls_for, list_workers

DEFAULT_BUDGET = Budget(rate=40, interval=timedelta(seconds=1))
Scope = tuple[str, str]
"""An integration and a namespace: what fails together and recovers together."""


NEVER = datetime.min.replace(tzinfo=UTC)


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
        self._budget = budget
        self._took = took
        self._allowances: dict[str, Allowance] = {}
        self._readers: dict[Scope, NamespaceReader] = {}

    async def read(
        self, queues: Collection[TaskQueue], waking: Collection[TaskQueue] = ()
    ) -> Mapping[TaskQueue, Reading]:
        """Read each task queue and type once, or each build, however many services share it.

        Those that are `waking`, which a service at zero waits for, are counted on all partitions as
        often as the budget allows: a single task is on any of them. The others are counted where
        the server shows that more has come than the latest count knew.

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
        counts = {resolved[queue] for queue in waking if queue in resolved}
        found = await self._read_all(calls, counts)
        readings |= {queue: found[full] for queue, full in resolved.items() if full in found}
        return readings

    def warnings(self, integration: str) -> Sequence[str]:
        """Return a warning where the budget of an integration stretches the interval."""
        allowance = self._allowances.get(integration)
        interval = self._budget.interval
        if allowance is None or allowance.pace.quiet <= max(interval, KEPT):
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
        allowance.charge(calls_for(query))
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

    async def _read_all(
        self, calls: Mapping[Scope, Calls], waking: Collection[TaskQueue]
    ) -> Mapping[TaskQueue, Reading]:
        """Read all namespaces side by side; forget those that are no longer wanted."""
        self._readers = {scope: self._readers.get(scope) or self._reader(scope) for scope in calls}
        chosen = self._choose(calls, waking)
        counts = self._choose_counts(chosen, waking)
        answers = await asyncio.gather(
            *(
                reader.read(calls[scope], Turns(chosen[scope], counts[scope]))
                for scope, reader in self._readers.items()
            )
        )
        return {queue: reading for answer in answers for queue, reading in answer.items()}

    def _choose(
        self, calls: Mapping[Scope, Calls], waking: Collection[TaskQueue]
    ) -> Mapping[Scope, Collection[Call]]:
        """Spread the calls that each integration may make over its namespaces.

        What a service at zero waits for is read as often as what is in motion.
        """
        now = self._clock()
        last_calls: dict[str, dict[tuple[Scope, Call], LastCall | None]] = defaultdict(dict)
        for scope, reader in self._readers.items():
            of_scope = reader.last_calls(calls[scope])
            last_calls[scope[0]] |= {
                (scope, call): replace(last, moving=True) if last and call in waking else last
                for call, last in of_scope.items()
            }
        chosen: dict[Scope, list[Call]] = {scope: [] for scope in calls}
        for integration, of_integration in last_calls.items():
            for scope, call in self._allowance(integration).choose(of_integration, now):
                chosen[scope].append(call)
        return chosen

    def _choose_counts(
        self, chosen: Mapping[Scope, Collection[Call]], waking: Collection[TaskQueue]
    ) -> Mapping[Scope, Collection[Call]]:
        """Return which of the chosen calls also count all partitions, as far as the budget allows.

        Of the task queues that services at zero wait for, the longest uncounted go first.
        """
        turns = [(scope, call) for scope, calls in chosen.items() for call in calls]
        turns = [(scope, call) for scope, call in turns if call in waking]
        turns.sort(key=lambda turn: self._readers[turn[0]].counted_at(turn[1]) or NEVER)
        counts: dict[Scope, list[Call]] = {scope: [] for scope in chosen}
        for scope, call in turns:
            wanted = self._readers[scope].calls_for_count(call)
            if wanted is not None and self._allowance(scope[0]).spend(wanted):
                counts[scope].append(call)
        return counts

    def _allowance(self, integration: str) -> Allowance:
        if integration not in self._allowances:
            self._allowances[integration] = Allowance(self._budget, self._took)
        return self._allowances[integration]

    def _reader(self, scope: Scope) -> NamespaceReader:
        allowance = self._allowance(scope[0])
        return NamespaceReader(*scope, self._connections, self._clock, allowance)


def _rounded(pace: timedelta, interval: timedelta) -> str:
    """Round a pace up coarsely, so that the warning does not change with every tick."""
    while interval < pace:
        interval *= 2
    return format_duration(interval)

"""Reads the task queues of one namespace, and keeps what each call has brought last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio.api.workflowservice.v1 import DescribeTaskQueueResponse
from temporalio.service import RPCError, RPCStatusCode, ServiceClient

from autoscaler.core.backlog import TaskQueue, WorkerVersion
from autoscaler.core.backoff import Backoff
from autoscaler.core.budget import LastCall
from autoscaler.core.errors import BacklogUnavailable, IntegrationError
from autoscaler.core.reading import Reading
from autoscaler.core.sighting import Sighting
from autoscaler.sources.connections.clients import Connections
from autoscaler.sources.temporal.allowance import Allowance
from autoscaler.sources.temporal.answers import (
    NOTHING,
    Answer,
    Call,
    Calls,
    Raw,
    brought,
    failed,
    looked_at,
)
from autoscaler.sources.temporal.builds import ask_build
from autoscaler.sources.temporal.calls import no_answer, side_by_side
from autoscaler.sources.temporal.missing import MissingError
from autoscaler.sources.temporal.partitions import COUNT_WITHIN, Partitions
from autoscaler.sources.temporal.queues import ask_queue

_REFUSALS = (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.UNIMPLEMENTED)
"""How a server may refuse a field that it does not want to be asked for."""


@dataclass(frozen=True, slots=True)
class Turns:
    """The calls of one namespace that may be made in this read."""

    calls: Collection[Call] = ()
    counts: Collection[Call] = ()
    """Those whose task queue is counted on all partitions, whatever the root says."""


class NamespaceReader:
    """Reads the task queues of one namespace of one integration."""

    def __init__(
        self,
        integration: str,
        namespace: str,
        connections: Connections,
        clock: Callable[[], datetime],
        allowance: Allowance,
    ) -> None:
        """Read over the connection of `integration`, within its `allowance`."""
        self._integration = integration
        self._namespace = namespace
        self._connections = connections
        self._clock = clock
        self._allowance = allowance
        self._partitions = Partitions(namespace, allowance, clock)
        self._latest: dict[Call, Answer] = {}
        self._failure: BacklogUnavailable | None = None
        self._backoff = Backoff()

    @property
    def failure(self) -> str | None:
        """Why the namespace did not answer the last time; None where it did."""
        return None if self._failure is None else str(self._failure)

    def last_calls(self, calls: Calls) -> Mapping[Call, LastCall | None]:
        """Return when each call was last made; None where it has not brought all it is made for.

        Empty while the namespace is left alone after a failure.
        """
        if self._failure is not None and not self._backoff.ready(self._clock()):
            return {}
        return {call: self._last_call(call, queues) for call, queues in calls.items()}

    def counted_at(self, call: Call) -> datetime | None:
        """Return when all partitions of a task queue were last counted; None where never."""
        sighting = self._sighting(call)
        return None if sighting is None else sighting.counted_at

    def calls_for_count(self, call: Call) -> int | None:
        """Return how many more calls it takes to count a task queue; None where nobody can."""
        return self._partitions.calls_for(call) if isinstance(call, TaskQueue) else None

    async def read(self, calls: Calls, turns: Turns) -> Mapping[TaskQueue, Reading]:
        """Make the calls whose turn it is, and return what each of `calls` has brought last.

        A namespace that did not answer the last time answers with its error until a call is chosen
        again, and a call that failed until its own next turn. A task queue whose first turn is
        still to come is missing.
        """
        if turns.calls:
            await self._make({call: calls[call] for call in turns.calls}, turns.counts)
        elif self._failure is not None:
            return {queue: self._failure for queues in calls.values() for queue in queues}
        made = set(turns.calls)
        latest = ((call, self._latest[call]) for call in calls if call in self._latest)
        self._latest = {call: each if call in made else each.again() for call, each in latest}
        self._partitions.keep({queue.name for queues in calls.values() for queue in queues})
        return {
            queue: answer.readings[queue]
            for call, answer in self._latest.items()
            for queue in calls[call]
            if queue in answer.readings
        }

    def _last_call(self, call: Call, queues: Iterable[TaskQueue]) -> LastCall | None:
        answer = self._latest.get(call)
        # A service that is new may add a task queue to those of a build.
        if answer is None or not answer.sightings.keys() >= set(queues):
            return None
        return answer.last

    def _sighting(self, call: Call) -> Sighting | None:
        """Return what is known of the task queue of a call; None for a build."""
        if isinstance(call, WorkerVersion):
            return None
        return self._latest.get(call, NOTHING).sightings.get(call)

    async def _make(self, calls: Calls, counts: Collection[Call]) -> None:
        """Make calls side by side, then count on all partitions where that is worth it."""
        now, began = self._clock(), time.perf_counter()
        self._failure = None
        try:
            client = await self._connections.client(self._integration)
        except IntegrationError as error:
            self._failure = failure = BacklogUnavailable(str(error))
            self._latest |= {call: failed(queues, failure) for call, queues in calls.items()}
        else:
            answers = await side_by_side(
                self._ask(client, call, queues[0]) for call, queues in calls.items()
            )
            # The answers are read when all have come. Each of them read as it came took 2 to 3 of
            # the 40 ms that a tick over 100 services spends in Python, probably because other
            # threads run between two answers (measured 2026-11). `_ask` may read its answer when
            # that costs no more.
            for (call, queues), answer in zip(calls.items(), answers, strict=True):
                self._latest[call] = await self._read_answer(answer, call, queues, now)
            left = COUNT_WITHIN - timedelta(seconds=time.perf_counter() - began)
            await self._count_all(client, calls, counts, left)
        if self._failure is None:
            self._backoff = self._backoff.succeeded()
        else:
            self._backoff = self._backoff.failed(self._clock())

    async def _ask(
        self, client: ServiceClient, call: Call, queue: TaskQueue
    ) -> Raw | BacklogUnavailable:
        """Make one call, unless another has shown that the namespace does not answer.

        Without that, each call to a namespace that hangs would wait for its own deadline. `queue`
        is one of those that the call is made for.
        """
        async with self._allowance.gate:
            if self._failure is not None:
                return self._failure
            began = time.perf_counter()
            try:
                if isinstance(call, WorkerVersion):
                    return await ask_build(client, self._namespace, call)
                return await self._ask_queue(client, call)
            except (RPCError, RuntimeError) as error:
                return self._explain(error, queue)
            except MissingError as missing:
                return await self._explain_missing(missing, queue)
            finally:
                self._allowance.took(time.perf_counter() - began)

    async def _ask_queue(
        self, client: ServiceClient, queue: TaskQueue
    ) -> DescribeTaskQueueResponse:
        """Ask for a task queue, and for its root partition unless the server refuses that."""
        namespace, name, type_ = self._namespace, queue.name, queue.type
        if self._partitions.told(queue):
            try:
                return await ask_queue(client, namespace, name, type_, on_root=True)
            except RPCError as error:
                if error.status not in _REFUSALS:
                    raise
            self._allowance.charge(1)
            answer = await ask_queue(client, namespace, name, type_)
            self._partitions.refused()
            return answer
        return await ask_queue(client, namespace, name, type_)

    async def _read_answer(
        self,
        answer: Raw | BacklogUnavailable | None,
        call: Call,
        queues: Sequence[TaskQueue],
        now: datetime,
    ) -> Answer:
        """Read what a call that was made at `now` has brought; None where it was given up."""
        if answer is None:
            answer = self._explain(no_answer(), queues[0])
        if isinstance(answer, BacklogUnavailable):
            return failed(queues, answer)
        known = self._latest.get(call, NOTHING).sightings
        try:
            return brought(looked_at(answer, queues, known, now))
        except MissingError as missing:
            return failed(queues, await self._explain_missing(missing, queues[0]))

    async def _count_all(
        self, client: ServiceClient, calls: Iterable[Call], due: Collection[Call], within: timedelta
    ) -> None:
        """Count all partitions where that is `due`, or where the server shows that more has come.

        The counts run side by side. Those that are due have been paid for.
        """
        if within <= timedelta():
            return
        chosen = [
            (call, sighting)
            for call in calls
            if isinstance(call, TaskQueue)
            and (sighting := self._sighting(call)) is not None
            and self._is_counted(call, sighting, due=call in due)
        ]
        counts = await asyncio.gather(
            *(self._partitions.count(client, queue, within) for queue, _ in chosen)
        )
        for (queue, sighting), elsewhere in zip(chosen, counts, strict=True):
            if elsewhere is not None:
                self._latest[queue] = brought({queue: sighting.counted(elsewhere)})

    def _is_counted(self, queue: TaskQueue, sighting: Sighting, *, due: bool) -> bool:
        """Whether a task queue is counted now; pay for it where it was not `due`."""
        if sighting.on_root is None or not (due or sighting.risen):
            return False
        calls = self._partitions.calls_for(queue)
        if calls is None:
            return False
        # With figures that were made for this look, a count brings little that is new.
        return due or self._allowance.spend(calls, ahead=not sighting.made_for_it)

    def _explain(self, error: RPCError | RuntimeError, queue: TaskQueue) -> BacklogUnavailable:
        """Return the error in words, and remember it where it concerns the whole namespace."""
        invalid = isinstance(error, RPCError) and error.status is RPCStatusCode.INVALID_ARGUMENT
        what = f"task queue {queue.name!r}" if invalid else "backlogs"
        failure = BacklogUnavailable(
            self._connections.explain(
                error, self._integration, self._namespace, self._reading(what)
            )
        )
        if not invalid:
            self._failure = failure
        return failure

    async def _explain_missing(self, missing: MissingError, queue: TaskQueue) -> BacklogUnavailable:
        """Return what the server leaves out in words, and remember it where no queue has it."""
        version = queue.version
        what = "backlogs" if version is None else f"the backlog of build {version}"
        failure = BacklogUnavailable(
            await self._connections.explain_missing(
                missing.what, missing.since, self._integration, self._reading(what)
            )
        )
        if version is None:
            self._failure = failure
        return failure

    def _reading(self, what: str) -> str:
        """Say what was tried."""
        endpoint = self._connections.endpoint(self._integration)
        return f"reading {what} in namespace {self._namespace} at {endpoint}"

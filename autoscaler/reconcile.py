"""One tick: find the services, read their backlogs, decide for each, act on each.

`run` and `plan` come through here; the only difference is whether `tick` acts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from autoscaler.core.backoff import Backoff
from autoscaler.core.drain import Standing, standings
from autoscaler.core.errors import AutoscalerError, BacklogUnavailable, LabelError, describe
from autoscaler.core.integration import canonical
from autoscaler.core.model import (
    Backlog,
    Decision,
    History,
    InFlight,
    QueueStats,
    Replica,
    ScalingAction,
    Service,
    ServiceId,
    Situation,
    TaskQueue,
    UnknownBacklog,
    UnknownInFlight,
    WorkerQuery,
    WorkerVersion,
)
from autoscaler.core.policy import decide, wants_in_flight
from autoscaler.core.report import ServiceReport, TickReport
from autoscaler.core.spec import DEFAULT_PREFIX, Busy, Mode, ScalingSpec, scaling_labels
from autoscaler.ports import BacklogSource, Orchestrator

Readings = Mapping[TaskQueue, QueueStats | BacklogUnavailable]


@dataclass(slots=True)
class _Memory:
    """What is remembered of one service between ticks."""

    history: History
    seen: Mapping[str, str] | None = None
    """All labels at the latest look, of which no copy is made."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Those of them that are ours: what stays is read once."""
    spec: ScalingSpec | None = None
    """The last labels that were right."""
    integration: str = ""
    """That of the spec, in its canonical spelling."""
    queues: tuple[TaskQueue, ...] = ()
    """What the spec asks to be read; nothing where its mode is off."""
    label_problems: tuple[str, ...] = ()
    action: asyncio.Task[int] | None = None
    """The change of replicas under way; it returns how many replicas it interrupted."""
    wanted: int = 0
    """Replicas that the change under way leads to."""
    growing: bool = False
    """Whether it adds replicas. Only failures of that kind are tried again more slowly."""
    failure: str | None = None
    """Why the last change could not be made."""
    interrupted: int = 0
    """Replicas stopped since the last report although they were known to be busy."""
    backoff: Backoff = field(
        default_factory=lambda: Backoff(first=timedelta(seconds=2), longest=timedelta(minutes=5))
    )

    @property
    def acting(self) -> bool:
        """Whether a change was under way when this tick began.

        It may have ended since, but what the tick saw of the service may be older than that.
        """
        return self.action is not None

    def follow(self, spec: ScalingSpec) -> None:
        """Take over labels that are right."""
        self.spec = spec
        self.integration = canonical(spec.integration)
        self.queues = () if spec.mode is Mode.OFF else _task_queues(spec)
        self.label_problems = ()

    def settle(self, now: datetime) -> None:
        """Take note of how a finished change ended."""
        if self.action is None or not self.action.done():
            return
        error = self.action.exception()
        self.interrupted += self.action.result() if error is None else 0
        self.action = None
        self.failure = None if error is None else describe(error)
        if error is None:
            self.backoff = self.backoff.succeeded()
        elif self.growing:
            self.backoff = self.backoff.failed(now)


class Reconciler:
    """Keeps every labelled service at the number of replicas its backlog calls for."""

    def __init__(
        self,
        orchestrators: Sequence[Orchestrator],
        source: BacklogSource,
        *,
        clock: Callable[[], datetime],
        prefix: str = DEFAULT_PREFIX,
        dry_run: bool = False,
    ) -> None:
        self._orchestrators = {orchestrator.name: orchestrator for orchestrator in orchestrators}
        self._source = source
        self._clock = clock
        self._prefix = prefix
        self._dry_run = dry_run
        self._memory: dict[ServiceId, _Memory] = {}
        self._queues: frozenset[TaskQueue] = frozenset()
        """What the services that the latest tick has seen ask to be read."""
        self._looked_at = clock()

    async def tick(self, *, act: bool = True) -> TickReport:
        """Look at every service once, and start the changes of replicas that are due.

        Does not wait for the changes: a slow one holds up neither the other services nor the
        next tick; a service with a change under way gets no second one meanwhile.
        With `act` off nothing is changed and the report says what would be.
        """
        began = self._clock()
        for memory in self._memory.values():
            memory.settle(began)
        # What the last tick has seen is most likely still there: its backlogs are read meanwhile.
        expected = self._queues
        early = asyncio.create_task(self._read(expected)) if expected else None
        services, errors, unseen = await self._discover()
        readings = await early if early is not None else {}
        memories = self._remember(services, unseen)
        if early is None or self._queues != expected:
            readings = await self._read(self._queues)
        reports = await self._reports(zip(services, memories, strict=True), readings, act=act)
        at = self._clock()
        integrations = tuple(self._source.integrations())
        return TickReport(at, reports, errors, integrations, took=at - began)

    async def close(self, patience: timedelta) -> None:
        """Wait at most `patience` in all for changes under way and for what drains."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience.total_seconds()
        actions = [memory.action for memory in self._memory.values() if memory.action]
        if actions:
            done, _ = await asyncio.wait(actions, timeout=patience.total_seconds())
            for action in done:
                action.exception()  # No tick will look at it any more: it is no traceback.
        left = timedelta(seconds=max(0.0, end - loop.time()))
        await asyncio.gather(
            *(orchestrator.close(left) for orchestrator in self._orchestrators.values())
        )

    async def _read(self, queues: frozenset[TaskQueue]) -> Readings:
        """Read the backlogs; what goes wrong as a whole makes each of them unknown."""
        (outcome,) = await asyncio.gather(self._source.read(queues), return_exceptions=True)
        if isinstance(outcome, Exception):
            return dict.fromkeys(queues, BacklogUnavailable(describe(outcome)))
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def _discover(self) -> tuple[list[Service], tuple[str, ...], set[str]]:
        names = list(self._orchestrators)
        found = await asyncio.gather(
            *(self._orchestrators[name].discover() for name in names), return_exceptions=True
        )
        services: list[Service] = []
        # The orchestrators share an engine: what ails it is said once.
        errors: dict[str, None] = {}
        unseen: set[str] = set()
        for name, outcome in zip(names, found, strict=True):
            if isinstance(outcome, Exception):
                errors[describe(outcome)] = None
                unseen.add(name)
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                services += outcome
        return sorted(services, key=lambda service: service.id), tuple(errors), unseen

    def _remember(self, services: Sequence[Service], unseen: set[str]) -> list[_Memory]:
        """Take up new services and new labels; forget services that are gone.

        Those of an orchestrator that did not answer are not gone: they keep their history. Nor
        is one that is just being changed. Returns what is remembered of each service.
        """
        now = self._clock()
        present = {service.id: service.replicas for service in services}
        if now < self._looked_at:
            # The clock was set back: what lies ahead of it now would count for as long as that.
            for id_, memory in self._memory.items():
                memory.history = History.seed(present.get(id_, memory.history.replicas), now)
        self._looked_at = now
        self._memory = {
            id_: memory
            for id_, memory in self._memory.items()
            if id_ in present or id_.orchestrator in unseen or memory.acting
        }
        memories = [self._recall(service, now) for service in services]
        self._queues = frozenset(queue for memory in memories for queue in memory.queues)
        return memories

    def _recall(self, service: Service, now: datetime) -> _Memory:
        memory = self._memory.get(service.id)
        if memory is None:
            memory = self._memory[service.id] = _Memory(History.seed(service.replicas, now))
        elif memory.labels and service.labels is memory.seen:
            return memory
        memory.seen = service.labels
        labels = scaling_labels(service.labels, self._prefix)
        if not labels or labels != memory.labels:
            memory.labels = labels
            try:
                memory.follow(ScalingSpec.from_labels(labels, self._prefix))
            except LabelError as error:
                misplaced = not labels and service.refusal
                memory.label_problems = (misplaced,) if misplaced else error.problems
        return memory

    async def _reports(
        self, services: Iterable[tuple[Service, _Memory]], readings: Readings, *, act: bool
    ) -> tuple[ServiceReport, ...]:
        """Decide for each service and act on it.

        Those for which it counts what is in flight wait for it side by side, and hold up no
        others. A task for each of the others would cost a good part of the decision.
        """
        outcomes = [
            self._report(service, memory, readings, act=act) for service, memory in services
        ]
        waited_for = [each for each in outcomes if not isinstance(each, ServiceReport)]
        arrived = iter(await asyncio.gather(*waited_for))
        return tuple(
            each if isinstance(each, ServiceReport) else next(arrived) for each in outcomes
        )

    def _report(
        self, service: Service, memory: _Memory, readings: Readings, *, act: bool
    ) -> ServiceReport | Awaitable[ServiceReport]:
        try:
            if memory.spec is None:
                return ServiceReport(
                    service.id,
                    service.replicas,
                    service.replicas,
                    warnings=service.warnings,
                    errors=memory.label_problems,
                    draining=service.draining,
                )
            situation = Situation(
                spec=memory.spec,
                replicas=memory.wanted if memory.acting else service.replicas,
                backlog=_backlog(memory.queues, readings),
                history=memory.history,
                now=self._clock(),
                ceiling=service.ceiling,
                refusal=service.refusal,
                draining=service.draining,
                grace=service.grace,
            )
            decision = decide(situation)
            if wants_in_flight(situation, decision):
                return self._report_in_flight(service, memory, situation, act=act)
            return self._follow(service, memory, situation, decision, act=act)
        except Exception as error:  # noqa: BLE001 - a service fails alone
            return _failed(service, error)

    async def _report_in_flight(
        self, service: Service, memory: _Memory, situation: Situation, *, act: bool
    ) -> ServiceReport:
        """Decide with what is in flight, which is read only where it counts."""
        try:
            in_flight = await self._in_flight(service.id, situation.spec)
            situation = replace(situation, in_flight=in_flight)
            return self._follow(service, memory, situation, decide(situation), act=act)
        except Exception as error:  # noqa: BLE001 - a service fails alone
            return _failed(service, error)

    def _follow(
        self,
        service: Service,
        memory: _Memory,
        situation: Situation,
        decision: Decision,
        *,
        act: bool,
    ) -> ServiceReport:
        """Do what was decided, and tell of it."""
        spec, backlog, in_flight = situation.spec, situation.backlog, situation.in_flight
        errors = list(memory.label_problems)
        errors += backlog.why if isinstance(backlog, UnknownBacklog) else ()
        errors += [in_flight.why] if isinstance(in_flight, UnknownInFlight) else ()
        memory.history = decision.history
        dry_run = self._dry_run or spec.mode is Mode.DRY_RUN
        action = None
        if dry_run:
            memory.failure = None
        elif act:
            action = self._act(service, memory, situation, decision)
        if memory.failure is not None:
            errors.append(memory.failure)
        interrupted, memory.interrupted = memory.interrupted, 0
        known = backlog if isinstance(backlog, Backlog) else None
        return ServiceReport(
            service=service.id,
            replicas=service.replicas,
            desired=decision.desired,
            queues=spec.queues,
            backlog=None if known is None else known.waiting,
            age=None if known is None else known.age,
            parts={} if known is None else known.parts,
            min=spec.min,
            max=spec.max,
            reasons=decision.reasons,
            warnings=(
                *service.warnings,
                *self._source.warnings(memory.integration),
                *decision.warnings,
            ),
            errors=tuple(errors),
            action=action,
            dry_run=dry_run,
            busy=_busy(in_flight, situation.now),
            draining=service.draining,
            interrupted=interrupted,
        )

    async def _in_flight(self, service: ServiceId, spec: ScalingSpec) -> InFlight | UnknownInFlight:
        try:
            members = await self._orchestrators[service.orchestrator].members(service)
            return await self._reports_of(members, spec)
        except AutoscalerError as error:
            return UnknownInFlight(describe(error))

    async def _reports_of(self, replicas: Sequence[Replica], spec: ScalingSpec) -> InFlight:
        """Ask the workers of these replicas. Raises InFlightUnavailable or IntegrationError."""
        hosts = frozenset(replica.host for replica in replicas if replica.host is not None)
        # One that has not started has no workers yet to ask for.
        everywhere = any(replica.host is None and replica.started for replica in replicas)
        query = WorkerQuery(
            canonical(spec.integration),
            spec.namespace,
            hosts,
            frozenset(spec.queues) if everywhere else frozenset(),
        )
        return InFlight(tuple(replicas), tuple(await self._source.workers(query)))

    def _act(
        self, service: Service, memory: _Memory, situation: Situation, decision: Decision
    ) -> ScalingAction | None:
        """Start the change that the decision asks for, unless one is under way or must wait.

        What was left behind half made is a change as well, if not one of the number of replicas:
        it is no action to report.
        """
        spec, in_flight = situation.spec, situation.in_flight
        if memory.acting:
            return None
        same = decision.desired == service.replicas
        if same and (not service.left_behind or spec.mode is Mode.OFF):
            memory.failure = None
            memory.backoff = memory.backoff.succeeded()
            return None
        memory.growing = decision.desired > service.replicas
        if memory.growing and not memory.backoff.ready(self._clock()):
            return None
        action = ScalingAction(service.id, service.replicas, decision.desired, decision.reasons)
        memory.wanted = decision.desired
        reported = isinstance(in_flight, InFlight) and bool(in_flight.workers)
        memory.action = asyncio.create_task(
            self._apply(action, spec, reported=reported), name=f"scale {service.id}"
        )
        return None if same else action

    async def _apply(self, action: ScalingAction, spec: ScalingSpec, *, reported: bool) -> int:
        """Make a change; return how many replicas were stopped although known to be busy.

        `reported` says whether any worker reported when it was decided: if none does at the last
        look, that is then no leave to stop any.
        """
        busy: set[str] = set()

        async def last_look(replicas: Sequence[Replica]) -> Mapping[str, Standing] | None:
            in_flight = await self._reports_of(replicas, spec)
            if not in_flight.workers and not reported:
                return None
            known = standings(in_flight, self._clock())
            busy.update(id_ for id_, standing in known.items() if standing is Standing.BUSY)
            return known

        orchestrator = self._orchestrators[action.service.orchestrator]
        stopped = await orchestrator.apply(action, None if spec.busy is Busy.IGNORE else last_look)
        return len(busy.intersection(stopped))


def _task_queues(spec: ScalingSpec) -> tuple[TaskQueue, ...]:
    version = (
        WorkerVersion(spec.deployment, spec.build_id)
        if spec.deployment is not None and spec.build_id is not None
        else None
    )
    return tuple(
        TaskQueue(canonical(spec.integration), spec.namespace, name, type_, version)
        for name in spec.queues
        for type_ in spec.queue_types
    )


def _backlog(queues: Collection[TaskQueue], readings: Readings) -> Backlog | UnknownBacklog:
    """Join the readings of one service: unknown as soon as one of them is, or none is asked for."""
    parts: dict[TaskQueue, QueueStats] = {}
    why: dict[str, None] = {}
    for queue in queues:
        # Before its first turn it is missing: unknown, and no error.
        match readings.get(queue):
            case QueueStats() as stats:
                parts[queue] = stats
            case BacklogUnavailable() as error:
                why[str(error)] = None
    if len(parts) < len(queues) or not queues:
        return UnknownBacklog(tuple(why))
    return Backlog.of(parts)


def _failed(service: Service, error: Exception) -> ServiceReport:
    """Tell of a service for which something went wrong that nobody expected."""
    return ServiceReport(service.id, service.replicas, service.replicas, errors=(describe(error),))


def _busy(in_flight: InFlight | UnknownInFlight | None, now: datetime) -> int | None:
    """Count the replicas that were seen at work; None where nobody looked, or could."""
    if not isinstance(in_flight, InFlight) or not in_flight.workers:
        return None
    return sum(standing is Standing.BUSY for standing in standings(in_flight, now).values())

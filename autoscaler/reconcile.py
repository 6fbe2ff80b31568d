"""One tick: find the services, read their backlogs, decide for each, act on each.

`run` and `plan` come through here; the only difference is whether `tick` acts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from autoscaler.core.backoff import Backoff
from autoscaler.core.errors import BacklogUnavailable, LabelError, describe
from autoscaler.core.integration import canonical
from autoscaler.core.model import (
    Backlog,
    Decision,
    History,
    QueueStats,
    ScalingAction,
    Service,
    ServiceId,
    Situation,
    TaskQueue,
    UnknownBacklog,
)
from autoscaler.core.policy import decide
from autoscaler.core.report import ServiceReport, TickReport
from autoscaler.core.spec import DEFAULT_PREFIX, Mode, ScalingSpec, scaling_labels
from autoscaler.ports import BacklogSource, Orchestrator

Readings = Mapping[TaskQueue, QueueStats | BacklogUnavailable]


@dataclass(slots=True)
class _Memory:
    """What is remembered of one service between ticks."""

    history: History
    spec: ScalingSpec | None = None
    """The last labels that were right."""
    label_problems: tuple[str, ...] = ()
    action: asyncio.Task[None] | None = None
    """The change of replicas under way."""
    wanted: int = 0
    """Replicas that the change under way leads to."""
    failure: str | None = None
    """Why the last change could not be made."""
    backoff: Backoff = field(
        default_factory=lambda: Backoff(first=timedelta(seconds=2), longest=timedelta(minutes=5))
    )

    @property
    def acting(self) -> bool:
        """Whether a change was under way when this tick began.

        It may have ended since, but what the tick saw of the service may be older than that.
        """
        return self.action is not None

    def settle(self, now: datetime) -> None:
        """Take note of how a finished change ended."""
        if self.action is None or not self.action.done():
            return
        error = self.action.exception()
        self.action = None
        self.failure = None if error is None else describe(error)
        self.backoff = self.backoff.succeeded() if error is None else self.backoff.failed(now)


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

    async def tick(self, *, act: bool = True) -> TickReport:
        """Look at every service once, and start the changes of replicas that are due.

        Does not wait for the changes: a slow one holds up neither the other services nor the
        next tick; a service with a change under way gets no second one meanwhile.
        With `act` off nothing is changed and the report says what would be.
        """
        for memory in self._memory.values():
            memory.settle(self._clock())
        services, errors, unseen = await self._discover()
        self._remember(services, unseen)
        readings = await self._read(self._queues(services))
        reports = tuple(self._report(service, readings, act=act) for service in services)
        return TickReport(self._clock(), reports, errors, tuple(self._source.integrations()))

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

    async def _read(self, queues: set[TaskQueue]) -> Readings:
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

    def _remember(self, services: Sequence[Service], unseen: set[str]) -> None:
        """Take up new services and new labels; forget services that are gone.

        Those of an orchestrator that did not answer are not gone: they keep their history. Nor
        is one that is just being changed.
        """
        now = self._clock()
        present = {service.id for service in services}
        self._memory = {
            id_: memory
            for id_, memory in self._memory.items()
            if id_ in present or id_.orchestrator in unseen or memory.acting
        }
        for service in services:
            memory = self._memory.setdefault(
                service.id, _Memory(History.seed(service.replicas, now))
            )
            try:
                memory.spec = ScalingSpec.from_labels(service.labels, self._prefix)
                memory.label_problems = ()
            except LabelError as error:
                misplaced = not scaling_labels(service.labels, self._prefix) and service.refusal
                memory.label_problems = (misplaced,) if misplaced else error.problems

    def _queues(self, services: Sequence[Service]) -> set[TaskQueue]:
        specs = (self._memory[service.id].spec for service in services)
        return {
            queue
            for spec in specs
            if spec is not None and spec.mode is not Mode.OFF
            for queue in _task_queues(spec)
        }

    def _report(self, service: Service, readings: Readings, *, act: bool) -> ServiceReport:
        try:
            return self._reconcile(service, readings, act=act)
        except Exception as error:  # noqa: BLE001 - a service fails alone
            return ServiceReport(
                service.id, service.replicas, service.replicas, errors=(describe(error),)
            )

    def _reconcile(self, service: Service, readings: Readings, *, act: bool) -> ServiceReport:
        memory = self._memory[service.id]
        spec = memory.spec
        errors = list(memory.label_problems)
        if spec is None:
            return ServiceReport(
                service.id,
                service.replicas,
                service.replicas,
                warnings=service.warnings,
                errors=tuple(errors),
            )
        backlog = _backlog(spec, readings)
        if isinstance(backlog, UnknownBacklog):
            errors += backlog.why
        decision = decide(
            Situation(
                spec,
                memory.wanted if memory.acting else service.replicas,
                backlog,
                memory.history,
                self._clock(),
                service.ceiling,
                service.refusal,
            )
        )
        memory.history = decision.history
        dry_run = self._dry_run or spec.mode is Mode.DRY_RUN
        action = None
        if dry_run:
            memory.failure = None
        elif act:
            action = self._act(service, decision, memory)
        if memory.failure is not None:
            errors.append(memory.failure)
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
            warnings=(*service.warnings, *decision.warnings),
            errors=tuple(errors),
            action=action,
            dry_run=dry_run,
        )

    def _act(self, service: Service, decision: Decision, memory: _Memory) -> ScalingAction | None:
        """Start the change that the decision asks for, unless one is under way or must wait."""
        if memory.acting:
            return None
        if decision.desired == service.replicas:
            memory.failure = None
            memory.backoff = memory.backoff.succeeded()
            return None
        growing = decision.desired > service.replicas
        if growing and not memory.backoff.ready(self._clock()):
            return None
        action = ScalingAction(service.id, service.replicas, decision.desired, decision.reasons)
        memory.wanted = decision.desired
        memory.action = asyncio.create_task(
            self._orchestrators[service.id.orchestrator].apply(action), name=f"scale {service.id}"
        )
        return action


def _task_queues(spec: ScalingSpec) -> list[TaskQueue]:
    return [
        TaskQueue(canonical(spec.integration), spec.namespace, name, type_)
        for name in spec.queues
        for type_ in spec.queue_types
    ]


def _backlog(spec: ScalingSpec, readings: Readings) -> Backlog | UnknownBacklog:
    """Join the readings of one service: unknown as soon as one of them is."""
    parts: dict[TaskQueue, QueueStats] = {}
    why: dict[str, None] = {}
    for queue in _task_queues(spec):
        # Nothing is read while mode is off: unknown, and no error.
        match readings.get(queue):
            case QueueStats() as stats:
                parts[queue] = stats
            case BacklogUnavailable() as error:
                why[str(error)] = None
    if len(parts) < len(_task_queues(spec)):
        return UnknownBacklog(tuple(why))
    return Backlog(parts)

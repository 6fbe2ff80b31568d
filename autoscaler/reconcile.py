"""One tick: look at every service, decide for all, act on all.

`run`, `plan` and `doctor` come through here; they differ only in whether the tick acts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from autoscaler.change import Changes, Order, read_in_flight
from autoscaler.core.advice import advise
from autoscaler.core.decide import decide_all, wants_in_flight
from autoscaler.core.errors import AutoscalerError, BacklogUnavailable, alone, describe
from autoscaler.core.history import History
from autoscaler.core.in_flight import InFlight, UnknownInFlight, busy_replicas
from autoscaler.core.integration import canonical
from autoscaler.core.label_values import Mode
from autoscaler.core.model import (
    Backlog,
    ScalingAction,
    Service,
    ServiceId,
    TaskQueue,
    UnknownBacklog,
)
from autoscaler.core.reading import Reading, join
from autoscaler.core.report import ServiceReport, TickReport
from autoscaler.core.situation import Decision, Situation
from autoscaler.core.spec import ScalingSpec
from autoscaler.ports import BacklogSource, Orchestrator
from autoscaler.wishes.wishes import Wish, Wishes


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the look of one tick has brought."""

    services: Sequence[Service]
    wishes: Mapping[ServiceId, Wish]
    situations: Mapping[ServiceId, Situation]
    """Of the services whose labels are right, or were."""
    unseen: tuple[ServiceId, ...]
    """Services seen before whose orchestrator did not answer."""
    errors: tuple[str, ...]
    """Why an orchestrator did not name its services."""
    failures: dict[ServiceId, str]
    """What went wrong with a service that nobody expected; later steps add to it."""


class Reconciler:
    """Keeps every labelled service at the number of replicas its backlog calls for."""

    def __init__(
        self,
        orchestrators: Sequence[Orchestrator],
        source: BacklogSource,
        wishes: Wishes,
        *,
        clock: Callable[[], datetime],
        dry_run: bool = False,
    ) -> None:
        """Reconcile the services of these orchestrators; with `dry_run`, change none of them."""
        self._orchestrators = {orchestrator.name: orchestrator for orchestrator in orchestrators}
        self._source = source
        self._wishes = wishes
        self._clock = clock
        self._dry_run = dry_run
        self._changes = Changes(self._orchestrators, source, clock)
        self._histories: dict[ServiceId, History] = {}
        self._looked_at = clock()

    async def tick(self, *, act: bool = True) -> TickReport:
        """Look at every service once, decide for all, and start the changes that are due.

        The tick does not wait for the changes: a slow one holds up neither the other services nor
        the next tick. With `act` off nothing is changed, and the report says what would be.
        """
        began = self._clock()
        self._changes.settle()
        seen = await self._look()
        decisions = decide_all(seen.situations, seen.failures)
        actions = self._act(seen, decisions) if act else {}
        return self._report(began, seen, decisions, actions)

    async def close(self, patience: timedelta) -> None:
        """Wait at most `patience` in all for changes under way and for what drains."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience.total_seconds()
        await self._changes.close(patience)
        left = timedelta(seconds=max(0.0, end - loop.time()))
        await asyncio.gather(
            *(orchestrator.close(left) for orchestrator in self._orchestrators.values())
        )

    # ------------------------------------------------------------------ look

    async def _look(self) -> _Seen:
        """Find the services, what is wanted of them, their backlogs, and work in flight."""
        services, errors = await self._discover()
        unseen = [id_ for id_ in self._histories if id_.orchestrator in errors]
        self._forget_all_but({*(service.id for service in services), *unseen})
        self._start_histories(services)
        failures: dict[ServiceId, str] = {}
        wishes = self._ask_wishes(services, failures)
        readings = await self._read({queue for wish in wishes.values() for queue in wish.queues})
        situations = self._situations(services, wishes, readings, failures)
        await self._look_closer(situations, failures)
        # Nothing is decided on a look that failed: what it has not seen would count as not there.
        situations = {id_: each for id_, each in situations.items() if id_ not in failures}
        # The orchestrators share an engine: what is wrong with it is said once.
        said = tuple(dict.fromkeys(errors.values()))
        return _Seen(services, wishes, situations, tuple(sorted(unseen)), said, failures)

    async def _discover(self) -> tuple[Sequence[Service], Mapping[str, str]]:
        """Return the services, and by the name of an orchestrator why it did not name its own."""
        services: list[Service] = []
        errors: dict[str, str] = {}

        async def ask(orchestrator: Orchestrator) -> None:
            with alone(errors, orchestrator.name):
                services.extend(await orchestrator.discover())

        await asyncio.gather(*map(ask, self._orchestrators.values()))
        in_order = {name: errors[name] for name in self._orchestrators if name in errors}
        return sorted(services, key=lambda service: service.id), in_order

    def _forget_all_but(self, services: set[ServiceId]) -> None:
        """Drop what is known of services that are gone."""
        # A service that is being changed may be missing for a moment.
        kept = services | {
            id_ for id_ in self._histories if self._changes.under_way(id_) is not None
        }
        self._changes.forget_all_but(kept)
        self._wishes.forget_all_but(kept)
        self._histories = {id_: each for id_, each in self._histories.items() if id_ in kept}

    def _start_histories(self, services: Sequence[Service]) -> None:
        """Begin a history for each new service, and for all where the clock was set back."""
        now = self._clock()
        if now < self._looked_at:
            # What lies ahead of the clock would count for as long as it was set back.
            self._histories = {
                id_: History.seed(history.replicas, now) for id_, history in self._histories.items()
            }
            self._histories |= {each.id: History.seed(each.replicas, now) for each in services}
        self._looked_at = now
        for service in services:
            if service.id not in self._histories:
                self._histories[service.id] = History.seed(service.replicas, now)

    def _ask_wishes(
        self, services: Sequence[Service], failures: dict[ServiceId, str]
    ) -> Mapping[ServiceId, Wish]:
        """Return what is wanted of each service; nothing where that fails."""
        wishes = {service.id: Wish() for service in services}
        for service in services:
            with alone(failures, service.id):
                wishes[service.id] = self._wishes.of(service)
        return wishes

    async def _read(self, queues: Collection[TaskQueue]) -> Mapping[TaskQueue, Reading]:
        """Read each backlog once; what goes wrong as a whole makes all of them unknown."""
        readings: Mapping[TaskQueue, Reading] = {}
        failures: dict[str, str] = {}
        with alone(failures, "reading"):
            readings = await self._source.read(queues)
        for failure in failures.values():
            readings = dict.fromkeys(queues, BacklogUnavailable(failure))
        return readings

    def _situations(
        self,
        services: Sequence[Service],
        wishes: Mapping[ServiceId, Wish],
        readings: Mapping[TaskQueue, Reading],
        failures: dict[ServiceId, str],
    ) -> dict[ServiceId, Situation]:
        """Return what is known of each service whose labels are right, or were."""
        situations: dict[ServiceId, Situation] = {}
        for service in services:
            wish = wishes[service.id]
            if wish.spec is None:
                continue
            with alone(failures, service.id):
                under_way = self._changes.under_way(service.id)
                situations[service.id] = Situation(
                    spec=wish.spec,
                    replicas=service.replicas if under_way is None else under_way,
                    backlog=join(wish.queues, readings),
                    history=self._histories[service.id],
                    now=self._clock(),
                    ceiling=service.ceiling,
                    refusal=service.refusal,
                    draining=service.draining,
                    grace=service.grace,
                )
        return situations

    async def _look_closer(
        self, situations: dict[ServiceId, Situation], failures: dict[ServiceId, str]
    ) -> None:
        """Add what is in flight to those situations whose decision depends on it."""

        async def add_in_flight(service: ServiceId, situation: Situation) -> None:
            with alone(failures, service):
                in_flight = await self._in_flight(service, situation.spec)
                situations[service] = replace(situation, in_flight=in_flight)

        wanted: dict[ServiceId, Situation] = {}
        for service, situation in situations.items():
            with alone(failures, service):
                if wants_in_flight(situation):
                    wanted[service] = situation
        await asyncio.gather(*(add_in_flight(*each) for each in wanted.items()))

    async def _in_flight(self, service: ServiceId, spec: ScalingSpec) -> InFlight | UnknownInFlight:
        orchestrator = self._orchestrators[service.orchestrator]
        try:
            return await read_in_flight(orchestrator, self._source, service, spec)
        except AutoscalerError as error:
            return UnknownInFlight(describe(error))

    # ------------------------------------------------------------------ act

    def _act(
        self, seen: _Seen, decisions: Mapping[ServiceId, Decision]
    ) -> Mapping[ServiceId, ScalingAction]:
        """Start the changes that were decided; return those of the number of replicas."""
        actions: dict[ServiceId, ScalingAction] = {}
        for service in seen.services:
            if service.id not in decisions:
                continue
            with alone(seen.failures, service.id):
                action = self._start_change(
                    service, seen.situations[service.id], decisions[service.id]
                )
                if action is not None:
                    actions[service.id] = action
        return actions

    def _start_change(
        self, service: Service, situation: Situation, decision: Decision
    ) -> ScalingAction | None:
        """Start the change that one service needs, unless one is under way or has to wait.

        Replicas that were never started are removed even where the number of replicas stays: no
        action is reported for that.
        """
        spec = situation.spec
        if self._is_dry_run(spec):
            self._changes.forget_failure(service.id)
            return None
        same = decision.desired == service.replicas
        unstarted = service.left_behind > 0 and spec.mode is not Mode.OFF
        if same and not unstarted:
            self._changes.forget_failure(service.id)
            return None
        action = ScalingAction(service.id, service.replicas, decision.desired, decision.reasons)
        in_flight = situation.in_flight
        reported = isinstance(in_flight, InFlight) and bool(in_flight.workers)
        started = self._changes.start(Order(action, spec, reported, unstarted))
        return action if started and not same else None

    # ------------------------------------------------------------------ report

    def _report(
        self,
        began: datetime,
        seen: _Seen,
        decisions: Mapping[ServiceId, Decision],
        actions: Mapping[ServiceId, ScalingAction],
    ) -> TickReport:
        """Remember what was decided, and say what the tick saw, decided and did."""
        self._histories |= {id_: decision.history for id_, decision in decisions.items()}
        reports = [
            self._report_service(service, seen, decisions, actions) for service in seen.services
        ]
        at = self._clock()
        return TickReport(
            at=at,
            services=tuple(reports),
            errors=seen.errors,
            unseen=seen.unseen,
            integrations=tuple(self._source.integrations()),
            took=at - began,
        )

    def _report_service(
        self,
        service: Service,
        seen: _Seen,
        decisions: Mapping[ServiceId, Decision],
        actions: Mapping[ServiceId, ScalingAction],
    ) -> ServiceReport:
        if service.id in decisions:
            with alone(seen.failures, service.id):
                return self._report_decision(
                    service, seen, decisions[service.id], actions.get(service.id)
                )
        failure = seen.failures.get(service.id)
        return ServiceReport(
            service=service.id,
            replicas=service.replicas,
            desired=service.replicas,
            warnings=service.warnings,
            errors=(*seen.wishes[service.id].problems, *_as_errors(failure)),
            draining=service.draining,
        )

    def _report_decision(
        self, service: Service, seen: _Seen, decision: Decision, action: ScalingAction | None
    ) -> ServiceReport:
        situation = seen.situations[service.id]
        spec, backlog, in_flight = situation.spec, situation.backlog, situation.in_flight
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
                *self._source.warnings(canonical(spec.integration)),
                *advise(situation, decision.history),
            ),
            errors=(
                *seen.wishes[service.id].problems,
                *_as_errors(seen.failures.get(service.id)),
                *(backlog.why if isinstance(backlog, UnknownBacklog) else ()),
                *((in_flight.why,) if isinstance(in_flight, UnknownInFlight) else ()),
                *_as_errors(self._changes.failure(service.id)),
            ),
            action=action,
            dry_run=self._is_dry_run(spec),
            busy=busy_replicas(in_flight, situation.now),
            draining=service.draining,
            interrupted=self._changes.take_interrupted(service.id),
        )

    def _is_dry_run(self, spec: ScalingSpec) -> bool:
        return self._dry_run or spec.mode is Mode.DRY_RUN


def _as_errors(error: str | None) -> tuple[str, ...]:
    """Return an error as a list of errors: of none, or of one."""
    return () if error is None else (error,)

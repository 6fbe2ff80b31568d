"""What a tick reports: everything it saw, decided and did, for each service."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from autoscaler.change import Changes
from autoscaler.core.advice import advise
from autoscaler.core.backlog import Backlog, TaskQueue, UnknownBacklog
from autoscaler.core.drain import Fate, Verdict, Verdicts
from autoscaler.core.errors import alone
from autoscaler.core.groups import NO_GROUPS, Groups
from autoscaler.core.host_memory import HostMemory
from autoscaler.core.in_flight import InFlight, UnknownInFlight, busy_replicas
from autoscaler.core.integration import canonical
from autoscaler.core.label_values import Mode, SwarmChoice
from autoscaler.core.model import ScalingAction, Service, ServiceId
from autoscaler.core.reading import Reading
from autoscaler.core.recommend import throughput
from autoscaler.core.report import LimitReport, ServiceReport, TickReport
from autoscaler.core.situation import Decision, Situation
from autoscaler.core.spec import ScalingSpec
from autoscaler.ports import BacklogSource
from autoscaler.wishes.overrides import Overrides
from autoscaler.wishes.wishes import Wish


@dataclass(frozen=True, slots=True)
class Seen:
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
    warnings: tuple[str, ...]
    """What people should know apart from any service, each with what to do."""
    wish_warnings: tuple[str, ...]
    """What is wrong with where wishes come from, each with what to do."""
    left_alone: tuple[ServiceId, ...]
    """Labelled services of projects that are not looked after."""
    readings: Mapping[TaskQueue, Reading]
    """The backlog of each task queue."""
    rested: Mapping[ServiceId, ServiceReport]
    """The latest reports of the services at rest, of which nothing is new."""
    scheduled_at: datetime
    """The moment whose schedules count."""
    drains: Verdicts
    """What becomes of the replicas of each service that were told to stop."""
    limits: tuple[LimitReport, ...] = ()
    """The limits of replicas that services share; none until they have been shared."""
    memory: HostMemory | None = None
    """The memory of the host; None where it is unknown."""
    memory_warnings: tuple[str, ...] = ()
    """What is not known of it, each with what to do."""


class Reporter:
    """Makes the report of each tick."""

    def __init__(  # noqa: PLR0913 - all that differs between processes
        self,
        source: BacklogSource,
        changes: Changes,
        clock: Callable[[], datetime],
        *,
        dry_run: bool,
        overrides: Overrides | None = None,
        groups: Groups = NO_GROUPS,
    ) -> None:
        """Add what `source`, `changes` and `overrides` know.

        `dry_run` says that no service is changed. `groups` are those that have a limit.
        """
        self._groups = groups
        self._source = source
        self._changes = changes
        self._clock = clock
        self._dry_run = dry_run
        self._overrides = overrides

    def report(
        self,
        began: datetime,
        seen: Seen,
        decisions: Mapping[ServiceId, Decision],
        actions: Mapping[ServiceId, ScalingAction],
    ) -> TickReport:
        """Say what the tick saw, decided and did, once it has come to its end."""
        reports = [self._of_service(service, seen, decisions, actions) for service in seen.services]
        at = self._clock()
        overrides = () if self._overrides is None else self._overrides.holding
        return TickReport(
            at=at,
            services=tuple(reports),
            errors=seen.errors,
            unseen=seen.unseen,
            warnings=seen.warnings,
            wish_warnings=seen.wish_warnings,
            left_alone=seen.left_alone,
            integrations=tuple(self._source.integrations()),
            limits=seen.limits,
            memory=seen.memory,
            memory_warnings=seen.memory_warnings,
            overrides=overrides,
            took=at - began,
        )

    def _of_service(
        self,
        service: Service,
        seen: Seen,
        decisions: Mapping[ServiceId, Decision],
        actions: Mapping[ServiceId, ScalingAction],
    ) -> ServiceReport:
        if service.id in seen.rested:
            return seen.rested[service.id]
        if service.id in decisions:
            with alone(seen.failures, service.id):
                return self._of_decision(
                    service, seen, decisions[service.id], actions.get(service.id)
                )
        failure = seen.failures.get(service.id)
        return ServiceReport(
            service=service.id,
            replicas=service.replicas,
            desired=service.replicas,
            warnings=service.warnings,
            errors=(*seen.wishes[service.id].problems, *_as_errors(failure)),
            labels=seen.wishes[service.id].labels,
            given=seen.wishes[service.id].given,
            draining=service.draining,
            drains=_worth_telling(seen.drains.get(service.id, ())),
        )

    def _of_decision(
        self, service: Service, seen: Seen, decision: Decision, action: ScalingAction | None
    ) -> ServiceReport:
        situation = seen.situations[service.id]
        spec, backlog, in_flight = situation.spec, situation.backlog, situation.in_flight
        known = backlog if isinstance(backlog, Backlog) else None
        crash = None if situation.crash is None else situation.crash.story
        return ServiceReport(
            service=service.id,
            replicas=service.replicas,
            desired=decision.desired,
            wished=decision.wished,
            queues=spec.queues,
            backlog=None if known is None else known.waiting,
            age=None if known is None else known.age,
            parts={} if known is None else known.parts,
            shared={} if known is None else known.shared,
            min=spec.min,
            max=spec.max,
            next_bounds=seen.wishes[service.id].next_bounds(seen.scheduled_at),
            reasons=decision.reasons,
            warnings=(
                *service.warnings,
                *self._source.warnings(canonical(spec.integration)),
                *advise(situation, decision.history),
                *self._groups.warnings(spec),
            ),
            errors=(
                *seen.wishes[service.id].problems,
                *_as_errors(seen.failures.get(service.id)),
                *_as_errors(crash),
                *(backlog.why if isinstance(backlog, UnknownBacklog) else ()),
                *((in_flight.why,) if isinstance(in_flight, UnknownInFlight) else ()),
                *_as_errors(self._changes.failure(service.id)),
            ),
            action=action,
            labels=seen.wishes[service.id].labels,
            given=seen.wishes[service.id].given,
            dry_run=is_dry_run(spec, by_setting=self._dry_run),
            busy=busy_replicas(in_flight, situation.now),
            draining=service.draining,
            drains=_worth_telling(seen.drains.get(service.id, ())),
            interrupted=self._changes.take_interrupted(service.id),
            crash=crash,
            crashed=service.crashed,
            throughput=throughput(situation, decision.history),
            chooses_any=_chooses_any(situation),
        )


def _chooses_any(situation: Situation) -> bool | None:
    """Say whether every idle task can be chosen; None where it is not asked for, or not known.

    What a look has missed counts until the next look. That nothing is missing counts only as long
    as a look is fresh: meanwhile, an agent may have gone.
    """
    if situation.spec.swarm_choice is not SwarmChoice.ANY:
        return None
    if situation.order_only is not None:
        return False
    looked = situation.in_flight
    if not isinstance(looked, InFlight) or not looked.replicas:
        return None
    if not all(each.placed for each in looked.replicas):
        # None can be chosen until all have a node.
        return None
    return all(each.choosable for each in looked.replicas if each.started)


def _worth_telling(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Leave out the replicas whose stop grace is not over: their number says it all."""
    return tuple(each for each in verdicts if each.fate not in (Fate.WAIT, Fate.COUNT))


def _as_errors(error: str | None) -> tuple[str, ...]:
    """Return an error as a list of errors: of none, or of one."""
    return () if error is None else (error,)


def is_dry_run(spec: ScalingSpec, *, by_setting: bool) -> bool:
    """Whether a service is not changed, by the daemon's setting or by its own label."""
    return by_setting or spec.mode is Mode.DRY_RUN

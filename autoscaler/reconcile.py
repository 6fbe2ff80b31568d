"""One tick: look at every service, decide for all, act on all.

`run`, `plan` and `doctor` come through here; they differ only in whether the tick acts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from autoscaler.asking import Asking
from autoscaler.change import Changes, Order
from autoscaler.core.backlog import TaskQueue
from autoscaler.core.decide import decide_all
from autoscaler.core.errors import alone
from autoscaler.core.groups import NO_GROUPS, Groups
from autoscaler.core.history import History
from autoscaler.core.in_flight import InFlight
from autoscaler.core.label_values import Mode
from autoscaler.core.model import ScalingAction, Service, ServiceId
from autoscaler.core.protect import stops_nobody
from autoscaler.core.reading import Reading, join
from autoscaler.core.report import TickReport
from autoscaler.core.situation import Decision, Situation
from autoscaler.core.territory import Surroundings
from autoscaler.dividing import Dividing
from autoscaler.draining import Draining
from autoscaler.kept import Found, Resting
from autoscaler.ports import BacklogSource, Host, Orchestrator, Outlook
from autoscaler.reporting import Reporter, Seen, is_dry_run
from autoscaler.sharing import Sharing
from autoscaler.wishes.overrides import Overrides
from autoscaler.wishes.wishes import NOTHING, Wish, Wishes

USUAL_INTERVAL = timedelta(seconds=1)
"""The time between two ticks where nobody says another: the poll interval's default."""


class Reconciler:
    """Keeps every labelled service at the number of replicas its backlog calls for."""

    def __init__(  # noqa: PLR0913 - all that differs between processes
        self,
        orchestrators: Sequence[Orchestrator],
        source: BacklogSource,
        wishes: Wishes,
        *,
        clock: Callable[[], datetime],
        interval: timedelta = USUAL_INTERVAL,
        dry_run: bool = False,
        outlook: Outlook | None = None,
        overrides: Overrides | None = None,
        groups: Groups = NO_GROUPS,
        host: Host | None = None,
    ) -> None:
        """Reconcile the services of these orchestrators; with `dry_run`, change none of them.

        `interval` is the usual time between two ticks: much more than that does not pass for the
        histories of the services, because nobody looked. The `outlook` warns of what is wrong
        around them. The `overrides` are reported; they count as one of the `wishes`. The `groups`
        limit the replicas of several services together, and the memory of the `host` limits those
        of Compose; without one it does not.
        """
        self._orchestrators = {orchestrator.name: orchestrator for orchestrator in orchestrators}
        self._source = source
        self._wishes = wishes
        self._clock = clock
        self._interval = interval
        self._dry_run = dry_run
        self._asking = Asking(self._orchestrators, source, clock, outlook)
        self._changes = Changes(self._orchestrators, source, clock)
        self._reporter = Reporter(
            source, self._changes, clock, dry_run=dry_run, overrides=overrides, groups=groups
        )
        self._sharing = Sharing(groups, host)
        self._histories: dict[ServiceId, History] = {}
        self._dividing = Dividing()
        self._draining = Draining(self._orchestrators, source, clock)
        self._found = Found()
        self._resting = Resting()

    async def tick(
        self, *, act: bool = True, anew: bool = True, scheduled_at: datetime | None = None
    ) -> TickReport:
        """Look at every service once, decide for all, and start the changes that are due.

        The tick does not wait for the changes: a slow one holds up neither the other services nor
        the next tick. With `act` off nothing is changed, and the report says what would be. With
        `anew` off, nothing has happened to the services since the latest tick, and what that tick
        saw of them counts for some seconds (`kept.py`): only backlogs are read in any case.
        Where a source of wishes has changed, everything is looked at anew. `scheduled_at` is the
        moment whose schedules count, for a plan of another time; None: now.
        """
        began = self._clock()
        self._changes.settle()
        anew = await self._wishes.renew() or anew
        seen = await self._look(
            acts=act and not self._dry_run, anew=anew, scheduled_at=scheduled_at or began
        )
        decisions = decide_all(seen.situations, seen.failures)
        seen, decisions = await self._share(seen, decisions)
        actions = self._act(seen, decisions) if act else {}
        self._remember(decisions, actions)
        report = self._reporter.report(began, seen, decisions, actions)
        self._note_rest(began, seen, decisions, report)
        return report

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

    async def _look(self, *, acts: bool, anew: bool, scheduled_at: datetime) -> Seen:
        """Find the services, what is wanted of them, their backlogs, and work in flight."""
        began = self._clock()
        if anew or self._changes.any_under_way or not self._found.holds(began):
            self._found = await self._asking.services()
        if anew or self._changes.any_under_way:
            # The same replicas may run other workers by now.
            self._asking.forget_in_flight()
        services, errors = self._found.services, self._found.errors
        unseen = [id_ for id_ in self._histories if id_.orchestrator in errors]
        self._forget_all_but({*(service.id for service in services), *unseen})
        failures: dict[ServiceId, str] = {}
        wishes = self._ask_wishes(services, failures)
        drains = await self._draining.look(
            services, {id_: wish.spec for id_, wish in wishes.items()}
        )
        services = self._draining.take_back(services, drains)
        self._start_histories(services)
        readings = await self._asking.backlogs(
            {queue for wish in wishes.values() for queue in wish.queues},
            {queue for each in services if not each.replicas for queue in wishes[each.id].queues},
        )
        self._dividing.begin(self._source.integrations())
        # Where services share what is scarce, those at rest may have to give something back.
        rested = (
            {}
            if anew or self._sharing.scarce
            else self._resting.reports(services, wishes, readings, began)
        )
        rested = self._dividing.together(rested, wishes)
        awake = [service for service in services if service.id not in rested]
        situations = self._situations(awake, wishes, readings, failures, scheduled_at)
        situations = self._dividing.divide(situations, self._histories, unseen)
        await self._asking.look_closer({each.id: each for each in awake}, situations, failures)
        # Nothing is decided on a look that failed: what it has not seen would count as not there.
        situations = {id_: each for id_, each in situations.items() if id_ not in failures}
        # The orchestrators share an engine: what is wrong with it is said once.
        said = tuple(dict.fromkeys(errors.values()))
        around = Surroundings.joined(
            each.surroundings for each in self._orchestrators.values() if each.name not in errors
        )
        warnings = await self._asking.around(None if errors else around.projects, acts=acts)
        return Seen(
            services,
            wishes,
            situations,
            tuple(sorted(unseen)),
            said,
            failures,
            warnings,
            tuple(self._wishes.warnings(None if errors else around, services)),
            around.left_alone,
            readings,
            rested,
            scheduled_at,
            drains,
        )

    def _forget_all_but(self, services: set[ServiceId]) -> None:
        """Drop what is known of services that are gone."""
        # A service that is being changed may be missing for a moment.
        kept = services | {
            id_ for id_ in self._histories if self._changes.under_way(id_) is not None
        }
        self._changes.forget_all_but(kept)
        self._wishes.forget_all_but(kept)
        self._resting.forget_all_but(kept)
        self._asking.forget_all_but(kept)
        self._histories = {id_: each for id_, each in self._histories.items() if id_ in kept}

    def _start_histories(self, services: Sequence[Service]) -> None:
        """Begin a history for each new service."""
        now = self._clock()
        for service in services:
            if service.id not in self._histories:
                self._histories[service.id] = History.seed(service.replicas, now)

    def _ask_wishes(
        self, services: Sequence[Service], failures: dict[ServiceId, str]
    ) -> Mapping[ServiceId, Wish]:
        """Return what is wanted of each service; nothing where that fails."""
        wishes = dict.fromkeys((service.id for service in services), NOTHING)
        for service in services:
            with alone(failures, service.id):
                wishes[service.id] = self._wishes.of(service)
        return wishes

    def _situations(
        self,
        services: Sequence[Service],
        wishes: Mapping[ServiceId, Wish],
        readings: Mapping[TaskQueue, Reading],
        failures: dict[ServiceId, str],
        scheduled_at: datetime,
    ) -> dict[ServiceId, Situation]:
        """Return what is known of each service whose labels are right, or were."""
        situations: dict[ServiceId, Situation] = {}
        for service in services:
            wish = wishes[service.id]
            if wish.spec is None:
                continue
            with alone(failures, service.id):
                under_way = self._changes.under_way(service.id)
                now = self._clock()
                situations[service.id] = Situation(
                    spec=wish.spec.at(scheduled_at),
                    replicas=service.replicas if under_way is None else under_way,
                    backlog=join(wish.queues, readings),
                    history=self._histories[service.id].resumed(now, self._interval),
                    now=now,
                    ceiling=service.ceiling,
                    refusal=service.refusal,
                    draining=service.draining,
                    finishing=service.finishing,
                    least_growth=service.least_growth,
                    grace=service.grace,
                    ignored_signal=service.ignored_signal,
                    changing=under_way is not None,
                    in_use=service.in_use,
                    ending=service.ending,
                    ignoring=service.ignoring,
                    version=service.version,
                    order_only=service.order_only,
                )
        return situations

    async def _share(
        self, seen: Seen, decisions: Mapping[ServiceId, Decision]
    ) -> tuple[Seen, Mapping[ServiceId, Decision]]:
        """Divide what is scarce, and decide again for those that get less than they wish."""
        failing = self._found.errors.keys()
        answering = self._orchestrators.keys() - failing
        shared = await self._sharing.share(seen, decisions, answering, failing)
        passed_on = self._dividing.pass_on(seen.situations, shared.allowances)
        if passed_on:
            # Whoever gets what others cannot take wishes more, which is shared once more.
            seen = replace(seen, situations={**seen.situations, **passed_on})
            decisions = {**decisions, **decide_all(passed_on, seen.failures)}
            shared = await self._sharing.share(seen, decisions, answering, failing)
        limited = {
            id_: replace(seen.situations[id_], allowance=allowance)
            for id_, allowance in shared.allowances.items()
            if id_ in decisions
        }
        situations = {**passed_on, **limited}
        unlooked = {id_: each for id_, each in situations.items() if each.in_flight is None}
        services = {service.id: service for service in seen.services}
        await self._asking.look_closer(services, unlooked, seen.failures)
        situations |= unlooked
        again = {id_: each for id_, each in situations.items() if id_ not in seen.failures}
        decided = {**decisions, **decide_all(again, seen.failures)}
        seen = replace(
            seen,
            situations={**seen.situations, **situations},
            limits=shared.limits,
            memory=shared.memory,
            memory_warnings=shared.memory_warnings,
        )
        # Nothing is done where the closer look or the second decision failed.
        return seen, {id_: each for id_, each in decided.items() if id_ not in seen.failures}

    # ------------------------------------------------------------------ act

    def _act(
        self, seen: Seen, decisions: Mapping[ServiceId, Decision]
    ) -> Mapping[ServiceId, ScalingAction]:
        """Start the changes that were decided; return those of the number of replicas."""
        actions: dict[ServiceId, ScalingAction] = {}
        for service in seen.services:
            if service.frozen and not self._dry_run:
                self._changes.restore(service.id, service.replicas)
            if service.frozen or service.id not in decisions:
                continue
            with alone(seen.failures, service.id):
                self._end_drains(service, seen)
                action = self._start_change(
                    service, seen.situations[service.id], decisions[service.id]
                )
                if action is not None:
                    actions[service.id] = action
        return actions

    def _end_drains(self, service: Service, seen: Seen) -> None:
        """Have done what was decided for the replicas of one service that drain."""
        spec = seen.situations[service.id].spec
        hands_off = spec.mode is Mode.OFF or is_dry_run(spec, by_setting=self._dry_run)
        if not hands_off and service.refusal is None:
            self._draining.act(seen.drains.get(service.id, ()))

    def _start_change(
        self, service: Service, situation: Situation, decision: Decision
    ) -> ScalingAction | None:
        """Start the change that one service needs, unless one is under way or has to wait.

        Replicas that were never started are removed even where the number of replicas stays, or
        where nobody has to be stopped for it: no action is reported for that.
        """
        spec = situation.spec
        if is_dry_run(spec, by_setting=self._dry_run):
            self._changes.forget_failure(service.id)
            return None
        action = ScalingAction(service.id, service.replicas, decision.desired, decision.reasons)
        crews = decision.history.crews
        same = action.desired == action.current or stops_nobody(action, situation, crews)
        unstarted = service.left_behind > 0 and spec.mode is not Mode.OFF
        if same and not unstarted:
            self._changes.forget_failure(service.id)
            return None
        in_flight = situation.in_flight
        reported = isinstance(in_flight, InFlight) and bool(in_flight.workers)
        started = self._changes.start(Order(action, spec, reported, unstarted, crews))
        return action if started and not same else None

    def _remember(
        self, decisions: Mapping[ServiceId, Decision], actions: Mapping[ServiceId, ScalingAction]
    ) -> None:
        """Keep the histories for the next tick, with the changes that have begun."""
        for service, decision in decisions.items():
            history = decision.history
            begun = service in actions
            self._histories[service] = history.begin_change(decision.desired) if begun else history

    def _note_rest(
        self,
        at: datetime,
        seen: Seen,
        decisions: Mapping[ServiceId, Decision],
        report: TickReport,
    ) -> None:
        """Keep the reports of the services at rest for the next tick."""
        for service, told in zip(seen.services, report.services, strict=True):
            if service.id in decisions:
                wish = seen.wishes[service.id]
                self._resting.note(service, wish, seen.readings, told, at)

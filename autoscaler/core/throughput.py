"""What one busy replica gets done, in tasks a second, and how far that is trusted. Pure.

It is learnt from the flow of tasks: while tasks wait in front of replicas whose number stays the
same, what is handed out is all that they can do. While none wait, it is learnt from the workers'
reports, where they report. Nothing of that is certain: a count may be wrong, and tasks may take
less time than before. So what it asks for beyond the other recommendations is tried out: a
`Growth` must show that it helped, and a hold must stand a `Trial` now and then.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from autoscaler.core.backlog import NO_RATE, Backlog
from autoscaler.core.flow import Flows, Look, flows_of
from autoscaler.core.in_flight import InFlight
from autoscaler.core.label_values import QueueType
from autoscaler.core.trials import Growth, Trial, whole
from autoscaler.core.worked import Worked

CATCH_UP_WITHIN = 30.0
"""Seconds in which tasks that wait should be gone, as far as `MOST_CATCH_UP` allows."""
MOST_CATCH_UP = 0.25
"""Most replicas for tasks that wait, as a share of those that the arrivals need."""
FIRST_TRUST = timedelta(seconds=40)
"""How long replicas are held before the first trial."""
TRUST_GROWS = 3
"""How many times as long they are held after each trial that showed that they help."""
LONGEST_TRUST = timedelta(hours=1)
MISSED_WITHIN = timedelta(seconds=15)
"""How long after that tasks must not pile up, before what asked for the replicas is forgotten."""
GROWTH_SHOWS = timedelta(seconds=50)
"""How long after a growth more must be handed out, or less must wait."""
DOUBTED_FOR = timedelta(minutes=10)
"""How long, after something was refuted, nothing is believed that could refute itself again."""
ALIKE = 0.25
"""Throughputs that differ by no more than this share are taken for the same."""


@dataclass(frozen=True, slots=True)
class Need:
    """The replicas that the arrivals of one type of task ask for."""

    replicas: int
    arriving: float
    """Tasks a second."""
    throughput: float
    """Tasks a second of a replica."""
    needed: int
    """Replicas by these figures. `replicas` may be fewer: while no task waits, and in a trial."""
    waiting: int = 0
    """Tasks that wait, as far as replicas are asked for because of them."""
    tried: bool = False
    """Whether a trial shows whether fewer are enough."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """What was learnt of a service's replicas, and what it was learnt from."""

    workers: Hashable = None
    """What the replicas run, and for what: once it changes, all of this is forgotten."""
    rates: Mapping[QueueType, float] = field(default_factory=dict)
    """Tasks a second that a busy replica does, as far as that is known."""
    rough: frozenset[QueueType] = frozenset()
    """The types whose rate is so rough that it may hold replicas, but ask for none."""
    flows: Flows = field(default_factory=Flows)
    worked: Worked = field(default_factory=Worked)
    held: bool = False
    """Whether replicas are held that only the arrivals need."""
    grows: bool = False
    """Whether more replicas are asked for, which only the arrivals need."""
    trust: timedelta = FIRST_TRUST
    """How long the replicas are held before the next trial."""
    trusted: Mapping[QueueType, float] = field(default_factory=dict)
    """The rates that `trust` was gained with."""
    proven_at: datetime | None = None
    """When the hold began, or was last seen to help."""
    trial: Trial | None = None
    growth: Growth | None = None
    no_growth_until: datetime | None = None
    """Until when no more than the present replicas is asked for."""
    doubted_until: datetime | None = None
    """Until when the workers' own reports do not count."""

    @property
    def shown(self) -> float | None:
        """The rate of the type of task that needs most replicas now; None where none is known."""
        if not self.rates:
            return None
        most = max(self.rates, key=lambda type_: self.flows.arriving(type_) / self.rates[type_])
        return self.rates[most]

    # ------------------------------------------------------------------ what it asks for

    def need(self, replicas: int, others: int, now: datetime) -> Need | None:
        """Return what the arrivals ask for; None where none arrive, or nothing was learnt.

        `others` is what is recommended without them. The type of task that needs most counts.
        """
        needs = [
            self._need(type_, replicas, now)
            for type_ in self.rates
            if self.flows.arriving(type_) > NO_RATE
        ]
        most = max(needs, key=lambda need: need.replicas, default=None)
        if most is None or self.trial is None:
            return most
        left = self.trial.left(others, now)
        return replace(most, replicas=min(most.replicas, left), tried=left < most.replicas)

    def _need(self, type_: QueueType, replicas: int, now: datetime) -> Need:
        rate, arriving = self.rates[type_], self.flows.arriving(type_)
        flow = self.flows.looks[-1].flows[type_]
        doubted = self.no_growth_until is not None and now < self.no_growth_until
        waiting = 0
        number = needed = whole(arriving / rate)
        if flow.queueing and not (flow.limited or doubted or type_ in self.rough):
            waiting = flow.waiting
            catching_up = min(waiting / CATCH_UP_WITHIN, MOST_CATCH_UP * arriving)
            number = needed = whole((arriving + catching_up) / rate)
        # While no task waits, the present replicas keep up, whatever was learnt.
        elif number > replicas:
            number = replicas
        if number < replicas:
            arriving = max(arriving, self.flows.arrived(type_))
            needed = whole(arriving / rate)
            number = min(replicas, needed)
        return Need(number, arriving, rate, needed, waiting)

    # ------------------------------------------------------------------ what is learnt

    def observe(
        self, workers: Hashable, replicas: int, backlog: Backlog, others: int, now: datetime
    ) -> Throughput:
        """Return what is known after a look at the backlog. A cached answer teaches nothing.

        `others` is what is recommended without the arrivals.
        """
        known = self if workers == self.workers else Throughput(workers)
        latest, flows = known.flows.latest, flows_of(backlog)
        if flows is None or (latest is not None and now <= latest.at):
            return known
        look = Look(now, replicas, flows)
        if look.idle:
            # Most services are idle most of the time: this must cost next to nothing.
            return replace(
                known,
                flows=Flows((look,)),
                held=False,
                grows=False,
                proven_at=None,
                trial=None,
                growth=None,
            )
        growth = known.growth
        if latest is not None and known.grows and growth is None and replicas > latest.replicas:
            growth = Growth(now, latest)
        known = _learn(replace(known, flows=known.flows.with_look(look), growth=growth))
        need = known.need(replicas, others, now)
        held = need is not None and min(need.replicas, replicas) > others
        grows = need is not None and need.replicas > max(others, replicas)
        known = _judge_growth(replace(known, held=held, grows=grows), look, others)
        return _judge_hold(known, look, others)

    def observe_reports(self, in_flight: InFlight, now: datetime) -> Throughput:
        """Return what is known after a look at the workers' heartbeats.

        They count where the flow does not tell: while tasks wait it does, whoever reports. No
        report makes a replica slower than what the replicas are handed now.
        """
        worked = self.worked.observe(in_flight, now)
        if self.doubted_until is not None and now < self.doubted_until:
            return replace(self, worked=worked.forgotten())
        told = {
            type_: max(rate, self.flows.done_roughly(type_))
            for type_, rate in worked.rates.items()
            if not self.flows.queueing(type_)
        }
        known = replace(self, worked=worked, rough=self.rough - told.keys())
        return _with_rates(known, {**self.rates, **told})

    def moved(self, by: timedelta) -> Throughput:
        """Return the same, as if all of it had happened later; earlier, where below zero.

        The workers' reports go: they are as old as the workers' own clocks say.
        """

        def later(at: datetime | None) -> datetime | None:
            return None if at is None else at + by

        growth, trial = self.growth, self.trial
        if growth is not None:
            growth = Growth(growth.at + by, growth.before.moved(by))
        if trial is not None:
            trial = replace(trial, began=trial.began + by, given_back_at=later(trial.given_back_at))
        return replace(
            self,
            flows=self.flows.moved(by),
            worked=Worked(),
            proven_at=later(self.proven_at),
            trial=trial,
            growth=growth,
            no_growth_until=later(self.no_growth_until),
            doubted_until=later(self.doubted_until),
        )


def needed(backlog: Backlog, throughput: float) -> Need | None:
    """Return what the arrivals need of replicas that do `throughput` tasks of a type a second.

    None where no task arrives.
    """
    arriving: dict[QueueType, float] = {}
    for queue, stats in backlog.parts.items():
        arriving[queue.type] = arriving.get(queue.type, 0.0) + stats.add_rate
    most = max(arriving.values(), default=0.0)
    number = whole(most / throughput)
    return Need(number, most, throughput, number) if most > NO_RATE else None


# ------------------------------------------------------------------ learning


def _learn(known: Throughput) -> Throughput:
    """Learn from the flow of tasks over the time that the server averages."""
    flows, rates, rough = known.flows, dict(known.rates), set(known.rough)
    for type_ in flows.looks[-1].flows:
        rate, queueing = flows.done_by_each(type_), flows.queueing(type_)
        roughly = flows.done_roughly(type_)
        if rate and queueing:
            # A growth that is not judged yet must not be its own evidence.
            rates[type_] = rate if known.growth is None else max(rate, rates.get(type_, rate))
            rough.discard(type_)
        elif rate and type_ in rates:
            rates[type_] = max(rates[type_], rate)
        elif roughly and queueing and type_ not in rates:
            rates[type_] = roughly
            rough.add(type_)
    return _with_rates(replace(known, rough=frozenset(rough)), rates)


def _with_rates(known: Throughput, rates: Mapping[QueueType, float]) -> Throughput:
    """Return the same with these rates. Where they differ from what was trusted, trust begins anew.

    What was forgotten and is learnt again as it was is trusted for longer.
    """
    if any(
        abs(rate - known.trusted.get(type_, 0.0)) > ALIKE * rate for type_, rate in rates.items()
    ):
        return replace(known, rates=rates, trust=FIRST_TRUST, trusted=rates)
    again = bool(rates) and not known.rates
    return replace(known, rates=rates, trust=_longer(known.trust) if again else known.trust)


def _longer(trust: timedelta) -> timedelta:
    return min(TRUST_GROWS * trust, LONGEST_TRUST)


# ------------------------------------------------------------------ judging


def _judge_growth(known: Throughput, look: Look, others: int) -> Throughput:
    """Forget what asked for a growth that brought no more dispatches."""
    growth = known.growth
    if growth is None:
        return known
    if look.replicas <= max(growth.before.replicas, others):
        return replace(known, growth=None)
    if look.at - growth.at < GROWTH_SHOWS:
        return known
    if growth.in_vain(look):
        return replace(_refuted(known, look.at), no_growth_until=look.at + DOUBTED_FOR)
    return replace(known, growth=None)


def _judge_hold(known: Throughput, look: Look, others: int) -> Throughput:
    """Begin a trial when it is due, end it where tasks pile up, forget what it has refuted."""
    trial = known.trial
    if trial is not None:
        return _judge_trial(known, trial, look, others)
    if not known.held:
        return replace(known, proven_at=None)
    proven_at = known.proven_at or look.at
    due = look.at - proven_at >= known.trust and known.growth is None
    began = Trial(look.at, look.waiting, look.replicas) if due else None
    return replace(known, proven_at=proven_at, trial=began)


def _judge_trial(known: Throughput, trial: Trial, look: Look, others: int) -> Throughput:
    arriving = sum(map(known.flows.arriving, known.rates))
    if not arriving or trial.held <= others:
        # It can tell nothing any more: no task needs the replicas, or the backlog does.
        return replace(known, trial=None, proven_at=look.at)
    if look.waiting > trial.waiting + max(1.0, arriving):
        return replace(known, trial=None, trust=_longer(known.trust), proven_at=look.at)
    if look.replicas > others:
        return known
    given_back_at = trial.given_back_at or look.at
    if look.at - given_back_at >= MISSED_WITHIN:
        return _refuted(known, look.at)
    return replace(known, trial=replace(trial, given_back_at=given_back_at))


def _refuted(known: Throughput, now: datetime) -> Throughput:
    """Forget what was learnt of the replicas, and begin to look anew."""
    return Throughput(
        known.workers,
        flows=Flows(known.flows.looks[-1:]),
        trust=known.trust,
        trusted=known.trusted,
        no_growth_until=known.no_growth_until,
        doubted_until=now + DOUBTED_FOR,
    )

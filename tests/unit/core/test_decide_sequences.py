"""What holds of a service through any sequence of looks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby, takewhile

import hypothesis.strategies as st
from hypothesis import HealthCheck, event, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from autoscaler.core.backlog import Backlog, TaskQueue, UnknownBacklog
from autoscaler.core.decide import decide
from autoscaler.core.history import History
from autoscaler.core.label_values import LONGEST_WINDOW, Mode
from autoscaler.core.limits import RATE_LIMITED_FOR
from autoscaler.core.model import Ceiling, EndedBy, Ending
from autoscaler.core.recommend import learn, recommend
from autoscaler.core.situation import Decision, Situation
from autoscaler.core.spec import ScalingSpec
from tests.fakes.clock import START as NOW
from tests.unit.builders import MINUTE, SECOND, backlog, highest, is_left_alone, lowest
from tests.unit.core.strategies import SEEN, SPANS_ABOVE_0, specs, step_by_step

LABELS = specs() | step_by_step()


def may_fall_back(look: Situation) -> bool:
    """Whether the labels name a fallback, and the backlog has been unknown for long enough."""
    spec = look.spec
    unknown_for = look.now - look.history.known_at
    return spec.fallback.replicas is not None and unknown_for >= spec.fallback_after


@dataclass(frozen=True)
class Observation:
    """What one look has seen, as the test itself remembers it."""

    at: datetime
    replicas: int
    recommended: int
    active: bool
    limited: frozenset[TaskQueue]


class OneService(RuleBasedStateMachine):
    """One service through many looks, while people change labels, replicas and the daemon."""

    @initialize(spec=LABELS, replicas=st.integers(0, 12))
    def appear(self, spec: ScalingSpec, replicas: int) -> None:
        self.spec = spec
        self.replicas = replicas
        self.now = NOW
        self.skipped = timedelta()
        """The time in which nobody looked, and by which the clock was set."""
        self.ceiling: Ceiling | None = None
        self.ending: Ending | None = None
        self.restart()

    def restart(self) -> None:
        """Start the daemon again: it knows only the present replicas."""
        self.history = History.seed(self.replicas, self.now + self.skipped)
        self.known_at = self.now
        self.numbers = [(self.now, self.replicas)]
        """Replicas, each number with since when: from its decision on, or the look that saw it."""
        self.begun: tuple[datetime, int, int] | None = None
        """The latest change until a look has seen it: when it was decided, from, to."""
        seeded = Observation(
            self.now, self.replicas, self.replicas, active=True, limited=frozenset()
        )
        self.looks: list[Observation] = [seeded]

    @rule(spec=LABELS)
    def relabel(self, spec: ScalingSpec) -> None:
        self.spec = spec

    @rule(
        replicas=st.none() | st.integers(0, 20),
        ceiling=st.none() | st.builds(Ceiling, st.integers(1, 5), st.just("ports")),
        restarts=st.sampled_from([False, False, True]),
    )
    def interfere(self, replicas: int | None, ceiling: Ceiling | None, *, restarts: bool) -> None:
        """Scale the service by hand, change its ceiling, restart the daemon."""
        if replicas is not None:
            self.replicas = replicas
            self.ending = None if replicas else Ending(EndedBy.HAND, seen=True)
        self.ceiling = ceiling
        if restarts:
            self.restart()

    @rule(hours=st.sampled_from([-50, -2, 2, 50]))
    def nobody_looks(self, hours: int) -> None:
        """Suspend the host, or set its clock, until the next look."""
        self.skipped += timedelta(hours=hours)

    @rule(
        seen=SEEN,
        after=SPANS_ABOVE_0,
        works=st.sampled_from([1.0, 1.0, 0.5, 0.0]),
        refusal=st.sampled_from([None] * 5 + ["a rollout is under way"]),
    )
    def look(
        self,
        seen: Backlog | UnknownBacklog,
        after: timedelta,
        works: float,
        refusal: str | None,
    ) -> None:
        """Decide, check, and change the replicas as decided, wholly or in part."""
        self._look(seen, after, works, refusal)

    @rule(
        seen=SEEN,
        after=st.sampled_from([SECOND, 5 * SECOND, 20 * SECOND]),
        times=st.integers(2, 12),
    )
    def look_for_a_while(
        self, seen: Backlog | UnknownBacklog, after: timedelta, times: int
    ) -> None:
        """See the same again and again, so that debounces and windows run out."""
        for _ in range(times):
            self._look(seen, after)

    @rule(after=st.sampled_from([30 * SECOND, 2 * MINUTE]), times=st.integers(2, 8))
    def rest(self, after: timedelta, times: int) -> None:
        """See an empty backlog for a while, so that the last replica may go."""
        for _ in range(times):
            self._look(backlog(0), after)

    @rule(
        waiting=st.lists(st.integers(0, 60), min_size=2, max_size=6),
        after=st.sampled_from([SECOND, 5 * SECOND, 20 * SECOND]),
    )
    def work(self, waiting: list[int], after: timedelta) -> None:
        """See tasks that come and are dispatched."""
        for tasks in waiting:
            self._look(backlog(tasks, dispatch_rate=1.0), after)

    def _look(
        self,
        seen: Backlog | UnknownBacklog,
        after: timedelta,
        works: float = 1.0,
        refusal: str | None = None,
    ) -> None:
        self.now += after
        self._see_replicas()
        clock = self.now + self.skipped
        history = self.history.resumed(clock, after)
        look = Situation(
            self.spec,
            self.replicas,
            seen,
            history,
            clock,
            self.ceiling,
            refusal,
            ending=self.ending,
        )
        decision = decide(look)
        look = learn(look)
        known = isinstance(seen, Backlog)
        busy = not isinstance(seen, Backlog) or bool(
            seen.waiting
            or any(max(each.add_rate, each.dispatch_rate) > 0.001 for each in seen.parts.values())
        )
        limited = seen.rate_limited if isinstance(seen, Backlog) else frozenset()
        self.looks.append(
            Observation(self.now, self.replicas, recommend(look)[0], active=busy, limited=limited)
        )
        if known:
            self.known_at = self.now
        self._check_memory(decision.history)
        if is_left_alone(look):
            event("left alone")
            assert decision.desired == self.replicas
        else:
            self._check(look, decision)
        self.history = decision.history
        if self.spec.mode is not Mode.DRY_RUN and decision.desired != self.replicas:
            self.history = decision.history.begin_change(decision.desired)
            self.begun = self.now, self.replicas, decision.desired
            self.replicas += int((decision.desired - self.replicas) * works)

    def _see_replicas(self) -> None:
        """Note the replicas, and how much of the latest change was made."""
        if self.begun is not None:
            at, *ends = self.begun
            self.numbers.append((at, min(max(self.replicas, min(ends)), max(ends))))
            self.begun = None
        self.numbers.append((self.now, self.replicas))

    def _check(self, look: Situation, decision: Decision) -> None:
        desired, replicas = decision.desired, look.replicas
        low, high = lowest(look), highest(look)
        assert low <= desired <= high
        assert (
            isinstance(look.backlog, Backlog)
            or may_fall_back(look)
            or desired == min(max(replicas, low), high)
        )
        if desired < min(replicas, high):
            event("scale-in")
            self._check_scale_in(look, desired)
        if desired > max(replicas, low):
            event("scale-out")
            self._check_scale_out(look, desired)

    def _check_scale_in(self, look: Situation, desired: int) -> None:
        spec = look.spec
        assert spec.mode is not Mode.PAUSE_IN
        window = spec.scale_in_window
        recommended = [s.recommended for s in self.looks if window and s.at >= self.now - window]
        assert desired >= min([look.replicas, max([*recommended, self.looks[-1].recommended])])
        if not isinstance(look.backlog, Backlog):
            assert spec.fallback.replicas is not None
            assert not spec.fallback.at_least
            assert desired >= spec.fallback.replicas
            assert self.now - self.known_at >= spec.fallback_after
        if spec.scale_in_limit:
            least = [
                start * (100 - limit.amount) // 100 if limit.percent else start - limit.amount
                for limit in spec.scale_in_limit
                for start in [self._replicas_at(self.now - limit.period)]
            ]
            assert desired >= min(least)
        if desired == 0:
            event("zero")
            assert self.now - max(s.at for s in self.looks if s.active) >= spec.cooldown

    def _check_scale_out(self, look: Situation, desired: int) -> None:
        spec = look.spec
        assert spec.mode is not Mode.PAUSE_OUT
        window = spec.scale_out_window
        recommended = [s.recommended for s in self.looks if window and s.at >= self.now - window]
        assert desired <= max(1, min([*recommended, self.looks[-1].recommended]))
        if spec.scale_out_limit:
            most = [
                -(-max(start, 1) * (100 + limit.amount) // 100)
                if limit.percent
                else start + limit.amount
                for limit in spec.scale_out_limit
                for start in [self._replicas_at(self.now - limit.period)]
            ]
            assert desired <= max(most)
        if look.replicas == 0 and isinstance(look.backlog, Backlog):
            event("wake")
            assert look.backlog.waiting > spec.activation
        if isinstance(look.backlog, Backlog):
            free = {
                queue: stats
                for queue, stats in look.backlog.parts.items()
                if self._limited_for(queue) < RATE_LIMITED_FOR
            }
            assert desired <= recommend(replace(look, backlog=Backlog(free)))[0]

    def _limited_for(self, queue: TaskQueue) -> timedelta:
        """Return for how long the rate of a queue has been limited at every look."""
        looks = list(takewhile(lambda look: queue in look.limited, reversed(self.looks)))
        return self.now - looks[-1].at if looks else timedelta()

    def _replicas_at(self, start: datetime) -> int:
        """Return the replicas at a time in the past; before the first look, those of that look."""
        before = [number for at, number in self.numbers if at <= start]
        return before[-1] if before else self.numbers[0][1]

    def _check_memory(self, history: History) -> None:
        """Check that few samples a look are kept, and none beyond the longest window.

        A look leaves a recommendation, a change of its own, and one of somebody else's.
        """
        recent = [look for look in self.looks if look.at >= self.now - LONGEST_WINDOW]
        oldest = self.now + self.skipped - LONGEST_WINDOW
        for samples, most in ((history.recommendations, 1), (history.changes, 2)):
            assert len(samples) <= most * len(recent)
            assert all(sample.at >= oldest for sample in samples)
        changed = [number for number, _ in groupby(look.recommended for look in recent)]
        assert list(history.since(oldest)) == changed


TestOneService = OneService.TestCase
TestOneService.settings = settings(
    max_examples=settings().max_examples // 2,
    stateful_step_count=30,
    suppress_health_check=[HealthCheck.too_slow],
)

"""What holds of a service through any sequence of looks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

import hypothesis.strategies as st
from hypothesis import HealthCheck, event, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from autoscaler.core.decide import decide
from autoscaler.core.history import History
from autoscaler.core.label_values import LONGEST_WINDOW, Mode
from autoscaler.core.limits import RATE_LIMITED_FOR
from autoscaler.core.model import Backlog, Ceiling, UnknownBacklog
from autoscaler.core.recommend import recommend
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
    limited: bool


class OneService(RuleBasedStateMachine):
    """One service through many looks, while people change labels, replicas and the daemon."""

    @initialize(spec=LABELS, replicas=st.integers(0, 12))
    def appear(self, spec: ScalingSpec, replicas: int) -> None:
        self.spec = spec
        self.replicas = replicas
        self.now = NOW
        self.ceiling: Ceiling | None = None
        self.restart()

    def restart(self) -> None:
        """Start the daemon again: it knows only the present replicas."""
        self.history = History.seed(self.replicas, self.now)
        self.known_at = self.now
        seeded = Observation(self.now, self.replicas, self.replicas, active=True, limited=False)
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
        self.replicas = self.replicas if replicas is None else replicas
        self.ceiling = ceiling
        if restarts:
            self.restart()

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
        look = Situation(
            self.spec, self.replicas, seen, self.history, self.now, self.ceiling, refusal
        )
        decision = decide(look)
        known = isinstance(seen, Backlog)
        busy = not isinstance(seen, Backlog) or bool(
            seen.waiting
            or any(max(each.add_rate, each.dispatch_rate) > 0.001 for each in seen.parts.values())
        )
        limited = isinstance(seen, Backlog) and any(
            each.rate_limited for each in seen.parts.values()
        )
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
        if self.spec.mode is not Mode.DRY_RUN:
            self.replicas += int((decision.desired - self.replicas) * works)

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
        since = self.now
        for seen in reversed(self.looks):
            if not seen.limited:
                break
            since = seen.at
        assert not self.looks[-1].limited or self.now - since < RATE_LIMITED_FOR

    def _replicas_at(self, start: datetime) -> int:
        """Return the replicas at a time in the past; before the first look, those of that look."""
        before = [look.replicas for look in self.looks if look.at <= start]
        return before[-1] if before else self.looks[0].replicas

    def _check_memory(self, history: History) -> None:
        """Check that no more than one sample a look is kept, and none beyond the longest window."""
        recent = [look for look in self.looks if look.at >= self.now - LONGEST_WINDOW]
        for samples in (history.recommendations, history.changes):
            assert len(samples) <= len(recent)
            assert all(sample.at >= self.now - LONGEST_WINDOW for sample in samples)
        changed = [number for number, _ in groupby(look.recommended for look in recent)]
        assert list(history.since(self.now - LONGEST_WINDOW)) == changed


TestOneService = OneService.TestCase
TestOneService.settings = settings(
    max_examples=settings().max_examples // 2,
    stateful_step_count=30,
    suppress_health_check=[HealthCheck.too_slow],
)

"""The limits around zero: activation to leave it, cooldown to return to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from autoscaler.core.backlog import Backlog
from autoscaler.core.decide import decide
from autoscaler.core.in_flight import InFlight
from autoscaler.core.label_values import Fallback, QueueType
from autoscaler.core.model import Replica
from autoscaler.core.reason import ReasonCode
from autoscaler.core.situation import Decision
from tests.fakes.clock import START as NOW
from tests.unit.builders import (
    HOUR,
    INSTANT,
    MINUTE,
    SECOND,
    Watch,
    backlog,
    codes,
    fleet,
    remembered,
    shrinking,
    situation,
    stats,
    task_queue,
    worker,
)


class TestActivation:
    @pytest.mark.parametrize(
        ("waiting", "desired", "moved_by"),
        [
            pytest.param(
                20, 0, [ReasonCode.BACKLOG, ReasonCode.ACTIVATION], id="exactly-the-activation"
            ),
            pytest.param(21, 3, [ReasonCode.BACKLOG], id="one-task-above"),
            pytest.param(1, 0, [ReasonCode.BACKLOG, ReasonCode.ACTIVATION], id="far-below"),
            pytest.param(0, 0, [ReasonCode.BACKLOG], id="nothing-needs-no-reason"),
        ],
    )
    def test_only_a_backlog_above_the_activation_wakes_a_service(
        self, waiting: int, desired: int, moved_by: list[ReasonCode]
    ) -> None:
        decision = decide(situation(waiting=waiting, replicas=0, min=0, activation=20))
        assert decision.desired == desired
        assert codes(decision) == moved_by

    def test_the_reason_names_the_activation(self) -> None:
        decision = decide(situation(waiting=1, replicas=0, min=0, activation=2))
        assert (
            str(decision.reasons[-1]) == "1 waiting task, not above the activation of 2 → keeps 0"
        )

    def test_it_holds_only_at_zero(self) -> None:
        decision = decide(situation(waiting=20, replicas=1, min=0, activation=20))
        assert decision.desired == 2
        assert codes(decision) == [ReasonCode.BACKLOG]

    def test_it_does_not_hold_a_fallback(self) -> None:
        unknown = remembered(known_at=NOW - HOUR)
        decision = decide(
            situation(
                waiting=None, replicas=0, min=0, past=unknown, activation=20, fallback=Fallback(3)
            )
        )
        assert decision.desired == 3


class TestCooldown:
    SPEC: ClassVar[dict[str, Any]] = {"min": 0, "cooldown": 5 * MINUTE}

    @pytest.mark.parametrize(
        ("quiet", "desired", "moved_by"),
        [
            pytest.param(5 * MINUTE, 0, [ReasonCode.BACKLOG], id="exactly-the-cooldown"),
            pytest.param(
                5 * MINUTE - INSTANT,
                1,
                [ReasonCode.BACKLOG, ReasonCode.COOLDOWN],
                id="just-before",
            ),
            pytest.param(timedelta(), 1, [ReasonCode.BACKLOG, ReasonCode.COOLDOWN], id="just-now"),
        ],
    )
    def test_the_last_replica_goes_only_after_the_cooldown(
        self, quiet: timedelta, desired: int, moved_by: list[ReasonCode]
    ) -> None:
        past = remembered(active_at=NOW - quiet)
        decision = decide(situation(waiting=0, past=past, **self.SPEC))
        assert decision.desired == desired
        assert codes(decision) == moved_by

    def test_the_reason_says_how_long_the_service_has_been_quiet(self) -> None:
        past = remembered(active_at=NOW - 90 * SECOND)
        decision = decide(situation(waiting=0, past=past, **self.SPEC))
        assert str(decision.reasons[-1]) == "quiet for 1m30s of the cooldown of 5m → keeps 1"

    def test_the_reason_never_says_that_the_cooldown_is_over(self) -> None:
        past = remembered(active_at=NOW - 5 * MINUTE + INSTANT)
        decision = decide(situation(waiting=0, past=past, **self.SPEC))
        assert str(decision.reasons[-1]) == "quiet for 4m59s of the cooldown of 5m → keeps 1"

    def test_only_the_last_replica_waits_for_the_cooldown(self) -> None:
        past = remembered(active_at=NOW)
        assert decide(situation(waiting=0, replicas=8, past=past, **self.SPEC)).desired == 1

    def test_with_min_1_there_is_no_cooldown(self) -> None:
        past = remembered(active_at=NOW)
        decision = decide(situation(waiting=0, past=past, min=1))
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.MIN]

    def test_the_cooldown_does_not_wake_a_service(self) -> None:
        past = remembered(active_at=NOW)
        decision = decide(situation(waiting=0, replicas=0, past=past, **self.SPEC))
        assert decision.desired == 0
        assert codes(decision) == [ReasonCode.BACKLOG]

    def test_with_a_cooldown_of_0_the_last_replica_goes_at_once(self) -> None:
        past = remembered(active_at=NOW)
        decision = decide(situation(waiting=0, past=past, min=0, cooldown=timedelta()))
        assert decision.desired == 0

    @pytest.mark.parametrize(
        ("seen", "desired"),
        [
            pytest.param(backlog(0, add_rate=0.1), 1, id="arrivals"),
            pytest.param(backlog(0, dispatch_rate=0.1), 1, id="dispatches"),
            pytest.param(None, 1, id="unknown"),
            pytest.param(backlog(0, add_rate=0.0011), 1, id="a-rate-just-above-what-fades"),
            pytest.param(backlog(0, add_rate=0.001), 0, id="a-rate-that-only-fades"),
            pytest.param(backlog(0, dispatch_rate=0.001), 0, id="dispatches-that-only-fade"),
            pytest.param(backlog(0, pollers=4), 0, id="workers-that-only-poll"),
        ],
    )
    def test_an_empty_queue_may_still_be_active(self, seen: Backlog | None, desired: int) -> None:
        watch = Watch(1, **self.SPEC)
        for _ in range(60):
            watch.look(seen, 1)
        assert watch.look(0, 1).desired == desired

    def test_activity_of_any_queue_and_type_counts(self) -> None:
        seen = Backlog(
            {
                task_queue("orders"): stats(0),
                task_queue("mails", QueueType.ACTIVITY): stats(0, dispatch_rate=3.0),
            }
        )
        assert decide(situation(waiting=seen, queues=("orders", "mails"), min=0)).desired == 1

    def test_every_activity_restarts_the_cooldown(self) -> None:
        watch = Watch(1, **self.SPEC)
        watch.look(1, 1, after=4 * MINUTE)
        assert watch.look(0, 1, after=5 * MINUTE - INSTANT).desired == 1
        assert watch.look(0, 1, after=INSTANT).desired == 0

    def test_a_restart_of_the_daemon_restarts_the_cooldown(self) -> None:
        watch = Watch(1, **self.SPEC)
        assert watch.look(0, 1, after=5 * MINUTE - INSTANT).desired == 1
        assert watch.look(0, 1, after=INSTANT).desired == 0

    def test_a_fallback_of_0_keeps_one_replica_because_an_unknown_backlog_is_not_quiet(
        self,
    ) -> None:
        past = remembered(known_at=NOW - HOUR)
        decision = decide(
            situation(waiting=None, replicas=3, past=past, fallback=Fallback(0), **self.SPEC)
        )
        assert decision.desired == 1
        assert codes(decision) == [ReasonCode.FALLBACK, ReasonCode.COOLDOWN]


class TestScaleToZeroWithWorkInFlight:
    """The last replica goes only when nothing has been in flight for the whole cooldown."""

    LONG_QUIET = remembered(active_at=NOW - HOUR)

    def quiet(self, in_flight: InFlight, **spec: Any) -> Decision:
        """Decide where nothing has waited or been dispatched for an hour."""
        given = shrinking(in_flight, 0, past=self.LONG_QUIET, cooldown=5 * MINUTE, **spec)
        return decide(given)

    def test_an_idle_replica_goes(self) -> None:
        assert self.quiet(fleet("i")).desired == 0

    def test_work_in_flight_restarts_the_cooldown(self) -> None:
        busy = self.quiet(fleet("b"))
        assert busy.desired == 1
        assert codes(busy) == [ReasonCode.BACKLOG, ReasonCode.COOLDOWN]
        assert busy.history.active_at == NOW

    @pytest.mark.parametrize(
        ("after", "desired"),
        [
            pytest.param(5 * MINUTE - INSTANT, 1, id="just-before-its-end"),
            pytest.param(5 * MINUTE, 0, id="at-its-end"),
        ],
    )
    def test_once_the_cooldown_is_over_the_idle_replica_goes(
        self, after: timedelta, desired: int
    ) -> None:
        now = NOW + after
        idle = InFlight((Replica("r1", "r1"),), (worker("r1", at=now),))
        given = shrinking(idle, 0, cooldown=5 * MINUTE)
        later = replace(given, history=self.quiet(fleet("b")).history, now=now)
        assert decide(later).desired == desired

    def test_work_of_a_leaving_replica_restarts_the_cooldown_as_well(self) -> None:
        leaving = InFlight((Replica("r1", "r1"),), (worker("r1", running=1, leaving=True),))
        assert self.quiet(leaving).desired == 1

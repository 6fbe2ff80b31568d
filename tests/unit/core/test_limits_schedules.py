"""Bounds of a schedule: at once where a window begins, as any scale-in where it closes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from autoscaler.core.backlog import UnknownBacklog
from autoscaler.core.decide import decide
from autoscaler.core.history import History
from autoscaler.core.in_flight import InFlight
from autoscaler.core.reason import ReasonCode
from autoscaler.core.situation import Decision
from autoscaler.core.spec import ScalingSpec
from tests.unit.builders import HOUR, MINUTE, SECOND, UNKNOWN, codes, fleet, situation

OFFICE = "mon-fri 07:30-19:00 min=5 max=40"
FRIDAY = datetime(2027, 1, 8, tzinfo=UTC)
OPENS, CLOSES = FRIDAY + 7.5 * HOUR, FRIDAY + 19 * HOUR
LOOK = 5 * SECOND


class Service:
    """A service whose replicas are at once what was decided, looked at every 5 s."""

    def __init__(self, replicas: int, now: datetime, **spec: Any) -> None:
        self.spec = ScalingSpec.model_validate(
            {"queues": ("orders",), "schedule": OFFICE, "scale_in_window": timedelta()} | spec
        )
        self.replicas, self.now = replicas, now
        self.history = History.seed(replicas, now)

    def look(self, waiting: int | UnknownBacklog, reports: str | None = None) -> Decision:
        """Decide now, and let the time to the next look pass.

        `reports` has a letter for each replica, as in `fleet`; None: nobody was asked.
        """
        given = replace(
            situation(waiting=waiting, replicas=self.replicas),
            spec=self.spec.at(self.now),
            history=self.history,
            now=self.now,
        )
        if reports is not None:
            given = replace(given, in_flight=fresh(reports, self.now))
        decision = decide(given)
        self.history, self.now = decision.history, self.now + LOOK
        self.replicas = decision.desired
        return decision

    def until(
        self, end: datetime, waiting: int | UnknownBacklog, reports: str | None = None
    ) -> int:
        """Look until a moment, the moment itself left out; return the replicas then."""
        while self.now < end:
            self.look(waiting, reports)
        return self.replicas


def fresh(reports: str, now: datetime) -> InFlight:
    """Describe replicas by a letter each, all of which have just reported."""
    seen = fleet(reports)
    return replace(seen, workers=tuple(replace(each, at=now) for each in seen.workers))


def said(decision: Decision) -> list[str]:
    return [str(reason) for reason in decision.reasons]


class TestAWindowThatBegins:
    def test_min_holds_from_its_first_moment(self) -> None:
        service = Service(1, OPENS - MINUTE)
        assert service.until(OPENS, 0) == 1
        assert service.look(0).desired == 5

    def test_the_reason_names_the_window(self) -> None:
        assert said(Service(1, OPENS).look(0)) == [
            "0 waiting tasks at target 10 → 0",
            "5 (min, schedule mon-fri 07:30-19:00)",
        ]
        assert (
            said(Service(40, OPENS).look(999))[-1]
            == "100 needed, at most 40 (max, schedule mon-fri 07:30-19:00)"
        )

    def test_it_stays_so_while_the_window_holds(self) -> None:
        service = Service(5, OPENS)
        service.until(OPENS + MINUTE, 0)
        assert said(service.look(0))[1:] == ["keeps 5 (min, schedule mon-fri 07:30-19:00)"]

    def test_a_service_at_zero_needs_no_task_for_it(self) -> None:
        assert Service(0, OPENS, min=0, activation=50).look(0).desired == 5

    @pytest.mark.parametrize(
        "label",
        [{"scale_out_window": HOUR}, {"scale_out_limit": "1/1m"}, {"mode": "pause-out"}],
        ids=["window", "limit", "pause"],
    )
    def test_nothing_holds_up_min(self, label: dict[str, Any]) -> None:
        service = Service(1, OPENS - MINUTE, **label)
        service.until(OPENS, 0)
        assert service.look(0).desired == 5

    def test_more_may_grow_from_then_on(self) -> None:
        service = Service(10, OPENS - MINUTE)
        assert service.until(OPENS, 300) == 10
        assert service.look(300).desired == 30

    def test_in_the_middle_of_a_window_a_daemon_begins_with_its_bounds(self) -> None:
        assert Service(1, OPENS + HOUR).look(0).desired == 5
        assert Service(1, OPENS + HOUR).look(999).desired == 40


class TestAWindowThatCloses:
    def test_replicas_that_min_held_go_after_the_scale_in_window(self) -> None:
        service = Service(5, CLOSES - HOUR, scale_in_window=MINUTE)
        assert service.until(CLOSES, 0) == 5
        held = service.look(0)
        assert codes(held)[1:] == [ReasonCode.MIN, ReasonCode.SCALE_IN_WINDOW]
        assert said(held)[1] == "1 (min)"
        assert service.until(CLOSES + MINUTE - LOOK, 0) == 5
        assert service.until(CLOSES + MINUTE + LOOK, 0) == 1

    def test_replicas_above_max_go_after_the_scale_in_window(self) -> None:
        service = Service(40, CLOSES - HOUR, scale_in_window=MINUTE)
        assert service.until(CLOSES, 900) == 40
        held = service.look(900)
        assert codes(held) == [ReasonCode.BACKLOG, ReasonCode.MAX, ReasonCode.SCALE_IN_WINDOW]
        assert said(held)[1] == "90 needed, at most 10 (max)"
        assert service.until(CLOSES + MINUTE - LOOK, 900) == 40
        assert service.until(CLOSES + MINUTE + LOOK, 900) == 10

    @pytest.mark.parametrize(
        ("replicas", "waiting", "at_last"),
        [pytest.param(5, 0, 1, id="min"), pytest.param(14, 900, 10, id="max")],
    )
    def test_they_go_by_the_step_limit(self, replicas: int, waiting: int, at_last: int) -> None:
        service = Service(replicas, CLOSES, scale_in_limit="1/1m")
        for minute in range(1, 4):
            assert service.until(CLOSES + minute * MINUTE, waiting) == replicas - minute
        assert service.until(CLOSES + HOUR, waiting) == at_last

    def test_busy_replicas_stay(self) -> None:
        service = Service(5, CLOSES)
        assert service.look(0, "bibib").desired == 3
        assert service.until(CLOSES + HOUR, 0, "bbb") == 3
        assert service.until(CLOSES + 2 * HOUR, 0, "bii") == 1

    def test_what_is_not_known_to_be_idle_stays_in_strict_mode(self) -> None:
        service = Service(5, CLOSES, busy="strict")
        assert service.look(0, "bsssi").desired == 4

    def test_busy_replicas_stay_above_max(self) -> None:
        service = Service(14, CLOSES)
        assert service.look(900, "b" * 12 + "ii").desired == 12

    def test_a_service_that_grows_stops_at_max(self) -> None:
        assert Service(8, CLOSES).look(300).desired == 10

    def test_replicas_that_go_do_not_come_back(self) -> None:
        service = Service(12, CLOSES, scale_in_limit="1/1m")
        seen = [service.look(900).desired for _ in range(60)]
        assert seen == sorted(seen, reverse=True)
        assert seen[-1] == 10

    def test_a_backlog_that_is_unknown_holds_no_more_than_max(self) -> None:
        service = Service(14, CLOSES, scale_in_limit="2/1m")
        assert service.look(UNKNOWN).desired == 12
        assert service.until(CLOSES + HOUR, UNKNOWN) == 10

    def test_a_pause_of_scale_in_holds_no_more_than_max(self) -> None:
        service = Service(14, CLOSES, mode="pause-in", scale_in_limit="2/1m")
        assert service.look(0).desired == 12
        assert service.until(CLOSES + HOUR, 0) == 10

    def test_a_last_replica_goes_after_the_cooldown_too(self) -> None:
        service = Service(5, CLOSES - HOUR, min=0, cooldown=HOUR)
        assert service.until(CLOSES - MINUTE, 0) == 5
        service.look(7)
        assert service.until(CLOSES + MINUTE, 0) == 1
        assert service.until(CLOSES + HOUR, 0) == 0


def test_a_fallback_stays_within_the_bounds_of_the_schedule() -> None:
    service = Service(8, CLOSES - HOUR, fallback="30", fallback_after=timedelta())
    assert service.look(UNKNOWN).desired == 30
    assert service.until(CLOSES + MINUTE, UNKNOWN) == 10


def test_a_service_without_a_schedule_goes_down_to_max_at_once() -> None:
    service = Service(14, CLOSES, schedule="none", scale_in_limit="1/1m", scale_in_window=HOUR)
    assert service.look(900).desired == 10

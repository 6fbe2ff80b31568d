"""What a tick takes over from an earlier one, and for how long."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from autoscaler.core.errors import BacklogUnavailable
from autoscaler.core.in_flight import InFlight
from autoscaler.core.model import EndedBy, Ending, Service, ServiceId
from autoscaler.core.reading import Reading
from autoscaler.core.reason import Reason, ReasonCode
from autoscaler.core.report import ServiceReport
from autoscaler.core.schedule import Bounds, NextBounds
from autoscaler.core.spec import ScalingSpec
from autoscaler.kept import ASKED_EVERY, DECIDED_EVERY, DISCOVERED_EVERY, Found, InFlights, Resting
from autoscaler.wishes.wishes import Wish
from tests.fakes.clock import START
from tests.unit.builders import MINUTE, SECOND, stats, task_queue

WORKER = ServiceId("compose", "shop/worker")
SERVICE = Service(WORKER, {"temporal.queue": "orders"}, 1)
ORDERS = task_queue()
WISH = Wish(ScalingSpec(queues=("orders",)), queues=(ORDERS,))
EMPTY = {ORDERS: stats(0)}
REPORT = ServiceReport(
    WORKER, replicas=1, desired=1, backlog=0, reasons=(Reason(ReasonCode.BACKLOG, "0 waiting"),)
)
JUST_BEFORE = -timedelta(microseconds=1)
MOVES: dict[str, Any] = {
    "draining": 1,
    "left_behind": 1,
    "crashed": 1,
    "refusal": "somebody else is at work",
    "warnings": ("a stop fails",),
    "ending": Ending(EndedBy.HAND, seen=True),
}
"""What changes with time alone, by field of a service."""


class TestFound:
    FOUND = Found((SERVICE,), {}, START)

    def test_it_holds_for_5_s(self) -> None:
        assert self.FOUND.holds(START + DISCOVERED_EVERY + JUST_BEFORE)
        assert not self.FOUND.holds(START + DISCOVERED_EVERY)

    def test_before_the_first_look_nothing_holds(self) -> None:
        assert not Found().holds(START)

    def test_a_clock_that_is_set_back_ends_it(self) -> None:
        assert not self.FOUND.holds(START - SECOND)

    def test_an_orchestrator_that_did_not_answer_is_asked_again(self) -> None:
        assert not replace(self.FOUND, errors={"swarm": "no answer"}).holds(START)

    @pytest.mark.parametrize("field", MOVES)
    def test_a_service_that_changes_with_time_is_looked_at(self, field: str) -> None:
        moving = replace(SERVICE, **{field: MOVES[field]})
        assert not Found((SERVICE, moving), {}, START).holds(START)


class TestResting:
    def rests(  # noqa: PLR0913 - all that a decision goes by
        self,
        report: ServiceReport = REPORT,
        *,
        wish: Wish = WISH,
        service: Service = SERVICE,
        later: timedelta = SECOND,
        seen: dict[Any, Reading] | None = None,
        then: Service | None = None,
    ) -> bool:
        """Whether the report of a decision is taken over some time later."""
        resting = Resting()
        resting.note(service, wish, EMPTY, report, START)
        now = {WORKER: wish}
        taken = resting.reports([then or service], now, seen or EMPTY, START + later)
        return taken == {WORKER: report}

    def test_it_counts_for_10_s(self) -> None:
        assert self.rests(later=DECIDED_EVERY + JUST_BEFORE)
        assert not self.rests(later=DECIDED_EVERY)

    def test_a_clock_that_is_set_back_ends_it(self) -> None:
        assert not self.rests(later=-MINUTE)

    def test_the_same_figures_once_more_do_not_end_it(self) -> None:
        assert self.rests(seen={ORDERS: stats(0)})

    @pytest.mark.parametrize(
        "reading", [stats(1), stats(0, add_rate=1.0), BacklogUnavailable("no answer")]
    )
    def test_other_figures_do(self, reading: Reading) -> None:
        assert not self.rests(seen={ORDERS: reading})

    def test_so_does_another_number_of_replicas(self) -> None:
        assert not self.rests(then=replace(SERVICE, replicas=2))

    def test_another_wish_ends_it(self) -> None:
        resting = Resting()
        resting.note(SERVICE, WISH, EMPTY, REPORT, START)
        assert not resting.reports([SERVICE], {WORKER: replace(WISH)}, EMPTY, START)

    def test_a_schedule_that_changes_the_bounds_ends_it(self) -> None:
        turn = NextBounds(START + 3 * SECOND, Bounds(5, 40), ZoneInfo("UTC"))
        report = replace(REPORT, next_bounds=turn)
        assert self.rests(report, later=3 * SECOND + JUST_BEFORE)
        assert not self.rests(report, later=3 * SECOND)

    @pytest.mark.parametrize("field", MOVES)
    def test_a_service_that_changes_with_time_is_not_at_rest(self, field: str) -> None:
        assert not self.rests(service=replace(SERVICE, **{field: MOVES[field]}))

    @pytest.mark.parametrize(
        "changes",
        [
            pytest.param({"desired": 2}, id="wants-another-number"),
            pytest.param({"backlog": None}, id="has-an-unknown-backlog"),
            pytest.param({"errors": ("no answer",)}, id="is-in-trouble"),
            pytest.param({"interrupted": 1}, id="has-interrupted-a-replica"),
            pytest.param(
                {"reasons": (Reason(ReasonCode.SCALE_IN_WINDOW, "for 15s"),)},
                id="waits-for-a-window",
            ),
            pytest.param({"reasons": (Reason(ReasonCode.KEEP_UP, "3"),)}, id="holds-for-arrivals"),
        ],
    )
    def test_nor_is_one_that(self, changes: dict[str, Any]) -> None:
        assert not self.rests(replace(REPORT, **changes))

    @pytest.mark.parametrize("label", [{"slots_target": 0.5}, {"max_wait": MINUTE}])
    def test_nor_is_one_whose_labels_look_at_the_time(self, label: dict[str, Any]) -> None:
        spec = ScalingSpec.model_validate({"queues": ("orders",), **label})
        assert not self.rests(wish=replace(WISH, spec=spec))


class TestInFlights:
    ANSWER = InFlight((), ())
    SPEC = ScalingSpec(queues=("orders",))

    @pytest.fixture
    def asked(self) -> InFlights:
        asked = InFlights()
        asked.note(SERVICE, self.SPEC, self.ANSWER, START)
        return asked

    def test_an_answer_is_used_for_5_s(self, asked: InFlights) -> None:
        late = START + ASKED_EVERY
        assert asked.of(SERVICE, self.SPEC, late + JUST_BEFORE) is self.ANSWER
        assert asked.of(SERVICE, self.SPEC, late) is None

    def test_it_is_of_the_same_replicas_and_labels(self, asked: InFlights) -> None:
        assert asked.of(replace(SERVICE, replicas=2), self.SPEC, START) is None
        other = ScalingSpec(queues=("orders",), target=3)
        assert asked.of(SERVICE, other, START) is None

    def test_it_is_forgotten_with_its_service(self, asked: InFlights) -> None:
        asked.forget_all_but(())
        assert asked.of(SERVICE, self.SPEC, START) is None

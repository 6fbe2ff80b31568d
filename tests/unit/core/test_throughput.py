"""What a busy replica gets done: how it is learnt, what it asks for, and how far it is trusted."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from autoscaler.core.backlog import Backlog
from autoscaler.core.decide import decide, wants_in_flight
from autoscaler.core.in_flight import InFlight, SlotKind, Slots
from autoscaler.core.label_values import Busy, KeepUp, QueueType
from autoscaler.core.model import Replica
from autoscaler.core.reason import ReasonCode
from autoscaler.core.recommend import recommend, throughput
from autoscaler.core.situation import Decision
from autoscaler.core.throughput import DOUBTED_FOR, FIRST_TRUST
from tests.fakes.clock import START
from tests.unit.builders import (
    SECOND,
    UNKNOWN,
    backlog,
    codes,
    remembered,
    situation,
    stats,
    task_queue,
    worker,
)
from tests.unit.core.strategies import some

ACTIVITY = QueueType.ACTIVITY
LOOK = 5 * SECOND


@dataclass
class Watched:
    """A service that is looked at every 5 s, whose replicas follow each decision at once."""

    replicas: int = 4
    follow: bool = False
    """Whether the number of replicas becomes what was decided."""
    version: str = "v1"
    labels: dict[str, Any] = field(default_factory=dict)
    now: datetime = START

    def __post_init__(self) -> None:
        self.history = remembered()

    def look(
        self,
        waiting: int | Backlog | None,
        added: float = 0.0,
        handed: float | None = None,
        *,
        in_flight: InFlight | None = None,
    ) -> Decision:
        """Look once. As many tasks are handed out as are added, unless told otherwise."""
        if isinstance(waiting, int):
            rate = added if handed is None else handed
            seen: Any = backlog(waiting, add_rate=added, dispatch_rate=rate)
        else:
            seen = UNKNOWN if waiting is None else waiting
        labels = {"max": 20, "scale_in_window": timedelta()} | self.labels
        self.now += LOOK
        present = replace(
            situation(waiting=seen, replicas=self.replicas, past=self.history, **labels),
            now=self.now,
            version=self.version,
            in_flight=in_flight,
        )
        self.situation = present
        decision = decide(present)
        self.history = decision.history
        if self.follow and decision.desired != self.replicas:
            self.history = decision.history.begin_change(decision.desired)
            self.replicas = decision.desired
        return decision

    def looks(
        self, number: int, waiting: int, added: float, handed: float | None = None
    ) -> Decision:
        """Look several times at the same; return the last decision."""
        for _ in range(number):
            decision = self.look(waiting, added, handed)
        return decision

    @property
    def learnt(self) -> float | None:
        return throughput(self.situation, self.history)


class TestLearning:
    def test_it_is_what_each_replica_is_handed_while_tasks_wait(self) -> None:
        watched = Watched(4)
        watched.looks(7, 40, 5.0)
        assert watched.learnt == 1.25

    def test_nothing_is_learnt_while_none_wait(self) -> None:
        watched = Watched(4)
        watched.looks(20, 0, 5.0)
        assert watched.learnt is None

    def test_nothing_is_learnt_in_less_than_the_server_averages(self) -> None:
        watched = Watched(4)
        watched.looks(6, 40, 5.0)
        assert watched.learnt is None

    def test_nothing_is_learnt_while_the_server_limits_the_rate(self) -> None:
        watched = Watched(4)
        for _ in range(10):
            watched.look(backlog(40, add_rate=5.0, dispatch_rate=5.0, rate_limited=True))
        assert watched.learnt is None

    def test_a_cached_answer_once_more_teaches_nothing(self) -> None:
        watched = Watched(4)
        watched.look(40, 5.0)
        for _ in range(20):
            watched.look(backlog(40, add_rate=5.0, dispatch_rate=5.0, new=False))
        assert watched.learnt is None

    def test_replicas_that_do_more_are_seen_to_do_more(self) -> None:
        watched = Watched(4)
        watched.looks(7, 40, 5.0)
        watched.looks(7, 0, 8.0)
        assert watched.learnt == 2.0

    def test_each_type_of_task_has_its_own_and_the_one_that_needs_most_counts(self) -> None:
        watched = Watched(4)
        for _ in range(7):
            watched.look(
                Backlog(
                    {
                        task_queue(): stats(400, add_rate=40.0, dispatch_rate=40.0),
                        task_queue(type_=ACTIVITY): stats(20, add_rate=5.0, dispatch_rate=4.0),
                    }
                )
            )
        assert watched.learnt == 1.0

    @pytest.mark.parametrize(
        "changed",
        [
            pytest.param({"version": "v2"}, id="image"),
            pytest.param({"labels": {"queues": ("mails",)}}, id="queue"),
            pytest.param({"labels": {"deployment": "shop", "build_id": "2"}}, id="build"),
            pytest.param({"labels": {"queue_types": (ACTIVITY,)}}, id="types"),
        ],
    )
    def test_it_is_forgotten_when_the_workers_change(self, changed: Mapping[str, Any]) -> None:
        watched = Watched(4)
        watched.looks(7, 40, 5.0)
        for name, value in changed.items():
            setattr(watched, name, value)
        watched.look(40, 5.0)
        assert watched.learnt is None

    def test_it_is_kept_when_other_labels_change(self) -> None:
        watched = Watched(4)
        watched.looks(7, 40, 5.0)
        watched.labels = {"target": 20, "min": 2}
        watched.look(40, 5.0)
        assert watched.learnt == 1.25


class TestReports:
    @staticmethod
    def reported(watched: Watched, processed: int) -> InFlight:
        """Describe workers that use all slots, and have each finished so many tasks."""
        hosts = [f"r{number}" for number in range(watched.replicas)]
        slots = {SlotKind.ACTIVITY: Slots(2, 0, processed)}
        at = watched.now + LOOK
        workers = tuple(worker(host, at=at, slots=slots) for host in hosts)
        return InFlight(tuple(Replica(host, host) for host in hosts), workers)

    def test_busy_workers_tell_what_they_do_while_no_task_waits(self) -> None:
        watched = Watched(4)
        queue = task_queue(type_=ACTIVITY)
        for number in range(8):
            seen = Backlog({queue: stats(0, add_rate=4.0, dispatch_rate=4.0)})
            watched.look(seen, in_flight=self.reported(watched, 10 * number))
        assert watched.learnt == 2.0
        assert codes(watched.look(seen))[0] is ReasonCode.KEEP_UP

    def test_a_worker_that_reports_nonsense_makes_no_replica_slower_than_it_is(self) -> None:
        """All slots in use and next to nothing finished: as if thousands were needed."""
        watched, asked = Watched(4, follow=True), []
        queue = task_queue(type_=ACTIVITY)
        for number in range(60):
            seen = Backlog({queue: stats(6, add_rate=4.0, dispatch_rate=4.0)})
            asked.append(watched.look(seen, in_flight=self.reported(watched, number // 2)).desired)
        assert max(asked) <= 6

    @pytest.mark.parametrize("processed", [10**12, -5, 0])
    def test_absurd_counts_change_nothing(self, processed: int) -> None:
        watched = Watched(4)
        queue = task_queue(type_=ACTIVITY)
        for number in range(10):
            seen = Backlog({queue: stats(0, add_rate=4.0, dispatch_rate=4.0)})
            watched.look(seen, in_flight=self.reported(watched, number * processed))
        assert watched.learnt is None


class TestRecommendation:
    def test_replicas_that_arrivals_need_stay_while_none_wait(self) -> None:
        watched = Watched(4)
        watched.looks(7, 40, 4.0)
        decision = watched.look(0, 4.0)
        assert decision.desired == 4
        assert str(decision.recommendation) == "4 tasks a second arrive, a replica does 1 → 4"

    def test_more_are_asked_for_while_tasks_wait_and_more_arrive(self) -> None:
        watched = Watched(8, labels={"target": 100})
        watched.looks(7, 60, 8.8, 8.8)
        decision = watched.looks(7, 60, 11.0, 8.8)
        assert decision.recommendation.code is ReasonCode.KEEP_UP
        assert 10 <= decision.desired <= 13

    def test_while_none_wait_the_present_replicas_keep_up(self) -> None:
        watched = Watched(4)
        watched.looks(7, 40, 4.0)
        assert watched.looks(12, 0, 30.0, 30.0).desired <= 4

    def test_without_arrivals_the_plain_rule_is_all_there_is(self) -> None:
        watched = Watched(10)
        watched.looks(7, 100, 9.0)
        for waiting, replicas in ((100, 10), (5, 1), (0, 1)):
            assert watched.look(waiting).desired == replicas

    def test_one_look_without_an_answer_gives_nothing_back(self) -> None:
        watched = Watched(4)
        watched.looks(7, 40, 4.0)
        watched.look(None)
        assert watched.look(0, 4.0).desired == 4

    def test_off_asks_for_nothing(self) -> None:
        watched = Watched(4, labels={"keep_up": KeepUp(on=False)})
        watched.looks(10, 40, 4.0)
        assert watched.look(0, 4.0).desired == 1
        assert watched.learnt is None

    @pytest.mark.parametrize(
        ("arriving", "each", "replicas", "text"),
        [
            (8.4, 1.1, 8, "8.4 tasks a second arrive, a replica does 1.1 → 8"),
            (8.4, 1.05, 8, "8.4 tasks a second arrive, a replica does 1.1 → 8"),
            (1200.0, 100, 12, "1,200 tasks a second arrive, a replica does 100 → 12"),
            (0.05, 0.02, 3, "0.05 tasks a second arrive, a replica does 0.02 → 3"),
        ],
    )
    def test_a_given_throughput_counts_at_once(
        self, arriving: float, each: float, replicas: int, text: str
    ) -> None:
        keep_up = KeepUp(throughput=each)
        seen = situation(waiting=backlog(0, add_rate=arriving), keep_up=keep_up)
        number, reason = recommend(seen)
        assert number == replicas
        assert reason.code is ReasonCode.KEEP_UP
        assert str(reason) == text

    def test_the_reason_says_how_many_wait_and_what_is_tried(self) -> None:
        watched = Watched(8, labels={"target": 100})
        watched.looks(7, 60, 8.0)
        assert str(watched.look(60, 8.0).recommendation) == (
            "8 tasks a second arrive and 60 tasks wait, a replica does 1 → 10"
        )
        texts = [str(watched.look(0, 8.0).recommendation) for _ in range(14)]
        assert texts[0] == "8 tasks a second arrive, a replica does 1 → 8"
        assert "8 tasks a second arrive, a replica does 1 → 8, tried with 7" in texts

    def test_of_all_recommendations_the_largest_counts(self) -> None:
        keep_up = KeepUp(throughput=1.0)
        seen = situation(waiting=backlog(90, add_rate=4.0), keep_up=keep_up)
        assert recommend(seen)[1].code is ReasonCode.BACKLOG
        seen = situation(waiting=backlog(20, add_rate=4.0), keep_up=keep_up)
        assert recommend(seen)[0] == 4

    @pytest.mark.parametrize("keep_up", [KeepUp(), KeepUp(throughput=1.0)])
    def test_only_tasks_that_wait_wake_a_service_from_zero(self, keep_up: KeepUp) -> None:
        seen = situation(waiting=backlog(0, add_rate=9.0), replicas=0, min=0, keep_up=keep_up)
        assert decide(seen).desired == 0

    def test_max_is_never_exceeded(self) -> None:
        keep_up = KeepUp(throughput=0.001)
        seen = situation(waiting=backlog(1, add_rate=9.0), max=7, keep_up=keep_up)
        assert decide(seen).desired == 7


class TestTrust:
    def test_what_was_held_in_vain_is_back_at_the_plain_rule_within_two_minutes(self) -> None:
        watched = Watched(9, follow=True)
        watched.looks(7, 90, 9.0)
        numbers = [watched.look(0, 9.0).desired for _ in range(24)]
        assert numbers[0] == 9
        assert all(before >= after for before, after in itertools.pairwise(numbers))
        assert numbers[-1] == 1

    def test_a_trial_ends_as_soon_as_tasks_pile_up(self) -> None:
        watched = Watched(9, follow=True)
        watched.looks(7, 90, 9.0)
        while watched.look(0, 9.0).desired == 9:
            pass
        assert watched.replicas == 8
        assert watched.look(12, 9.0, 8.8).desired >= 9

    def test_replicas_that_were_seen_to_help_are_tried_less_often(self) -> None:
        watched = Watched(9, follow=True)
        watched.looks(7, 90, 9.0)
        quiet: list[int] = []
        for _ in range(2):
            looks = 0
            while watched.look(0, 9.0).desired == 9:
                looks += 1
            quiet.append(looks)
            watched.looks(2, 12, 9.0, 8.8)
        assert quiet[0] * LOOK >= FIRST_TRUST
        assert quiet[1] > 2 * quiet[0]

    def test_growth_that_brings_nothing_is_given_back_and_not_tried_again_for_a_while(self) -> None:
        """Tasks that nobody gets keep waiting, whatever is added for them."""
        watched = Watched(3, follow=True, labels={"target": 20})
        numbers = [watched.look(60, 5.0).desired for _ in range(40)]
        assert max(numbers) == 4
        assert numbers[-1] == 3
        looks = int(DOUBTED_FOR / LOOK) - 40
        assert {watched.look(60, 5.0).desired for _ in range(looks)} == {3}


class TestAskingForReports:
    def test_they_are_asked_for_while_replicas_are_held_for_the_arrivals(self) -> None:
        watched = Watched(4)
        watched.looks(7, 40, 4.0)
        watched.look(0, 4.0)
        watched.look(0, 4.0)
        assert wants_in_flight(watched.situation)

    def test_they_are_not_asked_for_a_service_that_its_backlog_holds(self) -> None:
        watched = Watched(4)
        watched.looks(9, 40, 4.0)
        assert not wants_in_flight(watched.situation)

    def test_they_are_not_asked_for_where_busy_is_ignored(self) -> None:
        watched = Watched(4, labels={"busy": Busy.IGNORE})
        watched.looks(7, 40, 4.0)
        watched.looks(2, 0, 4.0)
        assert not wants_in_flight(watched.situation)


RATES = st.sampled_from([0.0, 0.5, 5.0, 50.0, -1.0, 1e15, float("nan"), float("inf")])
ANSWERS = st.tuples(st.sampled_from([0, 1, 8, 50, 400]), RATES, RATES)


class TestAnySigns:
    @some
    @given(st.lists(st.none() | ANSWERS, min_size=1, max_size=30), st.booleans())
    def test_no_signs_lead_beyond_max_or_below_min(
        self,
        signs: list[tuple[int, float, float] | None],
        follow: bool,  # noqa: FBT001 - drawn
    ) -> None:
        watched = Watched(3, follow=follow, labels={"max": 12, "min": 2})
        for sign in signs:
            decision = watched.look(None) if sign is None else watched.look(*sign)
            assert 2 <= decision.desired <= 12
            learnt = watched.learnt
            assert learnt is None or 0 < learnt < 1e9

    @some
    @given(st.lists(st.tuples(st.integers(0, 400), RATES, RATES), min_size=1, max_size=30))
    def test_with_no_task_waiting_no_signs_ask_for_more_than_there_are(
        self, signs: list[tuple[int, float, float]]
    ) -> None:
        watched = Watched(6, labels={"max": 500})
        for sign in signs:
            watched.look(*sign)
        for _ in range(8):
            assert watched.look(0, signs[-1][1], signs[-1][2]).desired <= 6

    @some
    @given(st.lists(ANSWERS, max_size=30), st.sampled_from([0, 3, 20]))
    def test_whatever_was_seen_once_no_task_arrives_the_plain_rule_is_all(
        self, signs: list[tuple[int, float, float]], waiting: int
    ) -> None:
        watched = Watched(6, follow=True)
        for sign in signs:
            watched.look(*sign)
        watched.looks(2, waiting, 0.0)
        assert watched.looks(1, waiting, 0.0).desired == max(1, -(-waiting // 10))

"""The last step of a decision: no replica goes that is at work, or may be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoscaler.core.decide import decide
from autoscaler.core.in_flight import InFlight, UnknownInFlight, standings
from autoscaler.core.model import Ceiling, Replica
from autoscaler.core.protect import REPORT_WITHIN, choose_idle, choose_in_order
from autoscaler.core.reason import ReasonCode
from autoscaler.core.situation import Decision
from tests.fakes.clock import START as NOW
from tests.unit.builders import (
    HOUR,
    INSTANT,
    SECOND,
    codes,
    fleet,
    shrinking,
    silent_for,
)

FIXED_NAME = Ceiling(1, "container_name is set")


class TestProtect:
    """A scale-in stops idle replicas only."""

    @pytest.mark.parametrize(
        ("known", "wanted", "desired"),
        [
            pytest.param("iiiii", 1, 1, id="all-are-idle"),
            pytest.param("iiibb", 1, 2, id="busy-replicas-stay"),
            pytest.param("bbbbb", 1, 5, id="all-are-at-work"),
            pytest.param("iissb", 1, 3, id="silent-replicas-stay-while-others-report"),
            pytest.param("iiibb", 3, 3, id="no-more-go-than-the-decision-asks-for"),
            pytest.param("lliib", 1, 1, id="leaving-replicas-count-as-gone"),
            pytest.param("lllll", 3, 3, id="more-leave-than-the-decision-asks-for"),
            pytest.param("b", 0, 1, id="the-last-one-is-at-work"),
        ],
    )
    @pytest.mark.parametrize("busy", ["protect", "strict"])
    def test_only_idle_replicas_go(self, known: str, wanted: int, desired: int, busy: str) -> None:
        assert decide(shrinking(fleet(known), wanted, busy=busy)).desired == desired

    @pytest.mark.parametrize(
        ("known", "why"),
        [
            pytest.param("iib", "1 replica may not be stopped (1 at work) → 1", id="one-at-work"),
            pytest.param("iibb", "2 replicas may not be stopped (2 at work) → 2", id="two-at-work"),
            pytest.param(
                "iis", "1 replica may not be stopped (1 not reporting) → 1", id="one-silent"
            ),
            pytest.param(
                "bbsi",
                "3 replicas may not be stopped (2 at work, 1 not reporting) → 3",
                id="some-of-both",
            ),
        ],
    )
    def test_the_reason_says_how_many_stay_and_why(self, known: str, why: str) -> None:
        decision = decide(shrinking(fleet(known), 0))
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.BUSY]
        assert str(decision.reasons[-1]) == why

    def test_there_is_no_reason_where_enough_replicas_are_idle(self) -> None:
        assert codes(decide(shrinking(fleet("iibb"), 2))) == [ReasonCode.BACKLOG]

    def test_growth_and_rest_are_not_touched(self) -> None:
        grown = decide(shrinking(fleet("bbb"), 9))
        assert (grown.desired, codes(grown)) == (9, [ReasonCode.BACKLOG])
        at_rest = decide(shrinking(fleet("bbb"), 3))
        assert (at_rest.desired, codes(at_rest)) == (3, [ReasonCode.BACKLOG])

    @pytest.mark.parametrize(
        "in_flight",
        [
            pytest.param(fleet("bbbbb"), id="all-at-work"),
            pytest.param(fleet("sssss"), id="nobody-reports"),
            pytest.param(UnknownInFlight("no answer"), id="unknown"),
        ],
    )
    def test_with_busy_ignore_any_replica_may_go(
        self, in_flight: InFlight | UnknownInFlight
    ) -> None:
        decision = decide(shrinking(in_flight, 1, busy="ignore"))
        assert (decision.desired, codes(decision)) == (1, [ReasonCode.BACKLOG])

    @pytest.mark.parametrize("busy", ["protect", "strict"])
    def test_all_replicas_stay_where_it_is_unknown_what_is_in_flight(self, busy: str) -> None:
        decision = decide(shrinking(UnknownInFlight("no answer"), 1, busy=busy))
        assert decision.desired == 5
        assert str(decision.reasons[-1]) == "it is unknown what is in flight → keeps 5"

    def test_replicas_above_max_stay_while_they_are_at_work(self) -> None:
        decision = decide(shrinking(fleet("ibbbb"), 20, max=2))
        assert decision.desired == 4
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.MAX, ReasonCode.BUSY]

    def test_replicas_above_the_ceiling_stay_while_they_are_at_work(self) -> None:
        decision = decide(shrinking(fleet("ibb"), 20, ceiling=FIXED_NAME))
        assert codes(decision)[-2:] == [ReasonCode.CEILING, ReasonCode.BUSY]
        assert decision.desired == 2

    @pytest.mark.parametrize(("known", "desired"), [("bii", 1), ("iib", 1), ("iii", 0)])
    def test_a_change_under_way_has_not_stopped_yet_those_it_will_stop(
        self, known: str, desired: int
    ) -> None:
        """Three replicas are found, and a change leads to one of them."""
        under_way = replace(shrinking(fleet(known), 0), replicas=1, changing=True)
        assert decide(under_way).desired == desired

    def test_short_tasks_do_not_keep_all_replicas_for_ever(self) -> None:
        """Each look finds another replica at work, and the others go."""
        replicas = 10
        for at_work in (3, 0, 1, 0):
            known = "".join("b" if each == at_work else "i" for each in range(replicas))
            replicas = decide(shrinking(fleet(known), 1)).desired
        assert replicas == 1


class TestProtectWhereTheSchedulerChooses:
    """The Swarm itself chooses which tasks stop, turn after turn."""

    @pytest.mark.parametrize(
        ("known", "wanted", "desired"),
        [
            pytest.param("iiibb", 1, 2, id="idle-replicas-come-first"),
            pytest.param("bbiii", 1, 5, id="a-busy-replica-comes-first"),
            pytest.param("ibiii", 1, 4, id="only-up-to-the-busy-replica"),
            pytest.param("isiii", 1, 4, id="only-up-to-the-silent-replica"),
        ],
    )
    def test_only_the_idle_replicas_ahead_of_every_other_go(
        self, known: str, wanted: int, desired: int
    ) -> None:
        assert decide(shrinking(fleet(known, choosable=False), wanted)).desired == desired

    def test_the_reason_says_that_the_scheduler_chooses(self) -> None:
        decision = decide(shrinking(fleet("ibii", choosable=False), 0))
        assert str(decision.reasons[-1]) == (
            "1 replica may not be stopped (1 at work), and the scheduler would choose from them → 3"
        )

    def test_no_replica_of_a_turn_goes_while_one_in_it_is_busy(self) -> None:
        known = fleet("iib", one_turn=True, choosable=False)
        assert decide(shrinking(known, 1)).desired == 3


class TestNobodyReports:
    """With an older SDK or server, a scale-in goes on once it is sure that nobody will report."""

    @pytest.mark.parametrize(
        ("silent", "desired"),
        [
            pytest.param(timedelta(), 3, id="since-just-now"),
            pytest.param(REPORT_WITHIN - INSTANT, 3, id="just-less-than-a-heartbeat-takes"),
            pytest.param(REPORT_WITHIN, 1, id="exactly-as-long-as-a-heartbeat-takes"),
            pytest.param(HOUR, 1, id="for-long"),
        ],
    )
    def test_replicas_go_once_nobody_has_reported_for_the_longest_heartbeat_interval(
        self, silent: timedelta, desired: int
    ) -> None:
        assert decide(shrinking(fleet("sss"), 1, past=silent_for(silent))).desired == desired

    def test_until_then_the_reason_says_how_long_nobody_has_reported(self) -> None:
        decision = decide(shrinking(fleet("sss"), 1, past=silent_for(64 * SECOND)))
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.BUSY]
        assert str(decision.reasons[-1]) == ("no worker has reported for 1m4s of 1m5s → keeps 3")

    def test_the_time_starts_with_the_first_look(self) -> None:
        first = decide(shrinking(fleet("sss"), 1))
        assert first.desired == 3
        again = replace(shrinking(fleet("sss"), 1), history=first.history, now=NOW + REPORT_WITHIN)
        assert decide(again).desired == 1

    def test_one_report_ends_the_time_without_reports(self) -> None:
        seen = decide(shrinking(fleet("ssi"), 1, past=silent_for(HOUR)))
        assert seen.desired == 2
        assert seen.history.unreported_since is None

    def test_with_busy_strict_no_replica_ever_goes_without_a_report(self) -> None:
        decision = decide(shrinking(fleet("sss"), 1, past=silent_for(HOUR), busy="strict"))
        assert decision.desired == 3
        assert str(decision.reasons[-1]) == "no replica is known to be idle → keeps 3"

    @pytest.mark.parametrize(
        ("draining", "desired", "so"),
        [
            pytest.param(0, 4, "4", id="one-goes"),
            pytest.param(1, 5, "keeps 5", id="none-while-one-drains"),
        ],
    )
    def test_where_the_scheduler_chooses_one_replica_goes_at_a_time(
        self, draining: int, desired: int, so: str
    ) -> None:
        given = shrinking(fleet("sssss", choosable=False), 1, past=silent_for(HOUR))
        decision = decide(replace(given, draining=draining))
        assert decision.desired == desired
        assert str(decision.reasons[-1]) == (f"no worker reports, so one replica at a time → {so}")

    def test_there_is_no_reason_where_only_one_replica_is_to_go(self) -> None:
        given = shrinking(fleet("ss", choosable=False), 1, past=silent_for(HOUR))
        assert codes(decide(given)) == [ReasonCode.BACKLOG]

    @pytest.mark.parametrize("busy", ["protect", "strict"])
    def test_replicas_that_have_not_started_go_at_once(self, busy: str) -> None:
        """The Swarm may find no node for a task, which then never starts."""
        waiting = tuple(
            Replica(f"t{number}", None, choosable=False, started=False) for number in range(4)
        )
        decision = decide(shrinking(InFlight(waiting, ()), 1, busy=busy))
        assert (decision.desired, codes(decision)) == (1, [ReasonCode.BACKLOG])
        assert decision.history.unreported_since is None

    def test_one_started_replica_among_them_keeps_them_all(self) -> None:
        waiting = (Replica("t1", None, choosable=False, started=False), Replica("t2", "t2", 1))
        decision = decide(shrinking(InFlight(waiting, ()), 0))
        assert decision.desired == 2
        assert decision.history.unreported_since == NOW

    def test_a_service_whose_replicas_were_not_found_keeps_them(self) -> None:
        found = InFlight((), ())
        decision = decide(replace(shrinking(fleet("sss"), 1), in_flight=found))
        assert decision.desired == 3
        assert decision.history.unreported_since is None


class TestInUse:
    """A replica that another container uses something of stays."""

    USED = ("r3 by proxy",)

    def used(self, known: str, wanted: int = 0, **spec: str) -> Decision:
        """Decide where r3 is in use by another container."""
        seen = fleet(known)
        marked = tuple(replace(each, in_use=each.id == "r3") for each in seen.replicas)
        given = shrinking(replace(seen, replicas=marked), wanted, **spec)
        return decide(replace(given, in_use=self.USED))

    @pytest.mark.parametrize("busy", ["protect", "ignore"])
    def test_the_others_go_and_the_reason_names_both(self, busy: str) -> None:
        decision = self.used("iii", busy=busy)
        assert (decision.desired, codes(decision)[-1]) == (1, ReasonCode.BUSY)
        assert "(r3 by proxy) → 1" in str(decision.reasons[-1])

    def test_so_it_is_where_another_one_is_at_work(self) -> None:
        decision = self.used("iib"[::-1])
        assert decision.desired == 2
        assert "(1 at work, 1 in use by other containers) → 2" in str(decision.reasons[-1])

    def test_it_is_no_reason_where_enough_others_may_go(self) -> None:
        assert codes(self.used("iii", 1)) == [ReasonCode.BACKLOG]

    def test_it_is_chosen_neither_in_turn_nor_by_name(self) -> None:
        seen = fleet("iii")
        marked = [replace(each, in_use=each.id == "r1") for each in seen.replicas]
        chosen = choose_idle(marked, standings(seen, NOW), 3)
        assert [each.id for each in chosen.replicas] == ["r2", "r3"]
        assert [each.id for each in choose_in_order(marked, 3).replicas] == ["r2", "r3"]

"""What workers report of the tasks they run, and what that says of each replica."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from autoscaler.core.in_flight import (
    HEARTBEAT_SLACK,
    LONGEST_HEARTBEAT,
    InFlight,
    SlotKind,
    Slots,
    Standing,
    UnknownInFlight,
    Worker,
    busy_replicas,
    observe_crews,
    reporting,
    standings,
)
from autoscaler.core.model import Replica
from tests.fakes.clock import START as NOW
from tests.unit.builders import (
    HOUR,
    INSTANT,
    MINUTE,
    OUTDATED,
    SECOND,
    fleet,
    worker,
)

IDLE, BUSY, SILENT, LEAVING = Standing


def standing(*workers: Worker, host: str | None = "r1") -> Standing:
    """Judge the only replica there is."""
    return standings(InFlight((Replica("r1", host),), workers), NOW)["r1"]


def judged(replicas: Sequence[Replica], *workers: Worker) -> list[Standing]:
    """Judge several replicas, in their order."""
    known = standings(InFlight(tuple(replicas), workers), NOW)
    return [known[replica.id] for replica in replicas]


AT_ITS_START = worker(interval=timedelta(), began=NOW)
"""A heartbeat that was sent before the worker took any task."""


class TestWorker:
    """One worker, by its latest heartbeat."""

    ALL_KINDS = worker(
        slots={
            SlotKind.WORKFLOW: Slots(used=100, free=900, processed=10_000),
            SlotKind.ACTIVITY: Slots(used=4, free=1, processed=40),
            SlotKind.LOCAL_ACTIVITY: Slots(used=2, free=1, processed=20),
            SlotKind.NEXUS: Slots(used=1, free=1, processed=10),
        }
    )

    def test_all_tasks_but_workflows_count_as_running(self) -> None:
        assert self.ALL_KINDS.running == 7
        assert worker(slots={SlotKind.WORKFLOW: Slots(used=100)}).running == 0
        assert worker(slots={}).running == 0

    def test_all_tasks_but_workflows_count_as_processed(self) -> None:
        assert self.ALL_KINDS.processed == 70

    @pytest.mark.parametrize(
        ("interval", "lasts"),
        [
            pytest.param(timedelta(), LONGEST_HEARTBEAT, id="the-first-names-no-interval"),
            pytest.param(SECOND, SECOND, id="every-second"),
            pytest.param(MINUTE, MINUTE, id="every-minute"),
        ],
    )
    def test_a_heartbeat_is_fresh_until_the_next_is_overdue(
        self, interval: timedelta, lasts: timedelta
    ) -> None:
        heard = worker(interval=interval)
        due = NOW + lasts + HEARTBEAT_SLACK
        assert heard.fresh(NOW)
        assert heard.fresh(due)
        assert not heard.fresh(due + INSTANT)

    def test_a_heartbeat_from_a_clock_ahead_of_ours_is_fresh(self) -> None:
        assert worker(interval=SECOND).fresh(NOW - HOUR)


class TestStandings:
    @pytest.mark.parametrize(
        ("reports", "known"),
        [
            pytest.param([worker()], IDLE, id="reports-nothing-running"),
            pytest.param([worker(running=1)], BUSY, id="reports-a-task"),
            pytest.param([], SILENT, id="does-not-report"),
            pytest.param([worker("r2")], SILENT, id="another-one-reports"),
            pytest.param([AT_ITS_START], SILENT, id="reports-that-it-has-begun"),
            pytest.param(
                [replace(AT_ITS_START, interval=SECOND)], IDLE, id="reports-for-the-second-time"
            ),
            pytest.param([replace(AT_ITS_START, began=None)], IDLE, id="hides-when-it-began"),
            pytest.param([worker(leaving=True)], LEAVING, id="was-told-to-stop"),
            pytest.param([worker(leaving=True, running=1)], LEAVING, id="finishes-what-it-runs"),
        ],
    )
    def test_the_latest_heartbeat_counts(self, reports: list[Worker], known: Standing) -> None:
        assert standing(*reports) is known

    @pytest.mark.parametrize(
        ("kind", "known"),
        [
            (SlotKind.WORKFLOW, IDLE),
            (SlotKind.ACTIVITY, BUSY),
            (SlotKind.LOCAL_ACTIVITY, BUSY),
            (SlotKind.NEXUS, BUSY),
        ],
    )
    def test_a_replica_with_cached_workflows_alone_is_idle(
        self, kind: SlotKind, known: Standing
    ) -> None:
        assert standing(worker(slots={kind: Slots(used=1)})) is known

    @pytest.mark.parametrize(
        ("age", "interval", "known"),
        [
            pytest.param(10 * SECOND + HEARTBEAT_SLACK, 10 * SECOND, IDLE, id="just-in-time"),
            pytest.param(
                10 * SECOND + HEARTBEAT_SLACK + INSTANT, 10 * SECOND, SILENT, id="overdue"
            ),
            pytest.param(
                LONGEST_HEARTBEAT + HEARTBEAT_SLACK, timedelta(), IDLE, id="the-first-in-time"
            ),
            pytest.param(
                LONGEST_HEARTBEAT + HEARTBEAT_SLACK + INSTANT,
                timedelta(),
                SILENT,
                id="the-first-overdue",
            ),
            pytest.param(-5 * SECOND, SECOND, IDLE, id="a-clock-ahead-of-ours"),
        ],
    )
    def test_an_idle_report_counts_until_the_next_one_is_overdue(
        self, age: timedelta, interval: timedelta, known: Standing
    ) -> None:
        assert standing(worker(age=age, interval=interval)) is known

    def test_a_busy_report_counts_however_old_it_is(self) -> None:
        assert standing(worker(running=1, age=OUTDATED)) is BUSY

    def test_an_outdated_report_of_leaving_does_not_count(self) -> None:
        assert standing(worker(leaving=True, age=OUTDATED)) is SILENT
        assert standing(worker(leaving=True, running=1, age=OUTDATED)) is BUSY

    def test_a_replica_that_has_not_started_is_idle(self) -> None:
        starting = Replica("r1", None, started=False)
        assert judged([starting]) == [IDLE]
        assert judged([starting], worker("elsewhere", running=1)) == [IDLE]


class TestSeveralWorkersOfOneReplica:
    """A process may run a worker for each of its task queues."""

    def test_one_busy_worker_makes_the_replica_busy(self) -> None:
        assert standing(worker(instance="a"), worker(instance="b", running=1)) is BUSY

    def test_one_busy_worker_makes_it_busy_while_another_leaves(self) -> None:
        assert standing(worker(leaving=True), worker(running=1)) is BUSY

    def test_the_replica_leaves_when_all_its_workers_do(self) -> None:
        assert standing(worker(leaving=True), worker(leaving=True)) is LEAVING
        assert standing(worker(leaving=True), worker()) is IDLE
        assert standing(worker(leaving=True, running=1), worker()) is BUSY

    def test_the_last_report_from_before_a_restart_does_not_make_it_silent(self) -> None:
        assert standing(worker(instance="before", age=OUTDATED), worker(instance="now")) is IDLE


def process(id_: str, *, age: timedelta = timedelta(), began: int = 60, **rest: Any) -> Worker:
    """Describe the worker of a process on host r1 that began some minutes ago."""
    return worker("r1", instance=id_, process=id_, age=age, began=NOW - began * MINUTE, **rest)


class TestSeveralProcessesOfOneReplica:
    """As many have to report as are known to have run at the same time."""

    def test_where_all_report_no_task_the_replica_is_idle(self) -> None:
        assert standing(process("7"), process("8")) is IDLE
        assert standing(process("7"), process("8", running=1)) is BUSY

    def test_one_that_no_longer_reports_may_be_at_work(self) -> None:
        assert standing(process("7"), process("8", age=MINUTE)) is SILENT

    def test_one_that_said_that_it_shuts_down_is_not_missed(self) -> None:
        assert standing(process("7"), process("8", age=MINUTE, leaving=True)) is IDLE

    def test_the_replica_does_not_leave_while_one_of_them_is_missing(self) -> None:
        assert standing(process("7", leaving=True), process("8", age=MINUTE)) is SILENT
        assert standing(process("7", leaving=True), process("8", leaving=True)) is LEAVING

    def test_one_that_was_started_again_is_not_missed(self) -> None:
        before = process("7", age=2 * MINUTE)
        assert standing(before, process("8", began=1)) is IDLE
        assert standing(process("6"), before, process("8", began=1)) is IDLE

    def test_a_process_that_does_not_say_when_it_began_may_run_beside_the_others(self) -> None:
        assert standing(process("7", age=MINUTE), replace(process("8"), began=None)) is SILENT

    def test_a_report_without_a_time_is_never_fresh(self) -> None:
        assert standing(process("7"), replace(process("8"), at=None)) is SILENT
        assert standing(replace(process("8"), at=None)) is SILENT

    def test_several_workers_of_one_process_count_once(self) -> None:
        second = replace(process("7"), instance="second", at=NOW - HOUR)
        assert standing(process("7"), second) is IDLE

    def test_hosts_that_replicas_share_have_no_crew(self) -> None:
        sharing = InFlight((Replica("a", "r1"), Replica("b", "r1")), (process("7"), process("8")))
        assert observe_crews(sharing, {}) == {}

    def test_a_crew_is_known_from_earlier_looks(self) -> None:
        replica = (Replica("r1", "r1"),)
        crews = observe_crews(InFlight(replica, (process("7"), process("8"))), {})
        assert crews == {"r1": frozenset({"7", "8"})}
        forgotten = InFlight(replica, (process("7"),))
        assert observe_crews(forgotten, crews) == crews
        assert standings(forgotten, NOW, crews) == {"r1": SILENT}
        assert standings(forgotten, NOW) == {"r1": IDLE}

    def test_a_crew_goes_with_its_container(self) -> None:
        moved = InFlight((Replica("r2", "r2"),), (worker("r2"),))
        assert observe_crews(moved, {"r1": frozenset("78")}) == {}

    def test_a_crew_shrinks_when_one_of_them_shuts_down(self) -> None:
        crews = {"r1": frozenset({"7", "8"})}
        replica = (Replica("r1", "r1"),)
        left = InFlight(replica, (process("7"), process("8", leaving=True)))
        crews = observe_crews(left, crews)
        assert crews == {"r1": frozenset({"7"})}
        alone = InFlight(replica, (process("8", leaving=True),))
        assert standings(alone, NOW, crews) == {"r1": SILENT}

    def test_the_replica_leaves_where_the_only_process_was_started_again(self) -> None:
        again = process("8", began=1, leaving=True)
        assert standing(process("7", age=2 * MINUTE), again) is LEAVING


class TestWorkersThatDoNotTell:
    """A worker that says of no kind of slot how it is used may run anything."""

    def test_it_is_not_idle(self) -> None:
        assert standing(worker(slots={}, tells=False)) is SILENT
        assert standing(worker(), worker(instance="b", slots={}, tells=False)) is SILENT

    def test_it_leaves_like_any_other(self) -> None:
        assert standing(worker(slots={}, tells=False, leaving=True)) is LEAVING

    def test_it_does_not_count_as_reporting(self) -> None:
        heard = InFlight((Replica("r1", "r1"),), (worker(slots={}, tells=False),))
        assert reporting(heard, NOW) == 0


class TestSharedHosts:
    """With one host name for all (set by hand, or the host's network) replicas look the same."""

    TWINS = (Replica("r1", "box"), Replica("r2", "box"))

    def test_one_busy_worker_makes_all_replicas_busy(self) -> None:
        assert judged(self.TWINS, worker("box"), worker("box", running=1)) == [BUSY, BUSY]

    def test_all_replicas_are_idle_when_as_many_workers_report_no_task(self) -> None:
        assert judged(self.TWINS, worker("box"), worker("box")) == [IDLE, IDLE]

    def test_one_missing_report_makes_all_replicas_silent(self) -> None:
        assert judged(self.TWINS, worker("box")) == [SILENT, SILENT]

    def test_an_outdated_report_does_not_replace_a_missing_one(self) -> None:
        assert judged(self.TWINS, worker("box"), worker("box", age=OUTDATED)) == [SILENT, SILENT]

    def test_a_replica_with_a_host_of_its_own_is_judged_alone(self) -> None:
        replicas = (*self.TWINS, Replica("r3", "r3"))
        assert judged(replicas, worker("box", running=1), worker("r3")) == [BUSY, BUSY, IDLE]


class TestUnknownHosts:
    """A replica without a known host is judged by the workers that match no other replica."""

    PAIR = (Replica("r1", None), Replica("r2", "r2"))

    def test_a_worker_that_matches_no_replica_counts(self) -> None:
        assert judged(self.PAIR, worker("box", running=1), worker("r2")) == [BUSY, IDLE]
        assert judged(self.PAIR, worker("box"), worker("r2")) == [IDLE, IDLE]

    def test_a_worker_of_another_replica_does_not_count(self) -> None:
        assert judged(self.PAIR, worker("r2", running=1)) == [SILENT, BUSY]

    def test_a_worker_that_matches_no_replica_says_nothing_of_those_with_a_host(self) -> None:
        assert judged([Replica("r1", "r1")], worker("gone", running=1), worker("r1")) == [IDLE]

    def test_replicas_without_a_host_share_the_reports(self) -> None:
        both = (Replica("r1", None), Replica("r2", None))
        assert judged(both, worker("x")) == [SILENT, SILENT]
        assert judged(both, worker("x"), worker("y")) == [IDLE, IDLE]
        assert judged(both, worker("x"), worker("y", running=1)) == [BUSY, BUSY]

    def test_no_report_is_expected_of_a_replica_that_has_not_started(self) -> None:
        replicas = (Replica("r1", None), Replica("r2", None, started=False))
        assert judged(replicas, worker("x")) == [IDLE, IDLE]


class TestReporting:
    """Replicas whose workers report count, for slots-target."""

    @pytest.mark.parametrize(
        ("known", "count"),
        [
            pytest.param("ibi", 3, id="idle-and-busy-replicas-report"),
            pytest.param("isb", 2, id="a-silent-replica-does-not"),
            pytest.param("ilb", 2, id="a-leaving-replica-does-not-count"),
            pytest.param("sss", 0, id="no-replica-reports"),
        ],
    )
    def test_replicas_with_a_fresh_report_that_is_not_their_last_count(
        self, known: str, count: int
    ) -> None:
        assert reporting(fleet(known), NOW) == count

    def test_an_overdue_report_does_not_count(self) -> None:
        heard = InFlight((Replica("r1", "r1"),), (worker("r1", age=OUTDATED),))
        assert reporting(heard, NOW) == 0

    def test_several_workers_of_one_replica_count_once(self) -> None:
        heard = InFlight((Replica("r1", "r1"),), (worker("r1"), worker("r1")))
        assert reporting(heard, NOW) == 1

    def test_replicas_that_share_a_host_count_as_far_as_there_are_reports(self) -> None:
        sharing = tuple(Replica(f"r{number}", "box") for number in range(3))
        assert reporting(InFlight(sharing, (worker("box"), worker("box"))), NOW) == 2


class TestBusyReplicas:
    def test_those_seen_at_work_count(self) -> None:
        assert busy_replicas(fleet("bibsl"), NOW) == 2
        assert busy_replicas(fleet("iil"), NOW) == 0

    @pytest.mark.parametrize(
        "in_flight",
        [
            pytest.param(None, id="nobody-looked"),
            pytest.param(UnknownInFlight("no answer"), id="it-could-not-be-read"),
            pytest.param(fleet("sss"), id="no-worker-reports"),
        ],
    )
    def test_without_a_report_the_number_is_unknown_and_never_zero(
        self, in_flight: InFlight | UnknownInFlight | None
    ) -> None:
        assert busy_replicas(in_flight, NOW) is None


class TestUnreported:
    @pytest.mark.parametrize(
        ("in_flight", "unreported"),
        [
            pytest.param(fleet("ss"), True, id="started-replicas-without-a-report"),
            pytest.param(fleet("si"), False, id="one-report"),
            pytest.param(InFlight((), ()), True, id="no-replica-was-found"),
            pytest.param(
                InFlight((Replica("r1", None, started=False),), ()), False, id="none-has-started"
            ),
        ],
    )
    def test_a_report_is_missing_where_a_started_replica_could_send_one(
        self, in_flight: InFlight, *, unreported: bool
    ) -> None:
        assert in_flight.unreported is unreported

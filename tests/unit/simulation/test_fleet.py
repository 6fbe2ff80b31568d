"""The replicas of a simulation: who stops first, what they cost, and what their workers report."""

from __future__ import annotations

from autoscaler.simulation.fleet import Fleet, Heartbeat, SimulatedReplica


class TestFleet:
    def test_it_begins_with_replicas_that_are_ready(self) -> None:
        fleet = Fleet(2)
        assert (len(fleet.staying), fleet.ready(0)) == (2, 2)

    def test_a_new_replica_is_ready_after_its_startup(self) -> None:
        fleet = Fleet(1)
        assert len(fleet.grow(3, now=10, startup=5)) == 2
        assert [fleet.ready(at) for at in (14.9, 15)] == [1, 3]

    def test_replicas_that_are_starting_stop_before_ready_ones(self) -> None:
        fleet = Fleet(1)
        starting = fleet.grow(2, now=0, startup=5)
        assert fleet.shrink(1, now=2) == starting

    def test_idle_replicas_stop_before_busy_ones(self) -> None:
        fleet = Fleet(3)
        fleet.staying[0].busy, fleet.staying[2].busy = 1, 2
        idle = fleet.staying[1]
        assert fleet.shrink(2, now=1) == [idle]

    def test_of_equally_busy_replicas_the_newest_stops(self) -> None:
        fleet = Fleet(1)
        (newer,) = fleet.grow(2, now=1, startup=0)
        assert fleet.shrink(1, now=5) == [newer]

    def test_replicas_can_be_stopped_by_name(self) -> None:
        fleet = Fleet(3)
        oldest = fleet.staying[0]
        assert fleet.stop([oldest.name], now=1) == [oldest]
        assert oldest not in fleet.staying

    def test_a_replica_that_finishes_its_tasks_is_draining(self) -> None:
        fleet = Fleet(2)
        replica = fleet.staying[0]
        replica.take(1, now=0)
        fleet.stop([replica.name], now=1)
        assert fleet.draining == 1
        replica.finish(1, now=2)
        fleet.settle(replica, now=2)
        assert fleet.draining == 0

    def test_a_replica_costs_until_it_has_finished_its_tasks(self) -> None:
        fleet = Fleet(1)
        (replica,) = fleet.staying
        replica.busy = 1
        fleet.shrink(0, now=10)
        assert fleet.seconds(15) == 15
        replica.busy = 0
        fleet.settle(replica, now=20)
        assert fleet.seconds(30) == 20

    def test_the_peak_stays_when_replicas_go(self) -> None:
        fleet = Fleet(1)
        fleet.grow(7, now=1, startup=0)
        fleet.shrink(2, now=2)
        assert fleet.peak == 7


class TestHeartbeat:
    """A worker that is ready at second 5 reports at 5, 65, 125 and so on."""

    def replica(self, heartbeat: float = 60.0) -> SimulatedReplica:
        return SimulatedReplica("worker-1", since=2, ready_at=5, heartbeat=heartbeat)

    def test_a_worker_first_reports_when_it_is_ready(self) -> None:
        replica = self.replica()
        assert replica.reported(4.9) is None
        assert replica.reported(5) == Heartbeat(5, busy=0, done=0)

    def test_a_report_says_what_ran_when_it_was_sent(self) -> None:
        replica = self.replica()
        replica.take(2, now=10)
        replica.finish(1, now=64)
        assert replica.reported(64.9) == Heartbeat(5, busy=0, done=0)
        assert replica.reported(65) == Heartbeat(65, busy=1, done=1)

    def test_what_changes_after_a_report_shows_in_the_next(self) -> None:
        replica = self.replica()
        replica.take(1, now=10)
        # Nobody asked at second 65, and the task is gone when somebody does.
        replica.finish(1, now=70)
        assert replica.reported(124) == Heartbeat(65, busy=1, done=0)
        assert replica.reported(125) == Heartbeat(125, busy=0, done=1)

    def test_what_changes_at_the_moment_of_a_report_is_not_in_it(self) -> None:
        replica = self.replica()
        replica.take(1, now=65)
        assert replica.reported(65) == Heartbeat(65, busy=0, done=0)

    def test_a_worker_without_heartbeats_never_reports(self) -> None:
        replica = self.replica(heartbeat=0)
        replica.take(1, now=10)
        assert replica.reported(1000) is None

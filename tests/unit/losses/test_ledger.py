"""Second attempts are counted, and each is put down to whoever caused it."""

from __future__ import annotations

from collections.abc import Collection

from tests.losses.columns import PYTHON, Column, OnSignal
from tests.losses.ledger import Begun, Cause, Event, Loss, Row, Task, count

COLUMN = Column("py", PYTHON, OnSignal.FINISHES, heartbeat=5, grace=10)
ENDS_AT_ONCE = Column("ends", PYTHON, OnSignal.ENDS, heartbeat=5, grace=10)

Events = Collection[Event]


def told(host: str, at: float) -> Event:
    return Event(host, "py", "kill", at, "15")


def died(host: str, at: float, code: int = 137) -> Event:
    return Event(host, "py", "die", at, str(code))


def tried_twice(
    *events: Event, crashed: Collection[str] = (), column: Column = COLUMN, seconds: float = 30
) -> Row:
    """Count a task that began on host `a` at 100 and again on host `b` at 200."""
    begun = [Begun("py-1", "b", 200), Begun("py-1", "a", 100)]
    return count(column, [Task("py-1", seconds, 2)], begun, events, crashed, [104.0])


def only(row: Row) -> Loss:
    (loss,) = row.losses
    return loss


def test_a_task_that_was_done_at_once_is_no_loss() -> None:
    row = count(COLUMN, [Task("py-1", 3, 1)], [Begun("py-1", "a", 100)], [told("a", 101)], (), [])

    assert (row.done, row.unfinished, row.stopped, row.losses) == (1, 0, 1, [])


class TestWhoCausedIt:
    def test_a_worker_that_was_told_to_stop_has_lost_it_by_a_scale_in(self) -> None:
        row = tried_twice(told("a", 104), Event("a", "py", "kill", 114, "9"), died("a", 114))

        assert only(row).cause is Cause.SCALE_IN
        assert row.by_scale_in == 1
        assert row.by_others == {}

    def test_a_worker_that_this_program_killed_has_crashed(self) -> None:
        row = tried_twice(died("a", 104), crashed={"a"})

        assert only(row).cause is Cause.CRASH
        assert row.by_scale_in == 0
        assert row.by_others == {Cause.CRASH: 1}

    def test_whoever_came_first_has_caused_it(self) -> None:
        stopped_first = tried_twice(told("a", 104), died("a", 105), crashed={"a"})
        crashed_first = tried_twice(died("a", 104), told("a", 105), crashed={"a"})

        assert only(stopped_first).cause is Cause.SCALE_IN
        assert only(crashed_first).cause is Cause.CRASH

    def test_a_worker_without_memory(self) -> None:
        assert only(tried_twice(Event("a", "py", "oom", 104), died("a", 104))).cause is Cause.MEMORY

    def test_a_worker_that_nobody_stopped_has_ended_by_itself(self) -> None:
        assert only(tried_twice(died("a", 104, code=1))).cause is Cause.EXIT

    def test_a_worker_that_runs_on_took_too_long(self) -> None:
        assert only(tried_twice()).cause is Cause.LATE

    def test_what_happened_after_the_next_attempt_did_not_cause_it(self) -> None:
        assert only(tried_twice(told("a", 201), died("a", 202))).cause is Cause.LATE

    def test_what_happened_to_other_containers_did_not_cause_it(self) -> None:
        assert only(tried_twice(told("c", 104), died("c", 105))).cause is Cause.LATE

    def test_a_task_that_was_done_before_its_worker_was_told_to_stop_was_not_interrupted(
        self,
    ) -> None:
        begun = [Begun("py-1", "a", 100, ended=103), Begun("py-1", "b", 200)]
        row = count(COLUMN, [Task("py-1", 3, 2)], begun, [told("a", 104)], (), [])

        assert only(row).cause is Cause.UNHEARD

    def test_a_signal_that_a_worker_ignores_has_ended_nothing_while_it_runs_on(self) -> None:
        column = Column("ignores", PYTHON, OnSignal.IGNORES, heartbeat=5, grace=30)

        assert only(tried_twice(told("a", 104), column=column)).cause is Cause.LATE
        killed = tried_twice(told("a", 104), died("a", 134), column=column)
        assert only(killed).cause is Cause.SCALE_IN

    def test_a_workflow_task_that_temporal_gave_up_while_its_worker_ran_on(self) -> None:
        def cause(given_up: float, *events: Event) -> Cause:
            begun = [Begun("py-1", "a", 100), Begun("py-1", "b", 200)]
            task = Task("py-1", 120, 1, timed_out=[given_up])
            return only(count(COLUMN, [task], begun, [told("a", 104), *events], (), [104.0])).cause

        assert cause(150) is Cause.LATE
        assert cause(150, died("a", 160, 0)) is Cause.LATE
        # A worker that was gone by then cannot have told of its task.
        assert cause(150, died("a", 114)) is Cause.SCALE_IN
        # An older attempt was given up, or the next one.
        assert cause(90, died("a", 114)) is Cause.SCALE_IN
        assert cause(210) is Cause.SCALE_IN

    def test_what_happened_before_a_container_was_started_again_did_not_cause_it(self) -> None:
        earlier = [told("a", 10), died("a", 11, 0), Event("a", "py", "start", 50)]

        assert only(tried_twice(*earlier)).cause is Cause.LATE
        row = tried_twice(*earlier, told("a", 104), died("a", 114))
        assert only(row).cause is Cause.SCALE_IN
        assert only(row).words.endswith("kill 15 at +4.0 s, die 137 at +14.0 s")
        assert row.stopped == 2

    def test_a_container_that_was_started_again_has_ended_all_the_same(self) -> None:
        again = [Event("a", "py", "start", 150), told("a", 400)]

        assert only(tried_twice(told("a", 104), died("a", 114), *again)).cause is Cause.SCALE_IN
        assert only(tried_twice(*again)).cause is Cause.LATE

    def test_an_attempt_of_the_history_that_no_worker_began(self) -> None:
        begun = [Begun("py-1", "b", 200)]
        row = count(COLUMN, [Task("py-1", 3, 2)], begun, [told("a", 104)], (), [])

        assert only(row).cause is Cause.NEVER_BEGUN
        assert row.by_scale_in == 0

    def test_a_local_activity_has_no_attempts_in_the_history(self) -> None:
        begun = [Begun("py-1", "a", 100), Begun("py-1", "b", 200)]
        row = count(COLUMN, [Task("py-1", 30, 1)], begun, [told("a", 104)], (), [])

        assert only(row).cause is Cause.SCALE_IN

    def test_each_of_several_attempts_has_its_own_cause(self) -> None:
        begun = [Begun("py-1", host, at) for host, at in (("a", 100), ("b", 200), ("c", 300))]
        events = [told("a", 104), died("b", 204)]
        row = count(COLUMN, [Task("py-1", 30, 3)], begun, events, {"b"}, [])

        assert [loss.cause for loss in row.losses] == [Cause.SCALE_IN, Cause.CRASH]


class TestWhatBreaksThePromise:
    def test_any_task_where_none_may_be_lost(self) -> None:
        assert only(tried_twice(told("a", 100.1))).broken

    def test_never_a_loss_by_others(self) -> None:
        assert not only(tried_twice(died("a", 104), crashed={"a"})).broken

    def test_only_a_reported_task_of_a_worker_that_ends_at_once(self) -> None:
        young = tried_twice(told("a", 104), column=ENDS_AT_ONCE)
        old = tried_twice(told("a", 111), column=ENDS_AT_ONCE)

        assert not only(young).broken
        assert only(old).broken
        assert (len(young.broken), len(old.broken)) == (0, 1)

    def test_what_a_worker_took_after_its_stop_signal_had_not_run_at_all(self) -> None:
        column = Column("off", PYTHON, OnSignal.IGNORES, heartbeat=0, grace=30)
        long = tried_twice(told("a", 90), died("a", 120), column=column, seconds=30)
        short = tried_twice(told("a", 90), died("a", 120), column=column, seconds=5)

        assert not only(long).broken
        assert only(short).broken


def test_the_words_tell_what_happened_and_when() -> None:
    row = tried_twice(told("a", 104), Event("a", "py", "kill", 114, "9"), died("a", 114.5))

    assert only(row).words == (
        "py-1 of 30 s on a: by a scale-in, kill 15 at +4.0 s, kill 9 at +14.0 s, die 137 at +14.5 s"
    )


def test_the_words_say_when_the_daemon_has_not_told_of_a_stop() -> None:
    assert only(tried_twice(told("a", 190))).words.endswith(
        "no line of the daemon's log tells of it"
    )


def test_a_task_that_was_not_done_is_counted_and_not_taken_for_done() -> None:
    row = count(COLUMN, [Task("py-1", 3, None)], [Begun("py-1", "a", 100)], [], (), [])

    assert (row.done, row.unfinished, row.losses) == (0, 1, [])


def test_a_replica_that_was_sent_two_signals_is_stopped_once() -> None:
    events = [told("a", 104), Event("a", "py", "kill", 114, "9"), died("a", 114), died("b", 120, 0)]

    assert count(COLUMN, [], [], events, (), [104.0, 300.0]).stopped == 1
    assert count(COLUMN, [], [], events, (), [104.0, 300.0]).scale_ins == 2

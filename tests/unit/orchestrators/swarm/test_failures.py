"""Why a Swarm service has fewer tasks than it should, and who brought it to zero."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from autoscaler.core.model import EndedBy, Ending
from autoscaler.orchestrators.swarm.failures import RECENT, Failures, Zero, replicas_of, stuck
from tests.fakes.clock import START
from tests.unit.orchestrators.swarm.rows import task

NAME = "shop_worker"
SEE = "see `docker service ps --no-trunc shop_worker`"
BY_HAND = Ending(EndedBy.HAND, seen=True)


class TestStuck:
    @pytest.mark.parametrize(
        "tasks",
        [
            pytest.param([], id="no-tasks"),
            pytest.param([task("running"), task("starting")], id="coming-up"),
            pytest.param([task("pending")], id="waiting-for-the-scheduler"),
            pytest.param(
                [task("pending", desired="shutdown", Err="no suitable node")],
                id="not-wanted-any-more",
            ),
        ],
    )
    def test_tasks_that_come_up_speak_against_nothing(self, tasks: list[Any]) -> None:
        assert stuck(tasks) is None

    def test_a_task_that_finds_no_place_speaks_against_more(self) -> None:
        tasks = [task("running"), task("pending", Err="no suitable node")]
        assert stuck(tasks) == "a task cannot be placed (no suitable node)"


def restarted(*failed: Any) -> list[Any]:
    """Return failed tasks of one slot, and the one that the Swarm has started since."""
    return [*failed, task("running", id="t9")]


class TestFailures:
    @pytest.mark.parametrize(
        "tasks",
        [
            pytest.param([], id="no-tasks"),
            pytest.param([task("running"), task("pending")], id="coming-up"),
            pytest.param(restarted(task("shutdown", desired="shutdown")), id="ended-as-asked"),
            pytest.param(restarted(task("failed", desired="shutdown", age=RECENT)), id="long-ago"),
        ],
    )
    def test_nothing_has_failed(self, tasks: list[Any]) -> None:
        assert Failures().look(NAME, tasks, START) == (None, 0)

    def test_growth_waits_for_a_minute_after_a_task_has_failed(self) -> None:
        age = timedelta(seconds=20)
        failed = task("failed", desired="shutdown", age=age, Err="task: non-zero exit (3)")
        story = (
            "a task ended by itself (task: non-zero exit (3)), and the Swarm starts another; " + SEE
        )
        ending = Ending(EndedBy.ITSELF, seen=True, story=story, retry_at=START - age + RECENT)
        assert Failures().look(NAME, restarted(failed), START) == (ending, 1)

    def test_the_latest_failure_is_told(self) -> None:
        older = task("failed", id="t1", desired="shutdown", age=timedelta(seconds=9), Err="older")
        newer = task("rejected", id="t2", desired="shutdown", Message="no such image")
        ending, failed = Failures().look(NAME, restarted(older, newer), START)
        assert ending is not None
        assert "(no such image)" in ending.story
        assert failed == 2

    def test_a_failure_by_a_clock_ahead_of_ours_was_just_now(self) -> None:
        ahead = task("failed", desired="shutdown", age=-timedelta(seconds=5), Err="exit code 1")
        ending, _ = Failures().look(NAME, restarted(ahead), START)
        assert ending is not None
        assert ending.retry_at == START + RECENT

    @pytest.mark.parametrize("state", ["failed", "rejected", "complete"])
    def test_a_task_that_the_swarm_does_not_start_again_is_told_for_as_long_as_it_is_down(
        self, state: str
    ) -> None:
        down = task(state, slot=2, desired="shutdown", age=timedelta(hours=3), Err="exit code 3")
        ending, _ = Failures().look(NAME, [task("running", slot=1), down], START)
        story = "a task ended by itself (exit code 3), and its restart policy starts no other; "
        assert ending == Ending(EndedBy.ITSELF, seen=True, story=story + SEE)

    def test_a_task_that_the_daemon_has_told_to_stop_is_no_failure(self) -> None:
        failures = Failures()
        failures.told_to_stop(NAME, "t1")
        told = task("failed", desired="shutdown", Err="task: non-zero exit (143)")
        assert failures.look(NAME, restarted(told), START) == (None, 0)

    def test_what_was_told_is_forgotten_with_its_task(self) -> None:
        failures = Failures()
        failures.told_to_stop(NAME, "t1")
        failures.look(NAME, [task("running", id="t2")], START)
        failed = task("failed", desired="shutdown")
        assert failures.look(NAME, restarted(failed), START)[1] == 1

    def test_what_was_told_is_kept_while_nobody_asks_for_the_tasks(self) -> None:
        failures = Failures()
        failures.told_to_stop(NAME, "t1")
        failures.look(NAME, (), START)
        told = task("failed", desired="shutdown", Err="task: non-zero exit (143)")
        assert failures.look(NAME, restarted(told), START) == (None, 0)

    def test_each_failure_is_counted_once(self) -> None:
        failures = Failures()
        failed = [task("failed", id=f"t{number}", desired="shutdown") for number in (1, 2, 3)]
        looks = [failed[:1], failed[:2], failed[:2], failed[1:]]
        counts = [failures.look(NAME, restarted(*tasks), START)[1] for tasks in looks]
        assert counts == [1, 1, 0, 1]

    def test_a_service_that_is_gone_is_forgotten(self) -> None:
        failures = Failures()
        failed = restarted(task("failed", desired="shutdown"))
        failures.look(NAME, failed, START)
        failures.forget_all_but([NAME])
        assert failures.look(NAME, failed, START)[1] == 0
        failures.forget_all_but([])
        assert failures.look(NAME, failed, START)[1] == 1


def service(replicas: int, *, version: int = 41, before: int | None = None) -> Any:
    """Return a service with so many replicas, and `before` that in its previous spec."""

    def spec(number: int) -> Any:
        return {"Name": NAME, "Mode": {"Replicated": {"Replicas": number}}}

    row = {"Spec": spec(replicas), "Version": {"Index": version}}
    return row if before is None else {**row, "PreviousSpec": spec(before)}


def look(zero: Zero, row: Any) -> Ending | None:
    return zero.look(row, replicas_of(row["Spec"]))


class TestZero:
    def test_a_service_with_replicas_says_nothing(self) -> None:
        assert look(Zero(), service(3, before=0)) is None

    def test_somebody_else_sets_the_number_to_zero(self) -> None:
        zero = Zero()
        look(zero, service(3))
        for _ in range(2):
            assert look(zero, service(0, version=42, before=3)) == BY_HAND

    def test_the_daemon_sets_the_number_to_zero(self) -> None:
        zero = Zero()
        look(zero, service(3))
        zero.asked_for(NAME, 0, 41)
        assert look(zero, service(0, version=42, before=3)) is None

    def test_a_label_that_changes_at_zero_changes_nothing(self) -> None:
        zero = Zero()
        look(zero, service(3))
        zero.asked_for(NAME, 0, 41)
        look(zero, service(0, version=42, before=3))
        assert look(zero, service(0, version=43, before=0)) is None

    def test_a_list_that_is_older_than_the_daemons_write_does_not_hide_it(self) -> None:
        zero = Zero()
        zero.asked_for(NAME, 0, 41)
        look(zero, service(3, version=41))
        assert look(zero, service(0, version=42, before=3)) is None

    def test_somebody_else_sets_zero_after_the_daemon_did(self) -> None:
        zero = Zero()
        zero.asked_for(NAME, 0, 41)
        look(zero, service(0, version=42, before=3))
        look(zero, service(2, version=43, before=0))
        assert look(zero, service(0, version=44, before=2)) == BY_HAND

    def test_a_service_scales_again_once_somebody_asks_for_replicas(self) -> None:
        zero = Zero()
        look(zero, service(3))
        look(zero, service(0))
        assert look(zero, service(1)) is None

    @pytest.mark.parametrize(
        ("before", "ending"),
        [
            pytest.param(3, Ending(EndedBy.HAND, seen=False), id="from-three"),
            pytest.param(0, None, id="it-was-at-zero-already"),
            pytest.param(None, None, id="it-never-had-a-replica"),
        ],
    )
    def test_what_was_at_zero_before_the_daemon_began_is_told_by_the_previous_spec(
        self, before: int | None, ending: Ending | None
    ) -> None:
        assert look(Zero(), service(0, before=before)) == ending

    def test_a_service_that_is_gone_is_forgotten(self) -> None:
        zero = Zero()
        look(zero, service(3))
        zero.forget_all_but([])
        assert look(zero, service(0)) is None


@pytest.mark.parametrize(
    ("mode", "replicas"),
    [
        ({"Replicated": {"Replicas": 3}}, 3),
        ({"Replicated": {"Replicas": 0}}, 0),
        ({"Replicated": {}}, 1),
        ({"Global": {}}, 0),
    ],
)
def test_a_number_that_was_never_set_means_one_task(mode: Any, replicas: int) -> None:
    assert replicas_of({"Mode": mode}) == replicas

"""What workers get done while their slots are in use, from what they report."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.core.in_flight import InFlight, SlotKind, Slots, Worker
from autoscaler.core.label_values import QueueType
from autoscaler.core.model import Replica
from autoscaler.core.worked import Worked
from tests.fakes.clock import START as NOW
from tests.unit.builders import MINUTE, SECOND, worker

ACTIVITY = QueueType.ACTIVITY


def report(  # noqa: PLR0913 - all that a report says
    processed: int,
    second: float,
    *,
    host: str = "r1",
    instance: str = "",
    used: int = 2,
    free: int = 0,
    kind: SlotKind = SlotKind.ACTIVITY,
    **rest: Any,
) -> Worker:
    """Describe a report of a worker that has finished `processed` tasks by a second."""
    slots = {kind: Slots(used, free, processed)}
    at = NOW + second * SECOND
    return worker(host, instance=instance or host, at=at, slots=slots, **rest)


def observed(*looks: list[Worker], replicas: int = 1) -> Worked:
    """Return what is known after looks at these reports, each made as the reports came."""
    members = tuple(Replica(f"r{number}", f"r{number}") for number in range(1, replicas + 1))
    worked = Worked()
    for reports in looks:
        now = max(each.at for each in reports if each.at is not None)
        worked = worked.observe(InFlight(members, tuple(reports)), now)
    return worked


def test_it_is_the_tasks_finished_between_two_reports_of_a_worker() -> None:
    assert observed([report(100, 0)], [report(110, 10)]).rates == {ACTIVITY: 1.0}


def test_it_is_counted_as_if_all_slots_had_been_in_use() -> None:
    worked = observed([report(0, 0, used=3, free=1)], [report(15, 10, used=3, free=1)])
    assert worked.rates == {ACTIVITY: 2.0}


def test_nothing_is_inferred_from_a_worker_that_uses_few_of_its_slots() -> None:
    assert not observed([report(0, 0, used=9, free=91)], [report(90, 10, used=9, free=91)]).rates


def test_workers_of_one_replica_add_up() -> None:
    looks = [
        [report(tasks, at, instance=name) for name in ("a", "b")]
        for tasks, at in ((0, 0), (10, 10))
    ]
    assert observed(*looks).rates == {ACTIVITY: 2.0}


def test_replicas_are_averaged() -> None:
    first = [report(0, 0, host="r1"), report(0, 0, host="r2")]
    second = [report(10, 10, host="r1"), report(30, 10, host="r2")]
    assert observed(first, second, replicas=2).rates == {ACTIVITY: 2.0}


def test_long_tasks_add_up_over_several_reports() -> None:
    """One task in ten minutes and slot: a worker seldom finishes one between two reports."""
    looks = [[report(minute // 2, 60 * minute, interval=MINUTE)] for minute in range(60)]
    worked = observed(*looks)
    assert not worked.rates
    assert worked.done[ACTIVITY].tasks < 3


def test_the_latest_reports_count_most() -> None:
    quick = [[report(10 * at, 10 * at)] for at in range(7)]
    slow = [[report(60 + at, 60 + 10 * at)] for at in range(1, 25)]
    assert observed(*quick).rates[ACTIVITY] == pytest.approx(1)
    assert observed(*quick, *slow).rates[ACTIVITY] == pytest.approx(0.1, rel=0.7)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(report(100, 0), report(3, 10), id="fewer-tasks-than-before"),
        pytest.param(report(0, 0), report(10**12, 10), id="impossibly-many"),
        pytest.param(report(0, 0), report(10, 10, instance="again"), id="another-worker"),
        pytest.param(report(0, 10), report(10, 10), id="the-same-report"),
        pytest.param(report(0, 20), report(10, 10), id="a-clock-that-was-set-back"),
        pytest.param(report(0, 0), report(10, 10, leaving=True), id="it-leaves"),
        pytest.param(report(0, 0), report(10, 10, tells=False), id="it-tells-nothing"),
        pytest.param(report(0, 0), report(10, 600), id="too-long-ago"),
        pytest.param(
            report(0, 0, used=0, free=2), report(10, 10, used=0, free=2), id="no-slot-in-use"
        ),
        pytest.param(
            report(0, 0, used=-5, free=-5), report(10, 10, used=-5, free=-5), id="negative-slots"
        ),
        pytest.param(report(0, 0), report(2, 10), id="too-few-tasks"),
    ],
)
def test_what_cannot_be_or_tells_too_little_is_left_out(before: Worker, after: Worker) -> None:
    assert not observed([before], [after]).rates


@pytest.mark.parametrize("kind", [SlotKind.WORKFLOW, SlotKind.LOCAL_ACTIVITY])
def test_tasks_that_come_from_no_queue_or_never_end_do_not_count(kind: SlotKind) -> None:
    assert not observed([report(0, 0, kind=kind)], [report(10, 10, kind=kind)]).rates


def test_nexus_tasks_count_as_their_own() -> None:
    reports = [[report(tasks, at, kind=SlotKind.NEXUS)] for tasks, at in ((0, 0), (10, 10))]
    assert observed(*reports).rates == {QueueType.NEXUS: 1.0}

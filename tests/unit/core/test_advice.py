"""Warnings: what the user of a service should know, apart from the decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from autoscaler.core.advice import advise
from autoscaler.core.backlog import Backlog, BuildStatus, QueueStats
from autoscaler.core.decide import decide
from autoscaler.core.label_values import QueueType
from autoscaler.core.protect import REPORT_WITHIN
from autoscaler.core.situation import Situation
from autoscaler.core.stopping import IgnoredSignal, outlasted
from tests.fakes.clock import START as NOW
from tests.unit.builders import (
    HOUR,
    INSTANT,
    MINUTE,
    NOT_READ,
    ONE_BUILD,
    SECOND,
    Watch,
    backlog,
    fleet,
    of_build,
    remembered,
    shrinking,
    silent_for,
    situation,
    stats,
    task_queue,
)


def warnings_for(given: Situation) -> tuple[str, ...]:
    """Return the warnings after one decision on a situation."""
    return advise(given, decide(given).history)


class TestSilentQueue:
    """A queue without any poller, task or addition so far probably has a wrong name."""

    SILENT = (
        "task queue 'mails' has had no poller, no backlog and no task added so far:"
        " check its name and namespace, and that the workers poll it"
    )

    @staticmethod
    def seen(**of_mails: Any) -> Backlog:
        """Describe `orders`, where workers poll, and `mails`."""
        return Backlog(
            {
                task_queue("orders"): stats(0, pollers=2),
                task_queue("mails"): stats(0),
                task_queue("mails", QueueType.ACTIVITY): stats(0, **of_mails),
            }
        )

    @pytest.mark.parametrize(
        ("after", "warnings"),
        [
            pytest.param(
                MINUTE,
                (SILENT,),
                id="exactly-a-minute",
            ),
            pytest.param(MINUTE - INSTANT, (), id="just-before"),
        ],
    )
    def test_the_silent_queue_is_named_after_a_minute(
        self, after: timedelta, warnings: tuple[str, ...]
    ) -> None:
        watch = Watch(1, queues=("orders", "mails"))
        assert watch.advice(self.seen(), 1, after=timedelta()) == ()
        assert watch.advice(self.seen(), 1, after=after) == warnings

    @pytest.mark.parametrize(
        ("replicas", "seen"),
        [
            pytest.param(0, backlog(0), id="without-replicas"),
            pytest.param(1, None, id="unknown"),
        ],
    )
    def test_without_replicas_or_backlog_nothing_can_be_known(
        self, replicas: int, seen: Backlog | None
    ) -> None:
        watch = Watch(replicas, min=0)
        watch.look(seen, replicas)
        assert watch.advice(seen, replicas, after=HOUR) == ()

    @pytest.mark.parametrize(
        "life",
        [
            pytest.param(stats(0, pollers=1), id="a-poller"),
            pytest.param(stats(0, add_rate=0.1), id="an-addition"),
            pytest.param(stats(1), id="a-task"),
        ],
    )
    def test_one_sign_of_life_of_any_type_is_enough_for_ever(self, life: QueueStats) -> None:
        watch = Watch(1, queues=("orders", "mails"))
        watch.look(Backlog({**self.seen().parts, task_queue("mails"): life}), 1)
        assert watch.advice(self.seen(), 1, after=HOUR) == ()
        assert watch.advice(self.seen(), 1, after=9 * HOUR) == ()

    def test_a_sign_of_life_ends_the_warning(self) -> None:
        watch = Watch(1, queues=("orders", "mails"))
        watch.look(self.seen(), 1)
        assert watch.advice(self.seen(), 1, after=MINUTE)
        assert watch.advice(self.seen(pollers=1), 1) == ()

    def test_all_silent_queues_are_named(self) -> None:
        watch = Watch(1, queues=("b", "a"))
        seen = Backlog({task_queue("b"): stats(0), task_queue("a"): stats(0)})
        watch.look(seen, 1)
        warnings = watch.advice(seen, 1, after=MINUTE)
        assert [warning.split("'")[1] for warning in warnings] == ["a", "b"]

    def test_a_silent_queue_does_not_change_the_decision(self) -> None:
        watch = Watch(3)
        watch.look(0, 3)
        assert watch.look(0, 3, after=2 * MINUTE).desired == 1

    def test_a_queue_that_is_new_on_the_label_has_a_minute(self) -> None:
        watch = Watch(1, queues=("orders", "mails"))
        watch.look(backlog(0, pollers=1), 1)
        assert watch.advice(self.seen(), 1, after=HOUR) == ()
        assert watch.advice(self.seen(), 1, after=MINUTE)

    def test_a_service_that_has_just_started_has_a_minute(self) -> None:
        watch = Watch(0, min=0, cooldown=HOUR)
        watch.look(0, 0)
        assert watch.advice(0, 1, after=HOUR) == ()
        assert watch.advice(0, 1, after=MINUTE)

    def test_the_same_name_in_another_namespace_is_another_queue(self) -> None:
        watch = Watch(1)
        watch.look(backlog(0, pollers=1), 1)
        elsewhere = Backlog({task_queue(namespace="typo"): stats(0)})
        watch.look(elsewhere, 1)
        assert watch.advice(elsewhere, 1, after=MINUTE)


class TestStopWarnings:
    """What could cost a task when a replica is stopped."""

    NOT_SET = (
        "stop_grace_period is not set, so a replica is killed 10 s after its stop signal (on"
        " Compose only where no running task is reported): set it longer than the longest activity;"
        " see docs/graceful-shutdown.md"
    )
    NO_REPORTS = (
        "no worker reports what it is running, so only the stop grace protects its tasks (and"
        " strict stops none): it takes Temporal Server 1.30, or 1.29 with two settings"
        " (docs/temporal-servers.md), an SDK with worker heartbeats (Python 1.20) and a host name"
        " per container; see docs/graceful-shutdown.md"
    )

    @pytest.mark.parametrize(
        ("grace", "warnings"),
        [
            pytest.param(None, (NOT_SET,), id="left-at-dockers-default"),
            pytest.param(10 * SECOND, (), id="set-although-short"),
        ],
    )
    def test_a_grace_period_that_is_not_set(
        self, grace: timedelta | None, warnings: tuple[str, ...]
    ) -> None:
        assert warnings_for(replace(situation(), grace=grace)) == warnings

    @pytest.mark.parametrize(
        ("longest", "warned"),
        [
            pytest.param(30 * SECOND, False, id="as-long-as-the-grace"),
            pytest.param(31 * SECOND, True, id="longer"),
        ],
    )
    def test_a_task_that_has_run_for_longer_than_the_grace_period(
        self, longest: timedelta, *, warned: bool
    ) -> None:
        past = remembered(longest_task=longest)
        warning = (
            "a task was seen to run for longer than the stop grace of 30s:"
            " raise stop_grace_period; see docs/graceful-shutdown.md"
        )
        assert warnings_for(situation(past=past)) == ((warning,) if warned else ())

    def test_a_task_that_has_run_for_longer_than_dockers_own_grace_period(self) -> None:
        past = remembered(longest_task=11 * SECOND)
        assert warnings_for(replace(situation(past=past), grace=None)) == (
            self.NOT_SET,
            outlasted(10 * SECOND),
        )

    def test_a_stop_signal_that_is_ignored(self) -> None:
        ignored = IgnoredSignal("SIGTERM", "python", shell=False)
        given = replace(situation(), ignored_signal=ignored)
        assert warnings_for(given) == (ignored.words,)

    @pytest.mark.parametrize(
        ("silent", "warnings"),
        [
            pytest.param(REPORT_WITHIN - INSTANT, (), id="not-for-long-enough"),
            pytest.param(REPORT_WITHIN, (NO_REPORTS,), id="for-the-longest-heartbeat-interval"),
        ],
    )
    def test_no_worker_reports(self, silent: timedelta, warnings: tuple[str, ...]) -> None:
        given = shrinking(fleet("sss"), 1, past=silent_for(silent))
        assert warnings_for(given) == warnings

    def test_some_workers_report(self) -> None:
        assert warnings_for(shrinking(fleet("ssi"), 1, past=silent_for(HOUR))) == ()

    def test_with_mode_off_there_is_no_warning_about_stopping(self) -> None:
        past = remembered(longest_task=HOUR, unreported_since=NOW - HOUR)
        for grace in (None, SECOND):
            given = situation(waiting=NOT_READ, past=past, mode="off")
            assert warnings_for(replace(given, grace=grace)) == ()

    def test_several_warnings_are_all_given(self) -> None:
        given = replace(shrinking(fleet("sss"), 1, past=silent_for(HOUR)), grace=None)
        assert warnings_for(given) == (self.NOT_SET, self.NO_REPORTS)


class TestBuildWarnings:
    def test_a_backlog_that_sums_up_builds_is_named_with_what_to_do(self) -> None:
        seen = Backlog(
            {
                task_queue("orders"): stats(0, deployment="shop"),
                task_queue("orders", QueueType.ACTIVITY): stats(0, deployment="shop"),
                task_queue("mails"): stats(0, pollers=1),
            }
        )
        (warning,) = warnings_for(situation(waiting=seen))
        assert warning == (
            "task queue 'orders' belongs to Worker Deployment 'shop', and its backlog sums up all"
            " builds; set the labels deployment and build-id to scale one build by its own"
        )

    @pytest.mark.parametrize(
        ("status", "replicas", "warned"),
        [
            pytest.param(BuildStatus.NEVER_POLLED, 1, True, id="it-runs"),
            pytest.param(BuildStatus.NEVER_POLLED, 0, False, id="it-does-not-run"),
            pytest.param(BuildStatus.CURRENT, 1, False, id="it-is-known"),
        ],
    )
    def test_a_running_build_that_temporal_does_not_know(
        self, status: BuildStatus, replicas: int, *, warned: bool
    ) -> None:
        given = situation(waiting=of_build(status), replicas=replicas, **ONE_BUILD)
        warning = (
            "Temporal knows no worker of build 'v1' of Worker Deployment 'shop' yet:"
            " if its workers run, check both names"
        )
        assert warnings_for(given) == ((warning,) if warned else ())


class TestPhantomWarnings:
    """Tasks wait, replicas were added, and no task was dispatched since."""

    WARNING = (
        "90 tasks wait and none is dispatched, although replicas were added:"
        " they may belong to closed workflows, or no worker polls for their kind"
    )

    @staticmethod
    def grown_in_a_stall() -> Watch:
        """Watch a service of 3 replicas, the third of which was just added to a stalled queue."""
        watch = Watch(2)
        watch.look(90, 2)
        watch.look(90, 3)
        return watch

    @pytest.mark.parametrize(
        ("after", "warned"),
        [
            pytest.param(2 * MINUTE - INSTANT, False, id="just-before-2m"),
            pytest.param(2 * MINUTE, True, id="exactly-2m"),
            pytest.param(HOUR, True, id="much-later"),
        ],
    )
    def test_they_are_warned_of_2m_after_replicas_were_added(
        self, after: timedelta, *, warned: bool
    ) -> None:
        warnings = self.grown_in_a_stall().advice(90, 3, after=after)
        assert warnings == ((self.WARNING,) if warned else ())

    def test_a_single_task_is_spoken_of_as_one(self) -> None:
        watch = Watch(2)
        watch.look(1, 2)
        watch.look(1, 3)
        (warning,) = watch.advice(1, 3, after=2 * MINUTE)
        assert warning == (
            "1 task waits and none is dispatched, although replicas were added:"
            " it may belong to closed workflows, or no worker polls for its kind"
        )

    def test_where_no_replica_was_added_the_stall_alone_is_no_cause(self) -> None:
        watch = Watch(2)
        watch.look(90, 2)
        assert watch.advice(90, 2, after=HOUR) == ()

    def test_a_dispatch_ends_the_warning(self) -> None:
        watch = self.grown_in_a_stall()
        assert watch.advice(90, 3, after=HOUR)
        assert watch.advice(backlog(90, dispatch_rate=1.0), 3) == ()

    def test_without_replicas_there_is_no_warning(self) -> None:
        watch = self.grown_in_a_stall()
        watch.look(90, 3, after=2 * MINUTE)
        assert watch.advice(90, 0) == ()


class TestSwarmChoice:
    """Where any task is to be chosen, and cannot be."""

    WHY = "no agent answers on node-2"

    def test_it_is_said_why(self) -> None:
        given = replace(situation(swarm_choice="any"), order_only=self.WHY)
        assert any(self.WHY in warning for warning in warnings_for(given))

    @pytest.mark.parametrize(
        ("choice", "order_only"), [("order", WHY), ("any", None)], ids=["order", "nothing-missing"]
    )
    def test_where_the_order_is_wanted_or_nothing_is_missing_it_is_not(
        self, choice: str, order_only: str | None
    ) -> None:
        given = replace(situation(swarm_choice=choice), order_only=order_only)
        assert not any("swarm-choice" in warning for warning in warnings_for(given))

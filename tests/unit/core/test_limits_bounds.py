"""The last limits: builds that keep a replica, paused directions, bounds, ceilings."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autoscaler.core.backlog import BuildStatus
from autoscaler.core.decide import decide
from autoscaler.core.model import Ceiling
from autoscaler.core.reason import ReasonCode
from tests.unit.builders import (
    MINUTE,
    ONE_BUILD,
    SECOND,
    codes,
    of_build,
    situation,
)

FIXED_NAME = Ceiling(1, "container_name is set")


class TestBuilds:
    """A service that runs one build of a Worker Deployment."""

    @pytest.mark.parametrize("window", [timedelta(), MINUTE], ids=["no-window", "a-window"])
    @pytest.mark.parametrize("replicas", [0, 1])
    @pytest.mark.parametrize(
        ("status", "kept"),
        [
            (BuildStatus.NEVER_POLLED, True),
            (BuildStatus.DRAINING, True),
            (BuildStatus.DRAINED, False),
            (BuildStatus.CURRENT, False),
            (BuildStatus.RAMPING, False),
            (BuildStatus.INACTIVE, False),
        ],
    )
    def test_a_build_that_drains_or_has_never_polled_keeps_a_replica(
        self, status: BuildStatus, replicas: int, window: timedelta, *, kept: bool
    ) -> None:
        given = situation(
            waiting=of_build(status),
            replicas=replicas,
            past=[(SECOND, 0)],
            scale_out_window=window,
            **ONE_BUILD,
        )
        decision = decide(given)
        assert decision.desired == int(kept)
        assert (ReasonCode.BUILD in codes(decision)) is kept

    @pytest.mark.parametrize(
        ("status", "why"),
        [
            (BuildStatus.NEVER_POLLED, "build v1 has never polled → keeps 1"),
            (BuildStatus.DRAINING, "build v1 is draining → keeps 1"),
        ],
    )
    def test_the_reason_names_the_build_and_its_status(self, status: BuildStatus, why: str) -> None:
        decision = decide(situation(waiting=of_build(status), replicas=1, **ONE_BUILD))
        assert str(decision.reasons[-1]) == why

    def test_a_build_that_has_never_polled_gets_a_replica_below_the_activation(self) -> None:
        new = of_build(BuildStatus.NEVER_POLLED, waiting=3)
        decision = decide(situation(waiting=new, replicas=0, activation=10, **ONE_BUILD))
        assert decision.desired == 1

    def test_the_other_replicas_follow_the_backlog_of_the_build(self) -> None:
        busy = of_build(BuildStatus.DRAINING, waiting=40)
        assert decide(situation(waiting=busy, replicas=1, **ONE_BUILD)).desired == 4
        quiet = of_build(BuildStatus.DRAINING)
        assert decide(situation(waiting=quiet, replicas=4, **ONE_BUILD)).desired == 1

    def test_a_service_whose_labels_name_no_build_goes_to_zero(self) -> None:
        given = situation(waiting=0, replicas=1, min=0, cooldown=timedelta())
        assert decide(given).desired == 0


class TestModes:
    @pytest.mark.parametrize(
        ("mode", "waiting", "desired"),
        [
            pytest.param("pause-in", 0, 5, id="pause-in-holds-a-scale-in"),
            pytest.param("pause-in", 90, 9, id="pause-in-lets-it-grow"),
            pytest.param("pause-out", 90, 5, id="pause-out-holds-growth"),
            pytest.param("pause-out", 0, 1, id="pause-out-lets-it-shrink"),
            pytest.param("dry-run", 90, 9, id="dry-run-decides-as-on-does"),
        ],
    )
    def test_a_pause_holds_one_direction_and_leaves_the_other_free(
        self, mode: str, waiting: int, desired: int
    ) -> None:
        assert decide(situation(waiting=waiting, replicas=5, mode=mode)).desired == desired

    @pytest.mark.parametrize(("mode", "waiting"), [("pause-in", 0), ("pause-out", 90)])
    def test_the_reason_names_the_mode(self, mode: str, waiting: int) -> None:
        decision = decide(situation(waiting=waiting, replicas=5, mode=mode))
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.PAUSED]
        assert (
            str(decision.reasons[-1])
            == f"scale-{mode.removeprefix('pause-')} is paused (mode) → keeps 5"
        )


class TestBounds:
    @pytest.mark.parametrize(
        ("waiting", "desired", "moved_by"),
        [
            pytest.param(0, 2, [ReasonCode.BACKLOG, ReasonCode.MIN], id="empty-is-min"),
            pytest.param(19, 2, [ReasonCode.BACKLOG], id="just-min"),
            pytest.param(200, 20, [ReasonCode.BACKLOG], id="exactly-max-times-target"),
            pytest.param(201, 20, [ReasonCode.BACKLOG, ReasonCode.MAX], id="one-task-beyond"),
        ],
    )
    def test_the_replicas_stay_between_min_and_max(
        self, waiting: int, desired: int, moved_by: list[ReasonCode]
    ) -> None:
        decision = decide(situation(waiting=waiting, replicas=2, min=2, max=20))
        assert decision.desired == desired
        assert codes(decision) == moved_by

    def test_the_reason_names_min_or_max(self) -> None:
        assert str(decide(situation(waiting=999)).reasons[-1]) == "100 needed, at most 10 (max)"
        assert str(decide(situation(waiting=0)).reasons[-1]) == "keeps 1 (min)"

    @pytest.mark.parametrize(
        ("waiting", "desired"),
        [pytest.param(0, 0, id="stays-at-zero"), pytest.param(1, 1, id="wakes-for-one-task")],
    )
    def test_with_min_0_a_service_at_zero_waits_for_work(self, waiting: int, desired: int) -> None:
        assert decide(situation(waiting=waiting, replicas=0, min=0)).desired == desired

    def test_with_min_0_the_last_replica_goes_when_there_is_no_work(self) -> None:
        assert decide(situation(waiting=0, replicas=1, min=0)).desired == 0

    def test_a_ceiling_overrides_min(self) -> None:
        decision = decide(situation(waiting=100, min=2, ceiling=FIXED_NAME))
        assert decision.desired == 1
        assert codes(decision)[-1] is ReasonCode.CEILING
        assert str(decision.reasons[-1]) == "10 needed, at most 1: container_name is set"

    def test_a_ceiling_that_is_not_reached_is_not_mentioned(self) -> None:
        decision = decide(situation(waiting=5, ceiling=FIXED_NAME))
        assert codes(decision) == [ReasonCode.BACKLOG]

"""What workers can do: how it is written, what cannot be, and how long each task runs."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.core.errors import ConfigurationError
from autoscaler.simulation.workers import (
    Kind,
    Phase,
    ServiceTimes,
    Share,
    Workers,
    parse_workers,
)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"service_time": 0}, "service time", id="no-time"),
        pytest.param({"service_time": 86_401}, "service time", id="more-than-a-day"),
        pytest.param({"slots": 0}, "slots", id="no-slots"),
        pytest.param({"slots": 10_001}, "slots", id="too-many-slots"),
        pytest.param({"startup": -1}, "start-up", id="negative-startup"),
        pytest.param({"heartbeat": 0.5}, "heartbeats must be from 1s", id="too-many-heartbeats"),
        pytest.param({"heartbeat": 61}, "to 60s, or 0s for none", id="too-few-heartbeats"),
        pytest.param({"others": (Kind(0.5, 1), Kind(0.5, 2))}, "shares", id="all-are-others"),
        pytest.param({"others": (Kind(0.5, 0),)}, "service time", id="others-take-no-time"),
        pytest.param({"later": (Phase(9, 1), Phase(8, 2))}, "later and later", id="back-in-time"),
        pytest.param({"unseen": 1.1}, "not seen", id="more-than-all-unseen"),
    ],
)
def test_workers_that_cannot_be_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Workers(**fields)


def parsed(**words: str) -> Workers:
    said = {name.replace("_", "-"): text for name, text in words.items()}
    return parse_workers(said, Workers(), "--")


class TestParsing:
    def test_what_is_not_said_stays(self) -> None:
        assert parse_workers({"slots": "4"}, Workers(9, 3, 7), "") == Workers(9, 4, 7)

    @pytest.mark.parametrize(
        ("text", "phases"),
        [
            pytest.param("2s", [Phase(0, 2)], id="one"),
            pytest.param("2s,30s@10%", [Phase(0, 2, (Kind(0.1, 30),))], id="two"),
            pytest.param(
                "2s, 30s@10%, 5m@0.5%",
                [Phase(0, 2, (Kind(0.1, 30), Kind(0.005, 300)))],
                id="three",
            ),
            pytest.param("2s;4s from 30m", [Phase(0, 2), Phase(1800, 4)], id="it-changes"),
            pytest.param(
                "2s; 4s,1m@20% from 30m; 1s from 1h",
                [Phase(0, 2), Phase(1800, 4, (Kind(0.2, 60),)), Phase(3600, 1)],
                id="it-changes-twice",
            ),
        ],
    )
    def test_service_times(self, text: str, phases: list[Phase]) -> None:
        assert list(parsed(service_time=text).phases) == phases

    def test_the_rest(self) -> None:
        read = parsed(slots="4", startup="20s", heartbeat="0s", unseen="12.5%")
        assert read == Workers(2, 4, 20, heartbeat=0, unseen=0.125)

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            pytest.param("service-time", "2", "a duration such as", id="no-unit"),
            pytest.param("service-time", "2s,30s", "must be such as 2s,", id="no-share"),
            pytest.param("service-time", "2s,30s@x", "a share such as 10%", id="no-such-share"),
            pytest.param("service-time", "2s;4s", "must be such as 2s,", id="no-time-of-change"),
            pytest.param("slots", "2.5", "a whole number such as 4", id="half-a-slot"),
            pytest.param("unseen", "0.1", "a share such as 10%", id="no-percent"),
            pytest.param("unseen", "101%", "from 0% to 100%", id="more-than-all"),
            pytest.param("speed", "2", "service-time, slots, startup, heartbeat", id="unknown"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, name: str, text: str, said: str) -> None:
        with pytest.raises(ConfigurationError, match=said) as caught:
            parse_workers({name: text}, Workers(), "--")
        assert len(caught.value.problems) == 1

    def test_everything_wrong_is_named_at_once(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            parsed(slots="many", startup="5", unseen="all")
        assert [problem.split("=")[0] for problem in caught.value.problems] == [
            "--slots",
            "--startup",
            "--unseen",
        ]


class TestShare:
    def test_it_is_spread_evenly(self) -> None:
        share = Share(0.25)
        assert [share.of(1) for _ in range(8)] == [0, 0, 0, 1, 0, 0, 0, 1]

    def test_many_at_once_are_as_many_one_by_one(self) -> None:
        share = Share(0.29)
        assert [share.of(100), share.of(0), share.of(50), share.of(50)] == [29, 0, 14, 15]

    def test_none_and_all(self) -> None:
        assert (Share(0).of(1000), Share(1).of(1000)) == (0, 1000)


class TestServiceTimes:
    def test_a_share_of_the_tasks_runs_for_another_time(self) -> None:
        times = ServiceTimes(parsed(service_time="2s,30s@10%"))
        assert times.take(25, 0) == {2: 23, 30: 2}
        assert times.take(4, 0) == {2: 4}
        assert times.take(1, 0) == {30: 1}

    def test_it_changes_for_the_tasks_that_start_then(self) -> None:
        times = ServiceTimes(parsed(service_time="2s;4s from 1m"))
        assert [times.take(1, now) for now in (59.9, 60, 90)] == [{2: 1}, {4: 1}, {4: 1}]

    def test_no_more_run_than_were_started(self) -> None:
        times = ServiceTimes(parsed(service_time="1s,2s@50%,3s@49%"))
        taken = [times.take(1, 0) for _ in range(200)]
        assert all(one.total() == 1 for one in taken)

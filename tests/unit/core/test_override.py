"""Overrides: how they are read, how long they hold, and how they are put in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from autoscaler.core.errors import OverrideError
from autoscaler.core.model import ServiceId
from autoscaler.core.override import (
    Override,
    Wanted,
    check_values,
    holding,
    merged,
    parse_service,
    parse_time,
    read_wanted,
    soon,
    time_left,
)

NOW = datetime(2026, 11, 28, 14, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
WORKER = ServiceId("compose", "shop/worker")
MAIL = ServiceId("compose", "shop/mail")


def override(name: str = "max", value: str = "6", **others: object) -> Override:
    """Return an override by anna that was just set for an hour, unless told otherwise."""
    usual = Override(WORKER, name, value, NOW, NOW + HOUR, "anna")
    return replace(usual, **others)  # type: ignore[arg-type]


class TestService:
    @pytest.mark.parametrize(
        ("text", "service"),
        [
            ("shop/worker", ServiceId("compose", "shop/worker")),
            (" shop/worker ", ServiceId("compose", "shop/worker")),
            ("compose/shop/worker", ServiceId("compose", "shop/worker")),
            ("compose/worker", ServiceId("compose", "compose/worker")),
            ("compose/swarm/worker", ServiceId("compose", "swarm/worker")),
            ("shop_worker", ServiceId("swarm", "shop_worker")),
            ("swarm/shop_worker", ServiceId("swarm", "shop_worker")),
        ],
    )
    def test_it_is_named_with_or_without_its_orchestrator(
        self, text: str, service: ServiceId
    ) -> None:
        assert parse_service(text) == service

    @pytest.mark.parametrize("text", ["", "/", "shop/", "a/b/c", "Shop/worker", "shop/*", "a b"])
    def test_another_form_is_refused_with_an_example(self, text: str) -> None:
        with pytest.raises(OverrideError, match="such as shop/worker"):
            parse_service(text)


class TestTime:
    @pytest.mark.parametrize(
        ("text", "time"),
        [("30m", timedelta(minutes=30)), ("1h30m", timedelta(minutes=90)), ("EVER", None)],
    )
    def test_it_is_a_duration_or_ever(self, text: str, time: timedelta | None) -> None:
        assert parse_time(text) == time

    @pytest.mark.parametrize("text", ["", "0s", "1 hour", "-5m", "9000h", "99999999999999999h"])
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(OverrideError, match="30m or 2h"):
            parse_time(text)


class TestWanted:
    def test_all_that_is_wrong_is_named_at_once(self) -> None:
        with pytest.raises(OverrideError) as caught:
            read_wanted(WORKER, {"max": "6"}, "soon", "x" * 201, "y" * 65)
        assert len(caught.value.problems) == 3

    def test_a_reason_becomes_one_line(self) -> None:
        assert read_wanted(WORKER, {"max": "6"}, "1h", "a\n b", "anna").reason == "a b"

    def test_escape_codes_are_refused(self) -> None:
        with pytest.raises(OverrideError, match="reason must be one line"):
            read_wanted(WORKER, {"max": "6"}, "1h", "\x1b[31mred", "anna")

    def test_each_value_becomes_an_override_with_the_same_end(self) -> None:
        new = Wanted(WORKER, {"min": "2", "max": "6"}, "anna", "deploy").overrides(NOW)
        assert [(each.name, each.value, each.until) for each in new] == [
            ("max", "6", NOW + HOUR),
            ("min", "2", NOW + HOUR),
        ]


class TestMerging:
    def test_a_new_value_replaces_the_earlier_one_and_leaves_the_others(self) -> None:
        earlier = (override("max", "6"), override("min", "2"), override("max", "9", service=MAIL))
        new = (override("max", "8", until=NOW + 2 * HOUR),)
        assert set(merged(earlier, new, NOW)) == {*new, earlier[1], earlier[2]}

    def test_what_has_ended_is_dropped(self) -> None:
        ended = override("min", until=NOW)
        assert merged([ended], [override()], NOW) == (override(),)

    def test_one_holds_until_its_end_and_not_at_it(self) -> None:
        given = override()
        assert holding([given], NOW + HOUR - timedelta(microseconds=1)) == (given,)
        assert holding([given], NOW + HOUR) == ()

    def test_without_an_end_it_holds(self) -> None:
        assert holding([override(until=None)], NOW + timedelta(days=9999)) != ()


class TestWords:
    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (override(), "max=6 until 15:00 UTC by anna"),
            (override(reason="deploy"), "max=6 until 15:00 UTC by anna: deploy"),
            (override("mode", "off"), "paused until 15:00 UTC by anna"),
            (override("mode", "pause-in"), "scale-in paused until 15:00 UTC by anna"),
            (override("mode", "pause-out"), "scale-out paused until 15:00 UTC by anna"),
            (override("mode", "dry-run"), "mode=dry-run until 15:00 UTC by anna"),
            (override("mode", "OFF"), "mode=OFF until 15:00 UTC by anna"),
            (override(until=NOW + 12 * HOUR), "max=6 until 2026-11-29 02:00 UTC by anna"),
            (override(until=None), "max=6 until it is removed by anna"),
        ],
    )
    def test_one_says_what_it_does_until_when_by_whom_and_why(
        self, given: Override, words: str
    ) -> None:
        assert str(given) == words

    def test_as_an_origin_it_says_so(self) -> None:
        origin = override(reason="deploy").origin
        assert origin == "override by anna until 15:00 UTC: deploy"

    @pytest.mark.parametrize(
        ("left", "words"),
        [
            (timedelta(seconds=0.2), "1s left"),
            (timedelta(minutes=4, seconds=10), "4m10s left"),
            (timedelta(hours=2, minutes=3, seconds=59), "2h3m left"),
            (timedelta(seconds=-5), "0s left"),
        ],
    )
    def test_the_time_left(self, left: timedelta, words: str) -> None:
        assert time_left(NOW + left, NOW) == words


class TestSoon:
    @pytest.mark.parametrize(
        ("lasts", "left", "told"),
        [
            (timedelta(hours=8), timedelta(minutes=5), True),
            (timedelta(hours=8), timedelta(minutes=5, seconds=1), False),
            (timedelta(minutes=10), timedelta(minutes=1), True),
            (timedelta(minutes=10), timedelta(minutes=4), False),
        ],
    )
    def test_five_minutes_before_the_end_or_a_tenth_of_a_short_time(
        self, lasts: timedelta, left: timedelta, *, told: bool
    ) -> None:
        assert soon(override(until=NOW + lasts), NOW + lasts - left) is told

    def test_never_without_an_end(self) -> None:
        assert not soon(override(until=None), NOW)


class TestChecking:
    """Values are checked as labels are, as far as anybody knows the others of the service."""

    def test_all_wrong_ones_are_named_with_the_nearest_name(self) -> None:
        with pytest.raises(OverrideError) as caught:
            check_values({"mx": "6", "min": "many", "target": "5"}, "temporal", {})
        assert caught.value.problems == (
            "temporal.mx='6' is not a label, the nearest is temporal.max",
            "temporal.min='many' must be a whole number from 0 to 10000",
        )

    @pytest.mark.parametrize(
        "values",
        [{"min": "40"}, {"max": "3"}, {"deployment": "shop"}, {"build-id": "7"}, {"mode": "off"}],
    )
    def test_what_is_not_known_contradicts_nothing(self, values: dict[str, str]) -> None:
        check_values(values, "temporal", {})

    def test_they_contradict_each_other(self) -> None:
        with pytest.raises(OverrideError, match="not below min; min is 5"):
            check_values({"min": "5", "max": "4"}, "temporal", {})

    @pytest.mark.parametrize(
        ("known", "values"),
        [
            ({"temporal.queue": "q", "temporal.min": "5"}, {"max": "4"}),
            ({"temporal.queue": "q"}, {"min": "40"}),
        ],
        ids=["a-label", "a-default"],
    )
    def test_they_contradict_what_is_known_of_the_service(
        self, known: dict[str, str], values: dict[str, str]
    ) -> None:
        with pytest.raises(OverrideError, match="not below min"):
            check_values(values, "temporal", known)

    def test_what_is_wrong_with_the_labels_is_no_fault_of_theirs(self) -> None:
        check_values({"max": "4"}, "temporal", {"temporal.queue": "q", "temporal.min": "many"})

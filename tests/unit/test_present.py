"""One shape for plan, status, page and API: the same fields, the same words, no secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from autoscaler import present
from autoscaler.core.findings import EXPIRY_WARNINGS
from autoscaler.core.host_memory import HostMemory
from autoscaler.core.origin import Given
from autoscaler.core.reason import Bearing, Reason, ReasonCode
from autoscaler.core.redaction import Redactor
from autoscaler.core.report import LimitReport, TickReport
from autoscaler.web.board import Board
from tests.fakes.clock import START
from tests.fakes.reports import (
    EVENING,
    LATE,
    PAUSE,
    broken,
    compose,
    integration,
    scaled,
    service,
    tick,
)
from tests.real.site import ABOUT

NO_SECRETS = Redactor()


def planned(report: TickReport) -> Any:
    """Return the object that `plan --json` prints."""
    return json.loads(json.dumps(present.tick(report, NO_SECRETS)))


def answered(report: TickReport) -> Any:
    """Return the object that `/api/services` answers of a daemon that has seen one tick."""
    board = Board(ABOUT, lambda: 0.0)
    board.observe(report)
    return json.loads(json.dumps(board.services()))


def shape(value: Any) -> Any:
    """Return a JSON value with its types in place of its values, and a list as its first item."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value[:1]]
    return type(value)


def everything() -> TickReport:
    """Report a tick in which every field of every part has a value."""
    full = service(
        waiting=40,
        desired=4,
        busy=1,
        draining=2,
        drains=(LATE,),
        crash="it ended",
        throughput=1.1,
        given={"temporal.max": Given("20", "shop.yaml:3")},
        next_bounds=EVENING,
        warnings=("take care",),
    )
    down = integration(up=False, error="no answer", expires_at=START + timedelta(days=9))
    return tick(
        full,
        broken(),
        integrations=(down,),
        limits=(LimitReport("group gpu", 4, 3, 9),),
        memory=HostMemory(total=16 * 2**30, free=6 * 2**30, reserve=2**30),
        memory_warnings=("statistics are refused",),
        overrides=(PAUSE,),
        errors=("no Docker Engine",),
        warnings=("another autoscaler",),
        left_alone=compose("mail/worker"),
    )


class TestOneShape:
    def test_plan_and_the_api_agree_field_by_field(self) -> None:
        plan, api = planned(everything()), answered(everything())
        assert plan == api
        assert list(plan) == list(api)
        for mine, theirs in zip(plan["services"], api["services"], strict=True):
            assert list(mine) == list(theirs)

    @pytest.mark.parametrize("report", [tick(), tick(broken()), tick(service(waiting=None))])
    def test_they_agree_where_things_are_missing_or_unknown(self, report: TickReport) -> None:
        assert planned(report) == answered(report)

    def test_what_the_daemon_remembers_beyond_a_tick_has_the_same_types(self) -> None:
        report = tick(scaled(service(waiting=40), 4))
        (plan,), (api,) = planned(report)["services"], answered(report)["services"]
        assert (plan["changes"], shape(api["changes"])) == (
            [],
            [{"at": float, "current": int, "desired": int, "reasons": [str]}],
        )
        assert shape(plan | {"changes": []}) == shape(api | {"changes": []})

    def test_each_field_has_one_type(self) -> None:
        assert shape(planned(everything())) == {
            "at": float,
            "took": float,
            "errors": [str],
            "warnings": [str],
            "causes": [
                {"text": str, "warning": bool, "services": int, "texts": [], "since": float}
            ],
            "left_alone": [str],
            "integrations": [
                {
                    "name": str,
                    "endpoint": str,
                    "namespace": str,
                    "origin": str,
                    "up": bool,
                    "error": str,
                    "expires_at": float,
                    "expires_soon": bool,
                }
            ],
            "limits": [{"name": str, "most": int, "replicas": int, "wished": int}],
            "memory": {"total": int, "free": int, "reserve": int, "text": str},
            "services": [
                {
                    "service": str,
                    "orchestrator": str,
                    "queues": [str],
                    "backlog": int,
                    "whole_backlog": int,
                    "shared_with": [],
                    "age": int,
                    "parts": [
                        {
                            "queue": str,
                            "type": str,
                            "integration": str,
                            "namespace": type(None),
                            "waiting": int,
                            "whole": int,
                            "age": int,
                            "add_rate": float,
                            "dispatch_rate": float,
                            "pollers": int,
                            "rate_limited": bool,
                        }
                    ],
                    "replicas": int,
                    "desired": int,
                    "wished": int,
                    "min": int,
                    "max": int,
                    "at_max": bool,
                    "at_max_since": type(None),
                    "next_bounds": {"at": float, "min": int, "max": int, "text": str},
                    "busy": int,
                    "draining": int,
                    "drains": [{"replica": str, "fate": str, "text": str}],
                    "interrupted": int,
                    "crash": str,
                    "crashed": int,
                    "throughput": float,
                    "values": {"temporal.max": {"value": str, "origin": str}},
                    "reasons": [{"code": str, "text": str, "bearing": str}],
                    "why": [str],
                    "warnings": [str],
                    "errors": [],
                    "dry_run": bool,
                    "unseen": bool,
                    "changes": [],
                    "overrides": [
                        {
                            "name": str,
                            "value": str,
                            "what": str,
                            "since": float,
                            "until": float,
                            "by": str,
                            "reason": str,
                        }
                    ],
                }
            ],
        }


class TestValues:
    SEEN = service(
        given={
            "temporal.queue": Given("orders", "label"),
            "temporal.max": Given("20", "shop.yaml:3"),
        }
    )

    def test_each_has_its_origin(self) -> None:
        (seen,) = planned(tick(self.SEEN))["services"]
        assert seen["values"] == {
            "temporal.queue": {"value": "orders", "origin": "label"},
            "temporal.max": {"value": "20", "origin": "shop.yaml:3"},
        }

    def test_what_is_wrong_with_files_is_a_warning_of_the_tick(self) -> None:
        report = tick(warnings=("another autoscaler",), wish_warnings=("shop.yaml is wrong",))
        assert planned(report)["warnings"] == ["another autoscaler", "shop.yaml is wrong"]


class TestService:
    def test_it_has_all_that_a_tick_saw(self) -> None:
        (seen,) = planned(tick(service(waiting=40, replicas=1, desired=4, busy=1)))["services"]
        assert seen == {
            "service": "shop/worker",
            "orchestrator": "compose",
            "queues": ["orders"],
            "backlog": 40,
            "whole_backlog": 40,
            "shared_with": [],
            "age": 10,
            "parts": [
                {
                    "queue": "orders",
                    "type": type_,
                    "integration": "default",
                    "namespace": None,
                    "waiting": waiting,
                    "whole": waiting,
                    "age": age,
                    "add_rate": 5.7,
                    "dispatch_rate": 2.9,
                    "pollers": 2,
                    "rate_limited": False,
                }
                for type_, waiting, age in (("activity", 30, 10), ("workflow", 10, 5))
            ],
            "replicas": 1,
            "desired": 4,
            "wished": 4,
            "min": 1,
            "max": 20,
            "at_max": False,
            "at_max_since": None,
            "next_bounds": None,
            "busy": 1,
            "draining": 0,
            "drains": [],
            "interrupted": 0,
            "crash": None,
            "crashed": 0,
            "throughput": None,
            "values": {},
            "reasons": [
                {
                    "code": "backlog",
                    "text": "40 waiting tasks at target 10 → 4",
                    "bearing": "normal",
                }
            ],
            "why": ["40 waiting tasks at target 10 → 4"],
            "warnings": [],
            "errors": [],
            "dry_run": False,
            "unseen": False,
            "changes": [],
            "overrides": [],
        }

    def test_what_is_unknown_is_null(self) -> None:
        (seen,) = planned(tick(broken()))["services"]
        assert [seen[name] for name in ("backlog", "age", "min", "max", "busy")] == [None] * 5

    def test_the_next_change_of_the_bounds_is_told_in_words(self) -> None:
        (seen,) = planned(tick(service(min=5, max=40, next_bounds=EVENING)))["services"]
        assert seen["next_bounds"] == {
            "at": datetime(2027, 1, 8, 18, tzinfo=UTC).timestamp(),
            "min": 1,
            "max": 1000,
            "text": "min 5, max 40 until Fri 19:00 CET; then min 1, max 1,000",
        }

    @pytest.mark.parametrize("code", list(ReasonCode))
    def test_a_reason_carries_the_bearing_of_its_code(self, code: ReasonCode) -> None:
        (seen,) = planned(tick(service(reasons=(Reason(code, "because"),))))["services"]
        (reason,) = seen["reasons"]
        assert (reason["code"], Bearing(reason["bearing"])) == (code, code.bearing)


class TestIntegration:
    def test_it_is_an_object_without_a_secret(self) -> None:
        expiry = START + timedelta(days=90)
        found = planned(tick(integrations=(integration(expires_at=expiry),)))
        assert found["integrations"] == [
            {
                "name": "default",
                "endpoint": "temporal:7233",
                "namespace": "default",
                "origin": "environment",
                "up": True,
                "error": None,
                "expires_at": expiry.timestamp(),
                "expires_soon": False,
            }
        ]

    @pytest.mark.parametrize(
        ("left", "soon"),
        [
            (None, False),
            (max(EXPIRY_WARNINGS) + timedelta(seconds=1), False),
            (max(EXPIRY_WARNINGS), True),
            (timedelta(), True),
            (timedelta(days=-1), True),
        ],
    )
    def test_it_expires_soon_from_the_first_warning_on(
        self, left: timedelta | None, *, soon: bool
    ) -> None:
        ends = None if left is None else START + left
        found = planned(tick(integrations=(integration(expires_at=ends),)))
        assert found["integrations"][0]["expires_soon"] is soon


def test_no_text_shows_a_secret() -> None:
    redactor = Redactor()
    redactor.learn(SecretStr("planted-secret"))
    error = "the server said: planted-secret is no key"
    quoting = service(
        errors=(error,), warnings=(error,), reasons=(Reason(ReasonCode.REFUSED, error),)
    )
    found = (integration(error=error, up=False),)
    text = json.dumps(present.tick(tick(quoting, errors=(error,), integrations=found), redactor))
    assert "planted" not in text
    assert text.count("the server said: [hidden] is no key") == 7


class TestOverrides:
    def test_those_of_a_service_are_part_of_it(self) -> None:
        plan = planned(tick(service(), service("shop/mail"), overrides=(PAUSE,)))
        (mail, worker) = sorted(plan["services"], key=lambda each: str(each["service"]))
        assert mail["overrides"] == []
        (pause,) = worker["overrides"]
        assert (pause["name"], pause["value"], pause["what"]) == ("mode", "off", "paused")
        assert (pause["since"], pause["until"]) == (
            START.timestamp(),
            START.timestamp() + 3600,
        )

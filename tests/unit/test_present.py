"""One shape for plan, status, page and API: the same fields, the same words, no secret."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from rich.console import Console

from autoscaler import present
from autoscaler.core.findings import EXPIRY_WARNINGS
from autoscaler.core.reason import Bearing, Reason, ReasonCode
from autoscaler.core.redaction import Redactor
from autoscaler.core.report import ServiceReport, TickReport
from autoscaler.web.board import Board
from tests.fakes.clock import START
from tests.fakes.reports import broken, integration, scaled, service, tick
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
    full = service(waiting=40, desired=4, busy=1, draining=2, warnings=("take care",))
    down = integration(up=False, error="no answer", expires_at=START + timedelta(days=9))
    return tick(full, broken(), integrations=(down,), errors=("no Docker Engine",))


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
            "services": [
                {
                    "service": str,
                    "orchestrator": str,
                    "queues": [str],
                    "backlog": int,
                    "age": int,
                    "parts": [
                        {
                            "queue": str,
                            "type": str,
                            "integration": str,
                            "namespace": type(None),
                            "waiting": int,
                            "age": int,
                            "add_rate": float,
                            "dispatch_rate": float,
                            "pollers": int,
                            "rate_limited": bool,
                        }
                    ],
                    "replicas": int,
                    "desired": int,
                    "min": int,
                    "max": int,
                    "busy": int,
                    "draining": int,
                    "interrupted": int,
                    "reasons": [{"code": str, "text": str, "bearing": str}],
                    "warnings": [str],
                    "errors": [],
                    "dry_run": bool,
                    "unseen": bool,
                    "changes": [],
                }
            ],
        }


class TestService:
    def test_it_has_all_that_a_tick_saw(self) -> None:
        (seen,) = planned(tick(service(waiting=40, replicas=1, desired=4, busy=1)))["services"]
        assert seen == {
            "service": "shop/worker",
            "orchestrator": "compose",
            "queues": ["orders"],
            "backlog": 40,
            "age": 10,
            "parts": [
                {
                    "queue": "orders",
                    "type": type_,
                    "integration": "default",
                    "namespace": None,
                    "waiting": waiting,
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
            "min": 1,
            "max": 20,
            "busy": 1,
            "draining": 0,
            "interrupted": 0,
            "reasons": [
                {
                    "code": "backlog",
                    "text": "40 waiting tasks at target 10: 4",
                    "bearing": "normal",
                }
            ],
            "warnings": [],
            "errors": [],
            "dry_run": False,
            "unseen": False,
            "changes": [],
        }

    def test_what_is_unknown_is_null(self) -> None:
        (seen,) = planned(tick(broken()))["services"]
        assert [seen[name] for name in ("backlog", "age", "min", "max", "busy")] == [None] * 5

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
    assert text.count("the server said: [hidden] is no key") == 5


class TestTable:
    @staticmethod
    def draw(*services: ServiceReport, **more: Any) -> str:
        """Draw services two seconds after a tick."""
        rows = [present.service(each, NO_SECRETS, **more) for each in services]
        written = io.StringIO()
        console = Console(file=written, width=300, markup=False)
        console.print(present.services_table(rows, START + timedelta(seconds=2)))
        return written.getvalue()

    def test_each_service_is_a_row(self) -> None:
        text = self.draw(
            service(waiting=1040, replicas=2, desired=20, busy=2, draining=3), service("shop/scans")
        )
        lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
        assert [line for line in lines if line] == [
            ["shop/worker", "orders", "1,040", "2 -> 20", "1040 waiting tasks at target 10: 104"],
            ["", "", "oldest 22s", "1-20, 2 busy, 3 draining", ""],
            ["shop/scans", "orders", "0", "1", "0 waiting tasks at target 10: 0"],
            ["", "", "", "1-20", ""],
        ]

    def test_trouble_is_said_in_the_column_of_reasons(self) -> None:
        text = self.draw(
            service(waiting=None, errors=("no answer",), warnings=("take care",), dry_run=True),
            unseen=True,
            changes=[{"at": START.timestamp(), "current": 1, "desired": 2, "reasons": []}],
        )
        said = [line.split("│")[-2].strip() for line in text.splitlines() if "│" in line]
        assert said == [
            "backlog unknown: 1 held",
            "dry run: nothing is changed",
            "not seen at the latest look",
            "warning: take care",
            "error: no answer",
            "2s ago: 1 -> 2",
        ]

"""What an examination makes of a tick's report, and of the end of a credential."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from autoscaler.core.findings import (
    Finding,
    Outcome,
    examine_expiry,
    examine_services,
    expires_soon,
)
from autoscaler.core.model import ServiceId
from autoscaler.core.reason import Bearing, Reason, ReasonCode
from autoscaler.core.report import ServiceReport, TickReport
from tests.fakes.clock import START
from tests.unit.builders import DAY, SECOND, stats, task_queue


def found(*services: ServiceReport, errors: tuple[str, ...] = ()) -> list[Finding]:
    return list(examine_services(TickReport(START, services, errors)))


def service(**seen: Any) -> ServiceReport:
    """Report a service that follows a queue with a worker, unless told otherwise."""
    well: dict[str, Any] = {
        "replicas": 1,
        "desired": 1,
        "queues": ("orders",),
        "backlog": 3,
        "parts": {task_queue(): stats(3, pollers=1)},
    }
    return ServiceReport(ServiceId("compose", "shop/worker"), **(well | seen))


def told(**seen: Any) -> list[tuple[Outcome, str]]:
    """Return what is said of one service."""
    findings = found(service(**seen))
    assert {finding.subject for finding in findings} == {"service shop/worker"}
    return [(finding.outcome, finding.text) for finding in findings]


def test_what_is_not_known_of_the_host_needs_doing() -> None:
    report = TickReport(START, (service(),), memory_warnings=("statistics are refused",))
    expected = Finding("host", Outcome.WARNING, "statistics are refused")
    assert expected in list(examine_services(report))


class TestServices:
    def test_one_that_is_well_is_one_line(self) -> None:
        assert told() == [(Outcome.OK, "follows orders: 3 waiting, 1 replica is right")]

    def test_large_numbers_have_separators(self) -> None:
        assert told(backlog=12_000, replicas=1_000, desired=1_200) == [
            (Outcome.OK, "follows orders: 12,000 waiting, 1,000 replicas should be 1,200")
        ]

    def test_what_it_would_be_scaled_to_is_said(self) -> None:
        assert told(desired=4) == [(Outcome.OK, "follows orders: 3 waiting, 1 replica should be 4")]

    def test_errors_are_wrong_and_warnings_are_to_be_looked_at(self) -> None:
        assert told(backlog=None, parts={}, errors=("no Temporal",), warnings=("no grace",)) == [
            (Outcome.WRONG, "no Temporal"),
            (Outcome.WARNING, "no grace"),
        ]

    def test_several_replicas_are_counted_as_several(self) -> None:
        assert told(replicas=2, desired=2) == [
            (Outcome.OK, "follows orders: 3 waiting, 2 replicas are right")
        ]

    def test_a_number_beside_a_warning_is_not_called_right(self) -> None:
        assert told(warnings=("no grace",))[-1] == (
            Outcome.OK,
            "follows orders: 3 waiting, 1 replica",
        )

    def test_a_number_that_is_in_trouble_is_not_called_right(self) -> None:
        refused = Reason(ReasonCode.REFUSED, "keeps 0: a rollout is under way")
        assert told(replicas=0, desired=0, reasons=(refused,)) == [
            (Outcome.WARNING, "keeps 0: a rollout is under way"),
            (Outcome.OK, "follows orders: 3 waiting, 0 replicas"),
        ]

    @pytest.mark.parametrize(
        "code",
        [ReasonCode.SCALE_IN_WINDOW, ReasonCode.COOLDOWN, ReasonCode.BUSY, ReasonCode.PAUSED],
    )
    def test_a_number_that_something_keeps_for_now_is_not_called_right(
        self, code: ReasonCode
    ) -> None:
        reasons = (Reason(ReasonCode.BACKLOG, "3 waiting tasks"), Reason(code, "it stays: 5"))
        assert told(replicas=5, desired=5, reasons=reasons) == [
            (Outcome.OK, "follows orders: 3 waiting, 5 replicas for now (it stays: 5)")
        ]

    @pytest.mark.parametrize("code", [ReasonCode.BACKLOG, ReasonCode.MIN, ReasonCode.MAX])
    def test_a_number_that_backlog_and_labels_ask_for_is_right(self, code: ReasonCode) -> None:
        assert told(reasons=(Reason(code, "so it is"),))[-1][1].endswith("1 replica is right")

    @pytest.mark.parametrize("code", list(ReasonCode))
    def test_a_reason_that_means_trouble_is_to_be_looked_at(self, code: ReasonCode) -> None:
        is_told = (Outcome.WARNING, "because") in told(reasons=(Reason(code, "because"),))
        assert is_told is (code.bearing is Bearing.TROUBLE)

    def test_a_queue_without_any_sign_of_life_may_be_misspelt(self) -> None:
        (warning, _) = told(backlog=0, parts={task_queue("ordesr"): stats(0)})
        assert warning[0] is Outcome.WARNING
        assert "task queue 'ordesr' has no poller, no backlog" in warning[1]
        assert "check its name and namespace" in warning[1]

    def test_without_any_service_it_says_how_to_add_one(self) -> None:
        (finding,) = found()
        assert finding.outcome is Outcome.WARNING
        assert "add temporal.queue=NAME to one" in finding.text

    def test_what_is_wrong_around_and_what_is_left_alone_is_said(self) -> None:
        report = TickReport(
            START,
            warnings=("another autoscaler is there",),
            wish_warnings=("shop.yaml is wrong",),
            left_alone=(ServiceId("compose", "mail/worker"),),
        )
        warning, wrong, left = examine_services(report)
        assert wrong == Finding("wishes", Outcome.WARNING, "shop.yaml is wrong")
        assert warning == Finding("projects", Outcome.WARNING, "another autoscaler is there")
        assert left.outcome is Outcome.OK
        assert "left alone: mail/worker" in left.text
        assert "AUTOSCALER_PROJECTS=*" in left.text

    def test_an_engine_that_does_not_answer_is_wrong(self) -> None:
        assert found(errors=("no engine",)) == [Finding("services", Outcome.WRONG, "no engine")]


@pytest.mark.parametrize(
    ("left", "outcome", "text"),
    [
        (31 * DAY, Outcome.OK, "its API key expires on 2026-02-01"),
        (30 * DAY, Outcome.WARNING, "its API key expires on 2026-01-31: replace it"),
        (SECOND, Outcome.WARNING, "its API key expires on 2026-01-01: replace it"),
        (timedelta(), Outcome.WRONG, "its API key expired on 2026-01-01: replace it"),
    ],
)
def test_a_credential_is_to_be_replaced_a_month_before_its_end(
    left: timedelta, outcome: Outcome, text: str
) -> None:
    assert examine_expiry("x", "API key", START + left, START) == Finding("x", outcome, text)
    assert expires_soon(START + left, START) is (outcome is not Outcome.OK)

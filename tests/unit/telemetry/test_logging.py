"""Log lines: one for each change and each problem, none for an idle tick."""

from __future__ import annotations

import io
import json
import traceback
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from autoscaler.core.drain import Drain, Fate, Verdict
from autoscaler.core.model import ScalingAction, ServiceId
from autoscaler.core.origin import Given
from autoscaler.core.reason import Bearing, Reason, ReasonCode
from autoscaler.core.redaction import Redactor
from autoscaler.core.report import IntegrationReport, ServiceReport, TickReport
from autoscaler.telemetry.logging import LogObserver, RedactedStream, make_logger
from tests.fakes.clock import START
from tests.fakes.reports import compose

TEN = Reason(ReasonCode.BACKLOG, "100 waiting tasks at target 10 → 10")
MAX = Reason(ReasonCode.MAX, "max: 5")
NO_ENGINE = "no Docker Engine at the default socket"
NO_TEMPORAL = "Temporal does not answer"
ALL = compose("a/one", "b/two", "shop/worker")
"""The services that `log` has seen."""


class Log:
    """An observer, and what it wrote for the latest tick."""

    def __init__(self, level: str = "info", *, as_json: bool = True) -> None:
        self._stream = io.StringIO()
        self._observer = LogObserver(make_logger(level, json=as_json, stream=self._stream))

    def text(self, *services: ServiceReport, **rest: Any) -> str:
        """Show one tick, and return what was written for it."""
        self._observer.observe(TickReport(START, services, **rest))
        written = self._stream.getvalue()
        self._stream.seek(0)
        self._stream.truncate()
        return written

    def lines(self, *services: ServiceReport, **rest: Any) -> list[dict[str, Any]]:
        """Show one tick, and return the lines written for it, without their time."""
        lines = [json.loads(line) for line in self.text(*services, **rest).splitlines()]
        for line in lines:
            assert line.pop("timestamp")
        return lines

    def events(self, *services: ServiceReport, **rest: Any) -> list[str]:
        """Show one tick, and return what its lines are about."""
        return [line["event"] for line in self.lines(*services, **rest)]


def service(name: str = "shop/worker", **seen: Any) -> ServiceReport:
    """Report a service that has the replicas it should have, unless told otherwise."""
    id_ = ServiceId("compose", name)
    well: dict[str, Any] = {"replicas": 1, "desired": 1, "queues": ("orders",)}
    return ServiceReport(id_, **(well | seen))


def scaled(current: int, desired: int, *reasons: Reason) -> ServiceReport:
    """Report a service whose replicas are being changed."""
    action = ScalingAction(ServiceId("compose", "shop/worker"), current, desired, reasons)
    return service(replicas=current, desired=desired, backlog=100, reasons=reasons, action=action)


@pytest.fixture
def log() -> Log:
    """A log after a first tick without any problem."""
    quiet = Log()
    quiet.lines(service("a/one"), service("b/two"), service())
    return quiet


def draining(fate: Fate, words: str) -> ServiceReport:
    """Report a service with a replica of which that was decided."""
    who = ServiceId("compose", "shop/worker")
    drain = Drain("id3", "shop-worker-3", who, START, timedelta(), None)
    return service(drains=(Verdict(drain, fate, words),))


def others() -> tuple[ServiceReport, ServiceReport]:
    """Report the two other services, which are well."""
    return service("a/one"), service("b/two")


class TestChanges:
    def test_a_change_is_one_line_with_numbers_and_reasons(self, log: Log) -> None:
        assert log.lines(*others(), scaled(1, 5, TEN, MAX)) == [
            {
                "event": "scaling out",
                "level": "info",
                "service": "shop/worker",
                "queue": "orders",
                "backlog": 100,
                "replicas": 1,
                "desired": 5,
                "reasons": ["100 waiting tasks at target 10 → 10", "max: 5"],
            }
        ]

    def test_fewer_replicas_are_a_scale_in(self, log: Log) -> None:
        assert log.events(*others(), scaled(5, 1, MAX)) == ["scaling in"]

    def test_a_tick_that_changes_nothing_is_no_line(self, log: Log) -> None:
        assert log.lines(*others(), service(replicas=1, desired=5, dry_run=True)) == []

    def test_busy_replicas_that_were_stopped_are_an_error(self, log: Log) -> None:
        assert log.lines(*others(), service(interrupted=2)) == [
            {
                "event": "busy replicas stopped",
                "level": "error",
                "service": "shop/worker",
                "replicas": 2,
            }
        ]

    def test_below_info_every_tick_is_a_line(self) -> None:
        log = Log("debug")
        log.lines(service())
        (line,) = log.lines(service(errors=(NO_TEMPORAL,)))[1:]
        assert line == {"event": "tick", "level": "debug", "services": 1, "failed": True}

    def test_above_info_changes_are_no_lines(self) -> None:
        log = Log("error")
        assert log.events(scaled(1, 5, TEN), service("a/one", errors=(NO_TEMPORAL,))) == [
            "cannot scale"
        ]


class TestHeld:
    """What keeps a service from following its backlog, and is no error."""

    @pytest.mark.parametrize(
        "code", [code for code in ReasonCode if code.bearing is not Bearing.NORMAL]
    )
    def test_it_is_logged_once_when_it_begins_and_again_when_it_comes_back(
        self, log: Log, code: ReasonCode
    ) -> None:
        held = service(backlog=100, reasons=(TEN, Reason(code, "→ keeps 1")))
        (line,) = log.lines(*others(), held)
        assert (line["event"], line["service"]) == ("held", "shop/worker")
        assert (line["replicas"], line["desired"]) == (1, 1)
        assert line["reasons"] == ["100 waiting tasks at target 10 → 10", "→ keeps 1"]
        assert log.events(*others(), held) == []
        assert log.events(*others(), service()) == []
        assert log.events(*others(), held) == ["held"]

    def test_two_things_that_begin_together_are_one_line(self, log: Log) -> None:
        both = (Reason(ReasonCode.CEILING, "at most 1"), Reason(ReasonCode.BUSY, "at work: 1"))
        held = service(backlog=100, reasons=(TEN, *both))
        (line,) = log.lines(*others(), held)
        assert line["reasons"][1:] == ["at most 1", "at work: 1"]

    def test_it_is_not_logged_again_when_the_engine_is_back(self, log: Log) -> None:
        held = service(backlog=100, reasons=(TEN, Reason(ReasonCode.REFUSED, "→ keeps 1")))
        log.lines(*others(), held)
        log.lines(errors=(NO_ENGINE,), unseen=ALL)
        assert log.events(*others(), held) == ["recovered"]

    @pytest.mark.parametrize(
        "code", [code for code in ReasonCode if code.bearing is Bearing.NORMAL]
    )
    def test_what_is_as_it_should_be_is_not_logged(self, log: Log, code: ReasonCode) -> None:
        normal = service(backlog=100, reasons=(TEN, Reason(code, "because")))
        assert log.events(*others(), normal) == []


class TestServices:
    def test_those_found_at_the_start_are_named(self) -> None:
        lines = Log().lines(service("b/two"), service("a/one"))
        assert [(line["event"], line["service"]) for line in lines] == [
            ("service found", "a/one"),
            ("service found", "b/two"),
        ]

    def test_that_there_is_none_is_said_once(self) -> None:
        log = Log()
        assert log.events() == ["no service carries a label of the autoscaler yet"]
        assert log.events() == []

    def test_one_that_comes_or_goes_is_named(self, log: Log) -> None:
        lines = log.lines(*others(), service("c/new"))
        assert [(line["event"], line["service"]) for line in lines] == [
            ("service found", "c/new"),
            ("service gone", "shop/worker"),
        ]

    def test_those_of_an_engine_that_does_not_answer_are_not_gone(self, log: Log) -> None:
        assert log.events(errors=(NO_ENGINE,), unseen=ALL) == ["cannot scale"]
        assert log.events(*others(), service()) == ["recovered"]

    def test_an_error_of_one_orchestrator_keeps_no_service_of_the_other(self, log: Log) -> None:
        lines = log.lines(service(), errors=("no Swarm",), unseen=compose("b/two"))
        assert [(line["event"], line.get("service")) for line in lines] == [
            ("service gone", "a/one"),
            ("cannot scale", None),
        ]

    def test_one_that_goes_while_the_engine_is_away_is_gone_when_it_is_back(self, log: Log) -> None:
        log.lines(errors=(NO_ENGINE,), unseen=ALL)
        assert log.events(*others()) == ["service gone", "recovered"]


class TestLabels:
    def test_what_somebody_changed_is_named_from_what_to_what(self, log: Log) -> None:
        log.lines(*others(), service(labels={"temporal.max": "5", "temporal.queue": "orders"}))
        now = {"temporal.mode": "off", "temporal.queue": "mails"}
        (line,) = log.lines(*others(), service(labels=now))
        assert (line["event"], line["service"]) == ("labels changed", "shop/worker")
        assert line["changes"] == [
            "temporal.max: 5 -> not set",
            "temporal.mode: not set -> off",
            "temporal.queue: orders -> mails",
        ]
        assert log.lines(*others(), service(labels=now)) == []

    def test_where_the_new_value_comes_from_is_named_unless_it_is_a_label(self, log: Log) -> None:
        before = {"temporal.max": "5", "temporal.min": "1"}
        given = {
            "temporal.max": Given("7", "shop.yaml:3"),
            "temporal.min": Given("2", "label"),
        }
        log.lines(*others(), service(labels=before))
        now = service(labels={"temporal.max": "7", "temporal.min": "2"}, given=given)
        (line,) = log.lines(*others(), now)
        assert line["changes"] == ["temporal.max: 5 -> 7 (shop.yaml:3)", "temporal.min: 1 -> 2"]

    def test_those_of_a_service_that_is_new_are_no_change(self, log: Log) -> None:
        new = service("c/new", labels={"temporal.queue": "orders"})
        assert log.events(*others(), service(), new) == ["service found"]


class TestSurroundings:
    def test_what_is_wrong_with_a_services_file_is_said_once(self, log: Log) -> None:
        wrong = {"wish_warnings": ("shop.yaml is wrong",)}
        (line,) = log.lines(*others(), service(), **wrong)
        assert (line["event"], line["warning"]) == ("warning", "shop.yaml is wrong")
        assert log.lines(*others(), service(), **wrong) == []

    def test_what_is_not_known_of_the_host_is_said_once(self, log: Log) -> None:
        refused = {"memory_warnings": ("statistics are refused",)}
        (line,) = log.lines(*others(), service(), **refused)
        assert (line["event"], line["warning"]) == ("warning", "statistics are refused")
        assert log.lines(*others(), service(), **refused) == []

    def test_services_of_other_projects_are_named_once(self, log: Log) -> None:
        left = {"left_alone": compose("mail/worker", "mail/sender")}
        (line,) = log.lines(*others(), service(), **left)
        assert (line["event"], line["level"]) == ("left alone", "info")
        assert line["services"] == ["mail/sender", "mail/worker"]
        assert "AUTOSCALER_PROJECTS=* looks after all" in line["because"]
        assert log.lines(*others(), service(), **left) == []
        assert log.lines(*others(), service()) == []
        assert log.lines(*others(), service(), **left) == []

    def test_a_new_one_is_named_alone(self, log: Log) -> None:
        log.lines(*others(), service(), left_alone=compose("mail/worker"))
        (line,) = log.lines(*others(), service(), left_alone=compose("mail/new", "mail/worker"))
        assert line["services"] == ["mail/new"]

    def test_where_only_those_carry_labels_it_does_not_say_that_none_does(self) -> None:
        assert Log().events(left_alone=compose("mail/worker")) == ["left alone"]

    def test_what_is_wrong_around_is_a_warning_of_the_engine(self, log: Log) -> None:
        wrong = {"warnings": ("container other is another autoscaler",)}
        (line,) = log.lines(*others(), service(), **wrong)
        assert (line["event"], line["services"]) == ("warning", ["engine"])
        assert log.lines(*others(), service(), **wrong) == []
        assert log.events(*others(), service()) == ["recovered"]


class TestProblems:
    def test_it_is_told_once_and_its_end_once(self, log: Log) -> None:
        troubled = service(errors=(NO_TEMPORAL,))
        (begun,) = log.lines(*others(), troubled)
        assert begun["event"] == "cannot scale"
        assert begun["level"] == "error"
        assert begun["error"] == NO_TEMPORAL
        assert log.lines(*others(), troubled) == []
        (over,) = log.lines(*others(), service())
        assert over["event"] == "recovered"
        assert over["level"] == "info"
        assert log.lines(*others(), service()) == []

    def test_one_problem_of_many_services_is_one_line_that_names_them(self, log: Log) -> None:
        troubled = [service(name, errors=(NO_TEMPORAL,)) for name in ("b/two", "a/one")]
        (begun,) = log.lines(*troubled, service())
        assert begun["services"] == ["a/one", "b/two"]
        (over,) = log.lines(*others(), service())
        assert over["services"] == ["a/one", "b/two"]

    def test_a_service_that_meets_it_later_is_told_alone(self, log: Log) -> None:
        first, second = (service(name, errors=(NO_TEMPORAL,)) for name in ("a/one", "b/two"))
        log.lines(first, service("b/two"), service())
        (begun,) = log.lines(first, second, service())
        assert begun["services"] == ["b/two"]

    def test_two_problems_of_a_service_are_two_lines_and_one_recovery(self, log: Log) -> None:
        both = service(errors=(NO_TEMPORAL, "temporal.max='x' must be a whole number"))
        assert log.events(*others(), both) == ["cannot scale", "cannot scale"]
        assert log.events(*others(), service(errors=(NO_TEMPORAL,))) == []
        assert log.events(*others(), service()) == ["recovered"]

    def test_another_problem_in_place_of_the_first_is_told(self, log: Log) -> None:
        log.lines(*others(), service(errors=(NO_TEMPORAL,)))
        (begun,) = log.lines(*others(), service(errors=("no space left on device",)))
        assert begun["error"] == "no space left on device"

    def test_a_problem_that_comes_back_is_told_again(self, log: Log) -> None:
        troubled = service(errors=(NO_TEMPORAL,))
        for _ in range(2):
            assert log.events(*others(), troubled) == ["cannot scale"]
            assert log.events(*others(), service()) == ["recovered"]

    def test_a_warning_is_a_line_of_its_own_level(self, log: Log) -> None:
        assert log.lines(*others(), service(warnings=("take care",))) == [
            {
                "event": "warning",
                "level": "warning",
                "services": ["shop/worker"],
                "warning": "take care",
            }
        ]

    def test_that_of_a_service_that_is_gone_is_not_called_recovered(self, log: Log) -> None:
        log.lines(*others(), service(errors=(NO_TEMPORAL,)))
        assert log.events(*others()) == ["service gone"]

    def test_that_of_an_engine_is_told_as_the_engines(self, log: Log) -> None:
        (begun,) = log.lines(errors=(NO_ENGINE,), unseen=ALL)
        assert begun["error"] == NO_ENGINE
        assert begun["services"] == ["engine"]
        assert log.lines(errors=(NO_ENGINE,), unseen=ALL) == []

    def test_that_of_a_service_is_not_told_again_when_the_engine_is_back(self, log: Log) -> None:
        troubled = service(errors=(NO_TEMPORAL,))
        log.lines(*others(), troubled)
        log.lines(errors=(NO_ENGINE,), unseen=ALL)
        (line,) = log.lines(*others(), troubled)
        assert line["event"] == "recovered"
        assert line["services"] == ["engine"]

    def test_that_of_a_service_may_end_together_with_the_engines(self, log: Log) -> None:
        log.lines(*others(), service(errors=(NO_TEMPORAL,)))
        log.lines(errors=(NO_ENGINE,), unseen=ALL)
        (line,) = log.lines(*others(), service())
        assert line["services"] == ["engine", "shop/worker"]


class TestConsole:
    def test_a_change_reads_as_a_sentence_of_its_parts(self) -> None:
        log = Log(as_json=False)
        log.text(service())
        line = log.text(scaled(1, 5, TEN, MAX))
        assert line.count("\n") == 1
        assert "scaling out" in line
        assert "service=shop/worker" in line
        assert "replicas=1 desired=5" in line
        assert "reasons='100 waiting tasks at target 10 → 10; max: 5'" in line

    def test_services_with_one_problem_stand_side_by_side(self) -> None:
        log = Log(as_json=False)
        services = [service(name, errors=(NO_TEMPORAL,)) for name in ("a/one", "b/two")]
        line = log.text(*services).splitlines()[-1]
        assert "'a/one, b/two'" in line
        assert "error='Temporal does not answer'" in line

    def test_there_are_no_colours_where_there_is_no_terminal(self) -> None:
        assert "\x1b" not in Log(as_json=False).text(service(), errors=(NO_ENGINE,))


class TestIntegrations:
    """What is logged of connections; what they keep services from is logged with the services."""

    @staticmethod
    def log() -> tuple[io.StringIO, LogObserver]:
        stream = io.StringIO()
        return stream, LogObserver(make_logger("info", json=True, stream=stream))

    @staticmethod
    def cloud(**seen: Any) -> IntegrationReport:
        well: dict[str, Any] = {"origin": "environment", "up": True}
        return IntegrationReport("cloud", "cloud:7233", "shop", **(well | seen))

    def events(self, *looks: tuple[datetime, IntegrationReport]) -> list[str]:
        """Show ticks one after another, and return what was logged."""
        stream, observer = self.log()
        for now, integration in looks:
            observer.observe(TickReport(now, integrations=(integration,)))
        lines = [json.loads(line) for line in stream.getvalue().splitlines()[1:]]
        return [
            f"{line['level']}: {line['event']} {line.get('days', '')}".strip() for line in lines
        ]

    def test_30_7_and_1_days_before_a_credential_ends_it_is_said_once_each(self) -> None:
        ends = START + timedelta(days=40)
        ago = [31, 30, 29, 8, 7, 6, 2, 1, 0.5, 0, -1]
        looks = [(ends - timedelta(days=days), self.cloud(expires_at=ends)) for days in ago]
        assert self.events(*looks) == [
            "warning: credential expires 30",
            "warning: credential expires 7",
            "warning: credential expires 1",
            "error: credential expired 0",
        ]

    def test_a_daemon_that_is_started_late_says_it_once(self) -> None:
        ends = START + timedelta(days=3)
        looks = [(START + timedelta(seconds=tick), self.cloud(expires_at=ends)) for tick in (0, 5)]
        assert self.events(*looks) == ["warning: credential expires 3"]

    def test_after_a_rotation_it_begins_again(self) -> None:
        near, far = START + timedelta(days=1), START + timedelta(days=7)
        assert self.events(
            (START, self.cloud(expires_at=near)),
            (START, self.cloud(expires_at=far)),
            (START, self.cloud(expires_at=far)),
        ) == ["warning: credential expires 1", "warning: credential expires 7"]

    def test_without_an_end_nothing_is_said(self) -> None:
        assert self.events((START, self.cloud())) == []

    def test_credentials_that_could_not_be_taken_up_are_said_once(self) -> None:
        kept = self.cloud(error="the key is half written; the previous are used")
        looks = [(START, each) for each in (kept, kept, self.cloud(), kept)]
        assert self.events(*looks) == ["warning: warning", "warning: warning"]

    def test_one_that_is_down_is_in_its_services_errors_alone(self) -> None:
        assert self.events((START, self.cloud(up=False, error="down"))) == []


def test_no_line_shows_a_secret() -> None:
    stream, redactor = io.StringIO(), Redactor()
    redactor.learn(SecretStr("planted-secret"))
    observer = LogObserver(make_logger("debug", json=True, stream=stream, redactor=redactor))
    scaling = scaled(1, 5, Reason(ReasonCode.BACKLOG, "because planted-secret"))
    observer.observe(
        TickReport(START, (scaling, service("planted-secret")), ("engine planted-secret",))
    )
    assert "planted-secret" not in stream.getvalue()
    assert stream.getvalue().count("[hidden]") >= 3


def test_no_traceback_shows_a_secret() -> None:
    stream, redactor = io.StringIO(), Redactor()
    redactor.learn(SecretStr("planted-secret"))
    error = ValueError("this is no key: planted-secret")
    traceback.print_exception(error, file=RedactedStream(stream, redactor))
    assert stream.getvalue().endswith("ValueError: this is no key: [hidden]\n")


class TestDrains:
    @pytest.mark.parametrize(
        ("fate", "event", "level"),
        [
            (Fate.FINISH, "finishing", "info"),
            (Fate.KILL, "killed", "warning"),
            (Fate.TAKE_BACK, "taken back", "warning"),
        ],
    )
    def test_what_becomes_of_a_replica_is_logged_once(
        self, log: Log, fate: Fate, event: str, level: str
    ) -> None:
        first = log.lines(*others(), draining(fate, "1m beyond its grace"))
        assert first == [
            {
                "service": "shop/worker",
                "replica": "shop-worker-3",
                "because": "1m beyond its grace",
                "event": event,
                "level": level,
            }
        ]
        assert log.lines(*others(), draining(fate, "2m beyond its grace")) == []

    def test_each_turn_is_logged(self, log: Log) -> None:
        log.lines(*others(), draining(Fate.FINISH, "1m beyond its grace"))
        events = log.events(*others(), draining(Fate.KILL, "is killed"))
        assert events == ["killed"]

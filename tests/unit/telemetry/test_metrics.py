"""Metrics: gauges show the latest tick, counters add up, nothing outlives its service."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.core.backlog import QueueStats, TaskQueue
from autoscaler.core.host_memory import HostMemory
from autoscaler.core.label_values import QueueType
from autoscaler.core.model import ServiceId
from autoscaler.core.override import Override
from autoscaler.core.reason import Reason, ReasonCode
from autoscaler.core.report import LimitReport, ServiceReport
from autoscaler.telemetry.metrics import Metrics
from tests.fakes.clock import START
from tests.fakes.reports import broken, compose, integration, scaled, service, tick

Labels = dict[str, str]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def scrape(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every sample by its name and labels."""
    body, _ = metrics.exposition("")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return one sample; None where there is no such series."""
    pairs = ((key.rstrip("_"), text) for key, text in labels.items())
    return scrape(metrics).get((f"autoscaler_{name}", frozenset(pairs)))


def series(metrics: Metrics, service: str) -> set[str]:
    """Return the names of all series of a service."""
    return {name for name, labels in scrape(metrics) if ("service", service) in labels}


WORKER = "shop/worker"


class TestOverrides:
    def test_each_value_that_is_set_live_is_1_while_it_is_in_force(self, metrics: Metrics) -> None:
        end = START + timedelta(hours=1)
        worker = ServiceId("compose", WORKER)
        given = Override(worker, "mode", "off", START, end, "anna")
        metrics.observe(tick(service(), overrides=(given,)))
        assert value(metrics, "override", service=WORKER, name_="mode") == 1
        metrics.observe(tick(service()))
        assert value(metrics, "override", service=WORKER, name_="mode") is None

    def test_it_has_its_end_unless_it_stays_until_it_is_removed(self, metrics: Metrics) -> None:
        end = START + timedelta(hours=1)
        worker = ServiceId("compose", WORKER)
        given = (
            Override(worker, "max", "6", START, end, "anna"),
            Override(worker, "min", "2", START, None, "anna"),
        )
        metrics.observe(tick(service(), overrides=given))
        name = "override_end_timestamp_seconds"
        assert value(metrics, name, service=WORKER, name_="max") == end.timestamp()
        assert value(metrics, name, service=WORKER, name_="min") is None


class TestSwarmChoice:
    @pytest.mark.parametrize(
        ("chooses_any", "expected"), [(True, 1), (False, 0), (None, None)], ids=str
    )
    def test_it_says_whether_every_idle_task_can_be_chosen_where_that_is_asked_for(
        self, metrics: Metrics, *, chooses_any: bool | None, expected: float | None
    ) -> None:
        metrics.observe(tick(service(chooses_any=chooses_any)))
        assert value(metrics, "swarm_choice_complete", service=WORKER) == expected


class TestGauges:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("backlog_age_seconds", 10),
            ("replicas", 2),
            ("desired_replicas", 4),
            ("wished_replicas", 6),
            ("min_replicas", 1),
            ("max_replicas", 20),
            ("busy_replicas", 1),
            ("draining_replicas", 3),
            ("throughput_tasks", 1.1),
        ],
    )
    def test_each_shows_what_the_latest_tick_saw(
        self, metrics: Metrics, name: str, expected: float
    ) -> None:
        metrics.observe(tick(service(waiting=100)))
        seen = {"replicas": 2, "desired": 4, "wished": 6, "busy": 1, "draining": 3}
        seen |= {"throughput": 1.1}
        metrics.observe(tick(service(waiting=40, **seen)))
        assert value(metrics, name, service=WORKER) == expected

    def test_the_backlog_is_shown_for_each_queue_and_type(self, metrics: Metrics) -> None:
        metrics.observe(tick(service(waiting=40)))
        shown = {
            type_: value(metrics, "backlog_tasks", service=WORKER, queue="orders", type=type_)
            for type_ in ("workflow", "activity", "nexus")
        }
        assert shown == {"workflow": 10, "activity": 30, "nexus": None}

    def test_a_group_shows_the_replicas_of_its_services(self, metrics: Metrics) -> None:
        limits = (LimitReport("group gpu", 4, 3, 9), LimitReport("all services", 20, 12, 12))
        metrics.observe(tick(service(), limits=limits))
        assert value(metrics, "group_replicas", group="gpu") == 3
        groups = [labels for name, labels in scrape(metrics) if name.endswith("group_replicas")]
        assert len(groups) == 1

    def test_the_memory_of_the_host_is_shown_where_it_is_known(self, metrics: Metrics) -> None:
        metrics.observe(tick(service(), memory=HostMemory(total=900, free=300, reserve=90)))
        kinds = ("total", "free", "reserve")
        shown = [value(metrics, "host_memory_bytes", kind=kind) for kind in kinds]
        assert shown == [900, 300, 90]
        metrics.observe(tick(service()))
        assert value(metrics, "host_memory_bytes", kind="free") is None

    def test_queues_of_one_name_in_two_namespaces_add_up(self, metrics: Metrics) -> None:
        stats = QueueStats(5, timedelta(), 0.0, 0.0)
        twice = {
            TaskQueue("default", namespace, "orders", QueueType.WORKFLOW): stats
            for namespace in (None, "other")
        }
        metrics.observe(tick(replace(service(), parts=twice)))
        labels = {"service": WORKER, "queue": "orders", "type": "workflow"}
        assert value(metrics, "backlog_tasks", **labels) == 10

    def test_what_is_unknown_has_no_series(self, metrics: Metrics) -> None:
        metrics.observe(tick(service(waiting=None)))
        shown = series(metrics, WORKER)
        assert "autoscaler_replicas" in shown
        assert not shown & {
            "autoscaler_backlog_tasks",
            "autoscaler_backlog_age_seconds",
            "autoscaler_busy_replicas",
        }

    def test_connections_show_whether_they_are_up_and_when_they_expire(
        self, metrics: Metrics
    ) -> None:
        expiry = START + timedelta(days=9)
        metrics.observe(
            tick(
                integrations=(
                    integration(expires_at=expiry),
                    integration("cloud", up=False),
                    integration("spare", up=None),
                )
            )
        )
        up = {
            name: value(metrics, "integration_up", integration=name)
            for name in ("default", "cloud", "spare")
        }
        assert up == {"default": 1, "cloud": 0, "spare": None}
        name = "credential_expiry_timestamp_seconds"
        assert value(metrics, name, integration="default") == expiry.timestamp()
        assert value(metrics, name, integration="cloud") is None


class TestCounters:
    def test_changes_count_by_their_direction(self, metrics: Metrics) -> None:
        for report in (scaled(service(), 3), service(replicas=3), scaled(service(replicas=3), 1)):
            metrics.observe(tick(report))
        counted = [
            value(metrics, "scaling_actions_total", service=WORKER, direction=direction)
            for direction in ("out", "in")
        ]
        assert counted == [1, 1]

    def test_each_reason_of_a_decision_counts_by_its_code(self, metrics: Metrics) -> None:
        reasons = (Reason(ReasonCode.BACKLOG, "900: 90"), Reason(ReasonCode.MAX, "max: 20"))
        for _ in range(3):
            metrics.observe(tick(service(reasons=reasons)))
        for reason in ("backlog", "max"):
            assert value(metrics, "decisions_total", service=WORKER, reason=reason) == 3

    def test_errors_count_by_where_to_look(self, metrics: Metrics) -> None:
        unread = service("shop/blind", None, errors=("Temporal does not answer",))
        fallback = service(
            "shop/fallen",
            None,
            errors=("Temporal does not answer",),
            reasons=(Reason(ReasonCode.FALLBACK, "backlog unknown for 3m: fallback of 5: 5"),),
        )
        stuck = service("shop/stuck", errors=("no such image", "it ended"), crash="it ended")
        for _ in range(2):
            metrics.observe(tick(broken(), unread, fallback, stuck))
        unseen = compose("shop/mailer", "shop/blind", "shop/fallen", "shop/stuck")
        metrics.observe(tick(errors=("no Docker Engine",), unseen=unseen))
        expected = {
            ("shop/mailer", "labels"): 4,
            ("shop/blind", "temporal"): 2,
            ("shop/fallen", "temporal"): 2,
            ("shop/stuck", "scaling"): 2,
            ("shop/stuck", "crash"): 2,
            ("", "engine"): 1,
        }
        for (name, kind), count in expected.items():
            assert value(metrics, "errors_total", service=name, kind=kind) == count

    def test_interrupted_replicas_are_zero_from_the_first_tick_on(self, metrics: Metrics) -> None:
        metrics.observe(tick(service()))
        assert value(metrics, "interrupted_replicas_total", service=WORKER) == 0
        metrics.observe(tick(service(interrupted=2)))
        metrics.observe(tick(service(interrupted=1)))
        assert value(metrics, "interrupted_replicas_total", service=WORKER) == 3

    def test_crashes_are_counted_from_the_first_tick_on(self, metrics: Metrics) -> None:
        metrics.observe(tick(service()))
        assert value(metrics, "crashed_replicas_total", service=WORKER) == 0
        metrics.observe(tick(service(crashed=2)))
        metrics.observe(tick(service(crashed=1)))
        assert value(metrics, "crashed_replicas_total", service=WORKER) == 3

    def test_ticks_and_calls_are_measured(self, metrics: Metrics) -> None:
        metrics.observe(tick())
        metrics.request_took(0.01)
        assert value(metrics, "tick_seconds_count") == 1
        assert value(metrics, "tick_seconds_sum") == 0.02
        assert value(metrics, "temporal_request_seconds_count") == 1
        assert value(metrics, "temporal_request_seconds_sum") == 0.01


class TestGone:
    def everything(self) -> ServiceReport:
        return replace(
            scaled(service(waiting=40, busy=1), 4), interrupted=1, errors=("no such image",)
        )

    def test_no_series_outlives_its_service(self, metrics: Metrics) -> None:
        metrics.observe(tick(self.everything(), service("shop/other")))
        assert len(series(metrics, WORKER)) == 14
        metrics.observe(tick(service("shop/other")))
        assert series(metrics, WORKER) == set()
        assert len(series(metrics, "shop/other")) > 5

    def test_one_that_comes_back_begins_at_zero(self, metrics: Metrics) -> None:
        metrics.observe(tick(service(interrupted=2)))
        metrics.observe(tick())
        metrics.observe(tick(service()))
        assert value(metrics, "interrupted_replicas_total", service=WORKER) == 0

    def test_while_the_engine_does_not_answer_counters_are_kept(self, metrics: Metrics) -> None:
        metrics.observe(tick(scaled(service(), 3)))
        metrics.observe(tick(errors=("no Docker Engine",), unseen=compose(WORKER)))
        assert series(metrics, WORKER) == {
            "autoscaler_scaling_actions_total",
            "autoscaler_decisions_total",
            "autoscaler_interrupted_replicas_total",
            "autoscaler_crashed_replicas_total",
        }
        metrics.observe(tick(scaled(service(), 3)))
        assert value(metrics, "scaling_actions_total", service=WORKER, direction="out") == 2

    def test_an_error_of_one_orchestrator_keeps_no_series_of_the_other(
        self, metrics: Metrics
    ) -> None:
        metrics.observe(tick(self.everything(), service("lost")))
        metrics.observe(tick(errors=("no Swarm",), unseen=(ServiceId("swarm", "lost"),)))
        assert series(metrics, WORKER) == set()
        assert "autoscaler_decisions_total" in series(metrics, "lost")

    def test_a_service_that_goes_while_the_engine_is_away_leaves_no_series(
        self, metrics: Metrics
    ) -> None:
        metrics.observe(tick(self.everything(), service("stays")))
        metrics.observe(tick(errors=("no engine",), unseen=compose(WORKER, "stays")))
        metrics.observe(tick(service("stays")))
        assert series(metrics, WORKER) == set()

    def test_series_depend_on_services_and_queues_only(self, metrics: Metrics) -> None:
        metrics.observe(tick(self.everything()))
        before = len(scrape(metrics))
        for number in range(100):
            text = f"{number} waiting tasks"
            reasons = (Reason(ReasonCode.BACKLOG, text),)
            metrics.observe(tick(replace(self.everything(), reasons=reasons, errors=(text,))))
        assert len(scrape(metrics)) == before


def test_a_name_with_any_character_in_it_is_escaped(metrics: Metrics) -> None:
    name = 'shop/"wor\\ker\n'
    metrics.observe(tick(ServiceReport(ServiceId("compose", name), 1, 1)))
    assert value(metrics, "replicas", service=name) == 1


def test_two_daemons_in_one_process_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    one.observe(tick(service()))
    assert value(other, "replicas", service=WORKER) is None

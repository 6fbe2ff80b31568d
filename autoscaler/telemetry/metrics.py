"""Metrics for Prometheus: gauges show the latest tick, counters count ticks and changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from autoscaler.core.groups import group_of
from autoscaler.core.host_memory import HostMemory
from autoscaler.core.reason import ReasonCode
from autoscaler.core.report import IntegrationReport, ServiceReport, TickReport

NO_SERVICE = ""
"""Value of the label `service` where an orchestrator could not name its services."""
TICK_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Upper bounds, in seconds."""
REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""Upper bounds, in seconds."""

LabelPair = tuple[str, str]
"""A service's name and the value of a counter's second label."""

_SERVICE_GAUGES: tuple[tuple[str, str, Callable[[ServiceReport], float | None]], ...] = (
    (
        "autoscaler_backlog_age_seconds",
        "How long the oldest waiting task has waited.",
        lambda report: None if report.age is None else report.age.total_seconds(),
    ),
    ("autoscaler_replicas", "Replicas that count now.", lambda report: report.replicas),
    ("autoscaler_desired_replicas", "Replicas wanted.", lambda report: report.desired),
    (
        "autoscaler_wished_replicas",
        "Replicas that the service would have if nothing were scarce.",
        lambda report: report.wished,
    ),
    ("autoscaler_min_replicas", "Fewest replicas by the labels.", lambda report: report.min),
    ("autoscaler_max_replicas", "Most replicas by the labels.", lambda report: report.max),
    (
        "autoscaler_busy_replicas",
        "Replicas seen at work at the latest look.",
        lambda report: report.busy,
    ),
    (
        "autoscaler_draining_replicas",
        "Replicas that were told to stop and have not ended.",
        lambda report: report.draining,
    ),
    (
        "autoscaler_throughput_tasks",
        "Tasks a second that a busy replica does, learnt or by its label.",
        lambda report: report.throughput,
    ),
    (
        "autoscaler_swarm_choice_complete",
        "1 where every idle task can be stopped by name, 0 where not, none where that is unknown.",
        lambda report: None if report.chooses_any is None else float(report.chooses_any),
    ),
)
_INTEGRATION_GAUGES: tuple[tuple[str, str, Callable[[IntegrationReport], float | None]], ...] = (
    (
        "autoscaler_integration_up",
        "1 where Temporal answered, 0 where it did not.",
        lambda report: None if report.up is None else float(report.up),
    ),
    (
        "autoscaler_credential_expiry_timestamp_seconds",
        "When the certificate or API key of a Temporal connection expires.",
        lambda report: None if report.expires_at is None else report.expires_at.timestamp(),
    ),
)
_MEMORY: tuple[tuple[tuple[str], Callable[[HostMemory], int]], ...] = (
    (("total",), lambda memory: memory.total),
    (("free",), lambda memory: memory.free),
    (("reserve",), lambda memory: memory.reserve),
)


class Metrics(Collector):
    """An observer of ticks that Prometheus can scrape.

    What is unknown has no series. The series of a service end when it is gone.
    """

    def __init__(self) -> None:
        # Without this, every counter has a second series with the time of its beginning.
        disable_created_metrics()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._tick = Histogram(
            "autoscaler_tick_seconds",
            "How long a tick lasted: finding services, reading backlogs, deciding.",
            buckets=TICK_BUCKETS,
            registry=self._registry,
        )
        self._request = Histogram(
            "autoscaler_temporal_request_seconds",
            "How long Temporal took to answer a call.",
            buckets=REQUEST_BUCKETS,
            registry=self._registry,
        )
        self._report: TickReport | None = None
        self._services: set[str] = set()
        """Services of the latest tick, those that it did not see included."""
        self._actions: Counter[LabelPair] = Counter()
        self._decisions: Counter[LabelPair] = Counter()
        self._errors: Counter[LabelPair] = Counter()
        self._interrupted: Counter[str] = Counter()
        self._crashed: Counter[str] = Counter()

    def observe(self, report: TickReport) -> None:
        """Record a tick."""
        self._report = report
        self._tick.observe(report.took.total_seconds())
        self._errors[NO_SERVICE, "engine"] += len(report.errors)
        for service in report.services:
            self._count(service)
        services = {
            *(str(service.service) for service in report.services),
            *map(str, report.unseen),
        }
        self._drop_counts(self._services - services)
        self._services = services

    def request_took(self, seconds: float) -> None:
        """Record how long one call to Temporal took."""
        self._request.observe(seconds)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the body and content type of all metrics, as an Accept header asks for them."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        """Yield every metric except the histograms, which register themselves."""
        services = () if self._report is None else self._report.services
        integrations = () if self._report is None else self._report.integrations
        yield _gauge(
            "autoscaler_backlog_tasks",
            "Waiting tasks of a task queue and type.",
            ("service", "queue", "type"),
            _waiting(services),
        )
        for name, text, value in _SERVICE_GAUGES:
            rows = (((str(service.service),), value(service)) for service in services)
            yield _gauge(name, text, ("service",), rows)
        limits = () if self._report is None else self._report.limits
        yield _gauge(
            "autoscaler_group_replicas",
            "Replicas of a group, with those that drain.",
            ("group",),
            (((group,), limit.replicas) for limit in limits if (group := group_of(limit.name))),
        )
        memory = None if self._report is None else self._report.memory
        yield _gauge(
            "autoscaler_host_memory_bytes",
            "Memory of the host: total, free, and the reserve that growth on Compose leaves free.",
            ("kind",),
            () if memory is None else ((kind, each(memory)) for kind, each in _MEMORY),
        )
        overrides = () if self._report is None else self._report.overrides
        yield _gauge(
            "autoscaler_override",
            "1 for each value that was set live and is in force; pauses have the name mode.",
            ("service", "name"),
            (((str(each.service), each.name), 1) for each in overrides),
        )
        yield _gauge(
            "autoscaler_override_end_timestamp_seconds",
            "When each value that was set live ends; none for one that stays until it is removed.",
            ("service", "name"),
            (
                ((str(each.service), each.name), each.until.timestamp())
                for each in overrides
                if each.until is not None
            ),
        )
        for name, text, state in _INTEGRATION_GAUGES:
            found = (((one.name,), state(one)) for one in integrations)
            yield _gauge(name, text, ("integration",), found)
        yield _counter(
            "autoscaler_scaling_actions",
            "Changes of replicas that were started.",
            ("service", "direction"),
            self._actions.items(),
        )
        yield _counter(
            "autoscaler_decisions",
            "Ticks in which a reason moved the decision.",
            ("service", "reason"),
            self._decisions.items(),
        )
        yield _counter(
            "autoscaler_errors",
            "Errors, counted in every tick in which they last; service is empty for the engine's.",
            ("service", "kind"),
            self._errors.items(),
        )
        yield _counter(
            "autoscaler_interrupted_replicas",
            "Replicas stopped although they were known to be busy.",
            ("service",),
            (((name,), count) for name, count in self._interrupted.items()),
        )
        yield _counter(
            "autoscaler_crashed_replicas",
            "Replicas that were seen to end by themselves.",
            ("service",),
            (((name,), count) for name, count in self._crashed.items()),
        )

    def _count(self, report: ServiceReport) -> None:
        name = str(report.service)
        if report.action is not None:
            out = report.action.desired > report.action.current
            self._actions[name, "out" if out else "in"] += 1
        for code in {reason.code for reason in report.reasons}:
            self._decisions[name, code] += 1
        for error in report.errors:
            kind = "crash" if error == report.crash else _kind(report)
            self._errors[name, kind] += 1
        # These counters should stay 0, so they are shown from the first tick on.
        self._interrupted[name] += report.interrupted
        self._crashed[name] += report.crashed

    def _drop_counts(self, gone: set[str]) -> None:
        for counter in (self._actions, self._decisions, self._errors):
            for key in [key for key in counter if key[0] in gone]:
                del counter[key]
        for name in gone:
            del self._interrupted[name], self._crashed[name]


def _kind(report: ServiceReport) -> str:
    """Return where to look for an error's cause: labels, temporal or scaling."""
    if report.max is None:
        return "labels"
    unknown = {ReasonCode.BACKLOG_UNKNOWN, ReasonCode.FALLBACK}
    return "temporal" if any(reason.code in unknown for reason in report.reasons) else "scaling"


def _waiting(services: Iterable[ServiceReport]) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield the backlog of each queue and type; queues that differ in namespace only add up."""
    for service in services:
        waiting: Counter[tuple[str, str, str]] = Counter()
        for queue, stats in service.parts.items():
            waiting[str(service.service), queue.name, queue.type] += stats.waiting
        yield from waiting.items()


def _gauge(
    name: str,
    text: str,
    labels: tuple[str, ...],
    rows: Iterable[tuple[tuple[str, ...], float | None]],
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in rows:
        if number is not None:
            family.add_metric(values, number)
    return family


def _counter(
    name: str,
    text: str,
    labels: tuple[str, ...],
    rows: Iterable[tuple[tuple[str, ...], float]],
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family

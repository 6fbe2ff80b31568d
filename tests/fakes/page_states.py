"""The status page in each state that matters, as made-up ticks of an hour that ends now.

`make pictures` shows some of them in the docs. `python -m scripts.pictures FOLDER` shows all, to be
looked at when the page has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from autoscaler.core.model import ServiceId
from autoscaler.core.origin import Given
from autoscaler.core.override import Override
from autoscaler.core.reason import Reason, ReasonCode
from autoscaler.core.report import LimitReport, ServiceReport, TickReport
from tests.fakes.reports import LATE, broken, busy_hour, compose, integration, scaled, service, tick

GIVEN = {
    "temporal.queue": Given("orders", "label"),
    "temporal.target": Given("10", "label"),
    "temporal.max": Given("20", "shop.yaml:3"),
}
KEY_REFUSED = (
    "integration cloud: DescribeTaskQueue in namespace shop.a1b2c at"
    " us-west-2.aws.api.temporal.io:7233 failed (PERMISSION_DENIED: Request unauthorized.); check"
    " the API key of integration cloud, that it has neither expired nor been deleted, and that it"
    " may read namespace shop.a1b2c"
)
UNREACHABLE = (
    "integration default: GetSystemInfo at temporal:7233 failed (connection refused); check the"
    " endpoint, that Temporal runs there, and whether it wants TLS or a client certificate"
)
NO_ENGINE = "no Docker Engine answers at unix:///var/run/docker.sock: is it running?"
NAMES = ("billing", "mails", "orders", "reports", "scans", "search", "thumbnails", "webhooks")

Hour = Iterator[TickReport]


def _ticks(*services: ServiceReport, minutes: int = 12, **rest: Any) -> Hour:
    """Report the same for some minutes, a tick every 15 s, after an hour with work."""
    now = datetime.now(UTC)
    begin = now - timedelta(minutes=minutes)
    for report in busy_hour(now):
        if report.at >= begin:
            yield tick(*services, **({"at": report.at} | rest))
            continue
        (seen,) = report.services
        waiting = seen.backlog or 0
        earlier = [
            replace(
                service(each.service.name, waiting, queue=(each.queues or ("orders",))[0]),
                replicas=seen.replicas, desired=seen.replicas, given=each.given,
                min=each.min, max=each.max,
            )
            for each in services
        ]  # fmt: skip
        yield tick(*earlier, at=report.at, integrations=(integration(),))


def _well(*services: ServiceReport, **rest: Any) -> Hour:
    return _ticks(*services, **({"integrations": (integration(),)} | rest))


def _steps(*steps: tuple[ReasonCode, str, str]) -> tuple[Reason, ...]:
    return tuple(Reason(*step) for step in steps)


def _unread(name: str, error: str) -> ServiceReport:
    """Report a service whose backlog could not be read."""
    reasons = _steps((ReasonCode.BACKLOG_UNKNOWN, "backlog unknown", "keeps 2"))
    return service(
        f"shop/{name}", None, queue=name, replicas=2, desired=2, errors=(error,), reasons=reasons
    )


def _named(report: ServiceReport, name: str) -> ServiceReport:
    """Return a report of a service and its task queue under another name."""
    id_ = ServiceId("compose", f"shop/{name}")
    action = report.action and replace(report.action, service=id_)
    parts = {queue._replace(name=name): stats for queue, stats in report.parts.items()}
    given = {**GIVEN, "temporal.queue": Given(name, "label")}
    return replace(report, service=id_, queues=(name,), parts=parts, given=given, action=action)


def empty() -> Hour:
    """Nobody has set a label yet."""
    yield tick(at=datetime.now(UTC), integrations=(integration(),))


def at_rest() -> Hour:
    """One service that has what it should have."""
    reasons = _steps(
        (ReasonCode.BACKLOG, "0 waiting tasks at target 10", "0"),
        (ReasonCode.MIN, "", "keeps 1 (min)"),
    )
    return _well(service("shop/orders", 0, given=GIVEN, reasons=reasons, throughput=1.4))


def scaling_out() -> Hour:
    """Three busy services, one of which grows in this tick."""
    for report in busy_hour(datetime.now(UTC), 3):
        named = map(_named, report.services, ("mails", "orders", "reports"))
        yield replace(report, services=tuple(named), integrations=(integration(),))


def at_max() -> Hour:
    """Max keeps a service from growing."""
    reasons = _steps(
        (ReasonCode.BACKLOG, "1,040 waiting tasks at target 10", "104"),
        (ReasonCode.MAX, "", "104 needed, at most 20 (max)"),
    )
    full = service(
        "shop/orders", 1040, replicas=20, desired=20, busy=20, given=GIVEN, reasons=reasons
    )
    return _well(full, service("shop/mails", 4, queue="mails"))


def at_zero() -> Hour:
    """A service sleeps."""
    asleep = service("shop/scans", 0, queue="scans", replicas=0, desired=0, min=0, max=5)
    return _well(asleep, minutes=70)


def doubt() -> Hour:
    """Nobody knows what is in flight, so nothing is stopped."""
    reasons = _steps(
        (ReasonCode.BACKLOG, "12 waiting tasks at target 10", "2"),
        (ReasonCode.SCALE_IN_LIMIT, "scale-in limit 2/15s", "4"),
        (ReasonCode.BUSY, "6 replicas may not be stopped (4 at work, 2 not reporting)", "keeps 6"),
    )
    held = service("shop/orders", 12, replicas=6, desired=6, busy=4, given=GIVEN, reasons=reasons)
    error = "how long tasks have waited was left out by the server: upgrade it"
    return _well(held, _unread("mails", error))


def temporal_unreachable() -> Hour:
    """One cause keeps all services from following their backlogs."""
    services = [_unread(name, UNREACHABLE) for name in NAMES]
    return _ticks(*services, integrations=(integration(up=False, error=UNREACHABLE),))


def key_refused() -> Hour:
    """One connection of two is refused."""
    cloud = integration(
        "cloud", endpoint="us-west-2.aws.api.temporal.io:7233", namespace="shop.a1b2c",
        up=False, error=KEY_REFUSED, expires_at=datetime.now(UTC) + timedelta(days=6),
    )  # fmt: skip
    services = [_unread(name, KEY_REFUSED) for name in NAMES[:4]]
    fine = service("shop/scans", 14, queue="scans", replicas=2, desired=2)
    return _ticks(*services, fine, integrations=(integration(), cloud))


def engine_unreachable() -> Hour:
    """The engine has gone, and what was seen before stays."""
    services = [
        service(f"shop/{name}", 14, queue=name, replicas=2, desired=2) for name in NAMES[:5]
    ]
    names = compose(*(each.service.name for each in services))
    now = datetime.now(UTC)
    yield from _well(*services)
    yield tick(at=now, errors=(NO_ENGINE,), unseen=names, integrations=(integration(),))


def overrides() -> Hour:
    """Somebody has paused one service and set values of another."""
    now = datetime.now(UTC)
    paused, set_ = ServiceId("compose", "shop/mails"), ServiceId("compose", "shop/orders")
    live = (
        Override(paused, "mode", "off", now, now + timedelta(minutes=42), "anna", "deploy"),
        Override(set_, "max", "40", now, None, "page", "a busy week"),
    )
    reasons = _steps((ReasonCode.OFF, "mode is off", "keeps 3"))
    given = {**GIVEN, "temporal.max": Given("40", "override by page: a busy week")}
    return _well(
        service("shop/mails", 60, queue="mails", replicas=3, desired=3, reasons=reasons),
        service("shop/orders", 181, replicas=19, desired=19, max=40, given=given),
        overrides=live,
    )


def share_held() -> Hour:
    """A limit that services share is used up."""
    because = "wants 9, gets 3: group gpu; shop/orders has priority 5"
    reasons = _steps(
        (ReasonCode.BACKLOG, "88 waiting tasks at target 10", "9"), (ReasonCode.SHARED, because, "")
    )
    return _well(
        service("shop/orders", 70, replicas=7, desired=7, given=GIVEN),
        service("shop/thumbnails", 88, queue="thumbnails", replicas=3, desired=3, wished=9,
                reasons=reasons),
        limits=(LimitReport("group gpu", 10, 10, 16),),
    )  # fmt: skip


def trouble() -> Hour:
    """Wrong labels, a crash, a long drain and a warning."""
    crash = "shop-reports-2 ended with exit code 1 after 3s; see docker logs shop-reports-2"
    late = replace(LATE, drain=replace(LATE.drain, name="shop-orders-3"))
    held = _steps(
        (ReasonCode.BACKLOG, "40 waiting tasks at target 10", "4"),
        (ReasonCode.CRASHED, "after a crash, more are started in 20s", "keeps 2"),
    )
    warning = "no worker polls scans: is the name of the task queue right?"
    return _well(
        broken("shop/mailer"),
        service("shop/orders", 12, draining=2, drains=(late,), replicas=2, desired=2, given=GIVEN),
        service("shop/reports", 40, queue="reports", replicas=2, desired=2, crash=crash,
                errors=(crash,), reasons=held),
        service("shop/scans", 12, queue="scans", replicas=2, desired=2, warnings=(warning,)),
    )  # fmt: skip


def many() -> Hour:
    """Forty services; one changes all the time."""
    for number, report in enumerate(busy_hour(datetime.now(UTC), 40)):
        _, *others = report.services
        before, after = (3, 2) if number % 2 else (2, 3)
        restless = scaled(service("shop/worker-0", 10 * after, replicas=before), after)
        yield replace(report, services=(restless, *others), integrations=(integration(),))


STATES: Mapping[str, Callable[[], Hour]] = {
    state.__name__.replace("_", "-"): state
    for state in (
        empty, at_rest, scaling_out, at_max, at_zero, doubt, temporal_unreachable, key_refused,
        engine_unreachable, overrides, share_held, trouble, many,
    )
}  # fmt: skip
PLACES = {"at-max": "compose/shop/orders", "doubt": "compose/shop/orders"}
"""The states in which a service's own page is looked at too."""

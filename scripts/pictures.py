"""Make the pictures of README and docs: `python -m scripts.pictures` in the project's folder.

demo.svg is drawn from docs/images/demo.json, which `RECORD=docs/images/demo.json make demo`
records. The screenshots show the real page in Chromium, with made-up ticks: only the times of day
differ from run to run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from autoscaler.core.report import IntegrationReport, ServiceReport
from tests.fakes.reports import broken, busy_hour, integration, scaled, service, tick
from tests.real.browser import Browser
from tests.real.site import ServedSite

IMAGES = Path(__file__).resolve().parent.parent / "docs/images"
RECORD = IMAGES / "demo.json"
DRAWING = IMAGES / "demo.svg"

WIDTH, HEIGHT = 860, 340
LEFT, RIGHT, TOP, BOTTOM = 52, 52, 64, 44
STYLE = Path(__file__).with_name("pictures.css").read_text("utf-8")

LEGEND = (
    '<tspan class="b">waiting tasks</tspan> (left) and <tspan class="r">replicas</tspan> (right)'
)

Record = Sequence[dict[str, float]]


# ------------------------------------------------------------------------------ the demo


def drawing(record: Record) -> str:
    """Draw backlog and replicas of a recorded demo over time, as SVG."""
    end = record[-1]["at"] * 1.04
    tasks = _rounded(max(one["backlog"] for one in record), 100)
    replicas = _rounded(max(one["replicas"] for one in record), 10)
    x = _scale(end, LEFT, WIDTH - RIGHT)
    waiting = _scale(tasks, HEIGHT - BOTTOM, TOP)
    running = _scale(replicas, HEIGHT - BOTTOM, TOP)
    line = "L".join(f"{x(one['at'])} {waiting(one['backlog'])}" for one in record)
    steps = "".join(f"H{x(one['at'])}V{running(one['replicas'])}" for one in record[1:])
    steps += f"H{x(end)}"
    begin = f"{x(record[0]['at'])} {running(record[0]['replicas'])}"
    floor = HEIGHT - BOTTOM
    rows = [
        f'<path class="grid" d="M{LEFT} {waiting(tasks * n / 4)}H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT - 8}" y="{waiting(tasks * n / 4)}" dy="4" text-anchor="end">'
        f"{tasks * n // 4:g}</text>"
        f'<text x="{WIDTH - RIGHT + 8}" y="{waiting(tasks * n / 4)}" dy="4">'
        f"{replicas * n / 4:g}</text>"
        for n in range(5)
    ]
    seconds = [
        f'<text x="{x(at)}" y="{floor + 20}" text-anchor="middle">{at} s</text>'
        for at in range(0, int(end) + 1, 20)
    ]
    most = max(one["replicas"] for one in record)
    title = f"make demo: 400 documents, {record[0]['replicas']:g} → {most:g} → 1 replicas"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{title}</title><style>{STYLE}</style>",
        f'<rect class="frame" x=".5" y=".5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="14"/>',
        f'<text class="title" x="20" y="32">{title}</text>',
        f'<text x="{WIDTH - 20}" y="32" text-anchor="end">{LEGEND}</text>',
        *rows,
        *seconds,
        f'<path class="area" d="M{x(0)} {floor}L{line}V{floor}Z"/>',
        f'<path class="backlog" d="M{line}"/>',
        f'<path class="replicas" d="M{begin}{steps}"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _rounded(most: float, step: int) -> int:
    return -int(-most // step) * step


def _scale(most: float, begin: float, end: float) -> Callable[[float], str]:
    return lambda number: f"{begin + (end - begin) * number / most:.1f}"


# ------------------------------------------------------------------------------ the page


def take_screenshots() -> None:
    """Show the page in each of its states, and take a picture of each."""
    browser = Browser()
    try:
        with ServedSite() as site:
            site.observe(tick(at=datetime.now(UTC), integrations=(integration(),)))
            _take(browser, site, "empty", "No service carries a label")
        with ServedSite() as site:
            _fill(site)
            _take(browser, site, "page", "shop/orders")
            browser.dark(on=True)
            _take(browser, site, "page-dark", "shop/orders")
            browser.dark(on=False)
            browser.resize(390, 844)
            _take(browser, site, "phone", "shop/orders")
            browser.resize(1280, 800)
            site.stop()
            browser.shows("The daemon does not answer", "#banners")
            browser.screenshot(IMAGES / "page-lost.png")
        with ServedSite() as site:
            _break(site)
            _take(browser, site, "page-trouble", "shop/mailer")
        with ServedSite() as site:
            for report in list(busy_hour(datetime.now(UTC), 1000))[-40:]:
                site.observe(report)
            browser.open(site.url)
            browser.shows("1,000", "#sum-services")
            browser.screenshot(IMAGES / "page-thousand.png")
    finally:
        browser.close()


def _take(browser: Browser, site: ServedSite, name: str, words: str) -> None:
    browser.resize(*((390, 844) if name == "phone" else (1280, 800)))
    browser.open(site.url)
    browser.shows(words)
    if name == "page":
        browser.find(".service summary").click()
    browser.shows("Live", "#pulse")
    browser.screenshot(IMAGES / f"{name}.png")


CLOUD = integration(
    "cloud", endpoint="us-west-2.aws.api.temporal.io:7233", namespace="my-namespace.a1b2c"
)


def _fill(site: ServedSite) -> None:
    """Show the site an hour in which everything goes well."""
    now = datetime.now(UTC)
    cloud = (integration(), _expiring(CLOUD, now + timedelta(days=41)))
    for report in busy_hour(now, 2):
        orders, mails = report.services
        idle = service("shop/scans", 0, replicas=0, desired=0, min=0, max=5, queue="scans")
        services = (_named(orders, "orders"), _named(mails, "mails"), idle)
        site.observe(tick(*services, at=report.at, integrations=cloud))


def _break(site: ServedSite) -> None:
    """Show the site an hour in which some things go wrong."""
    now = datetime.now(UTC)
    error = f"integration cloud: PERMISSION_DENIED at {CLOUD.endpoint}: check its API key"
    down = _expiring(CLOUD, now + timedelta(days=6), up=False, error=error)
    unread = service("shop/reports", None, queue="reports", replicas=3, desired=3, errors=(error,))
    warned = service(
        "shop/scans", 12, queue="scans", replicas=2, desired=2,
        warnings=("no worker polls scans: is the name of the task queue right?",),
    )  # fmt: skip
    for report in busy_hour(now):
        (orders,) = report.services
        services = (broken(), _named(orders, "orders"), unread, warned)
        site.observe(tick(*services, at=report.at, integrations=(integration(), down)))


def _named(report: ServiceReport, queue: str) -> ServiceReport:
    """Return the report of a made-up service under another name and task queue."""
    waiting = report.backlog or 0
    named = service(
        f"shop/{queue}", waiting, queue=queue, replicas=report.replicas, busy=report.busy
    )
    if report.action is not None:
        return scaled(named, report.desired)
    return service(
        f"shop/{queue}", waiting, queue=queue, replicas=report.replicas, desired=report.replicas,
        busy=report.busy,
    )  # fmt: skip


def _expiring(of: IntegrationReport, at: datetime, **found: object) -> IntegrationReport:
    return integration(
        of.name, endpoint=of.endpoint, namespace=of.namespace, expires_at=at, **found
    )


def main() -> int:
    """Make every picture."""
    DRAWING.write_text(drawing(json.loads(RECORD.read_text("utf-8"))), encoding="utf-8")
    take_screenshots()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Make the pictures of README and docs: `python -m scripts.pictures` in the project's folder.

With a folder, `python -m scripts.pictures FOLDER` makes a picture of each state of the page,
on a desktop and on a phone, in light and dark colours, to be looked at when the page has changed.

demo.svg is drawn from docs/images/demo.json, which `RECORD=docs/images/demo.json make demo`
records. The screenshots show the real page in Chromium, with made-up ticks: only the times of day
differ from run to run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

from tests.fakes.page_states import PLACES, STATES
from tests.fakes.reports import busy_hour
from tests.real.browser import Browser
from tests.real.site import ServedSite

IMAGES = Path(__file__).resolve().parent.parent / "docs/images"
RECORD = IMAGES / "demo.json"
DRAWING = IMAGES / "demo.svg"

SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
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
    """Take a picture of the page in the states that the docs show."""
    browser = Browser()
    try:
        for name, state, size, dark, place in SHOWN:
            with ServedSite() as site:
                _fill(site, state)
                browser.resize(*SIZES[size])
                browser.dark(on=dark)
                _open(browser, f"{site.url}{place}")
                browser.screenshot(IMAGES / f"{name}.png")
        browser.resize(*SIZES["desktop"])
        browser.dark(on=False)
        _take_lost(browser)
        _take_thousand(browser)
    finally:
        browser.close()


SHOWN = (
    ("empty", "empty", "desktop", False, ""),
    ("page", "scaling-out", "desktop", False, ""),
    ("page-dark", "scaling-out", "desktop", True, ""),
    ("page-trouble", "key-refused", "desktop", False, ""),
    ("service", "doubt", "desktop", False, "#/compose/shop/orders"),
    ("phone", "at-max", "phone", False, ""),
    ("phone-trouble", "key-refused", "phone", False, ""),
)
"""Name of the picture, state, size, whether in dark colours, and the place within the page."""


def _take_lost(browser: Browser) -> None:
    with ServedSite() as site:
        _fill(site, "scaling-out")
        _open(browser, site.url)
        site.stop()
        browser.shows("The daemon does not answer", "#banners")
        browser.screenshot(IMAGES / "page-lost.png")


def _take_thousand(browser: Browser) -> None:
    with ServedSite() as site:
        for report in list(busy_hour(datetime.now(UTC), 1000))[-40:]:
            site.observe(report)
        _open(browser, site.url)
        browser.shows("1,000", "#sum-services")
        browser.screenshot(IMAGES / "page-thousand.png")


# ------------------------------------------------------------------ each state of the page


def take_states(folder: Path) -> None:
    """Take a picture of each state in each size and in both colours into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    browser = Browser()
    try:
        for state in STATES:
            with ServedSite() as site:
                _fill(site, state)
                urls = {state: site.url}
                if state in PLACES:
                    urls[f"{state}-service"] = f"{site.url}#/{PLACES[state]}"
                for (size, pixels), dark in product(SIZES.items(), (False, True)):
                    browser.dark(on=dark)
                    colours = "dark" if dark else "light"
                    for name, url in urls.items():
                        browser.resize(*pixels)
                        _open(browser, url)
                        browser.screenshot(folder / f"{name}-{size}-{colours}.png")
    finally:
        browser.close()


def _fill(site: ServedSite, state: str) -> None:
    """Let the site see the ticks of a state."""
    for report in STATES[state]():
        site.observe(report)


def _open(browser: Browser, url: str) -> None:
    """Open the page and wait until it shows what it was told."""
    browser.open("about:blank")
    browser.open(url)
    browser.shows("Live", "#pulse")


def main() -> int:
    """Make every picture: of the docs, or of all states into the folder that is named."""
    if sys.argv[1:]:
        take_states(Path(sys.argv[1]))
        return 0
    DRAWING.write_text(drawing(json.loads(RECORD.read_text("utf-8"))), encoding="utf-8")
    take_screenshots()
    return 0


if __name__ == "__main__":
    sys.exit(main())

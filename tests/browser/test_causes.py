"""What befalls several services for one cause is told once, and so is what max does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from autoscaler.core.reason import Reason, ReasonCode
from tests.browser.seen import card, show
from tests.fakes.reports import compose, integration, service
from tests.real.browser import Browser
from tests.real.site import ServedSite

pytestmark = pytest.mark.browser

FAILED = "integration default: the API key was refused; replace it"
NAMES = [f"shop/{number}" for number in range(12)]


def break_all(site: ServedSite, names: list[str], at: datetime) -> None:
    """Let the only connection be refused."""
    services = [service(name, None, errors=(FAILED,)) for name in names]
    show(site, *services, at=at, integrations=(integration(up=False, error=FAILED),))


class TestOneCause:
    def test_it_is_one_banner_with_how_many_and_since_when(
        self, site: ServedSite, browser: Browser
    ) -> None:
        now = datetime.now(UTC)
        break_all(site, NAMES, now - timedelta(seconds=61))
        break_all(site, NAMES, now)
        browser.shows("Error for 12 services since ", "#banners")
        since = browser.run(
            "return new Date(arguments[0]).toLocaleTimeString('en-GB',"
            " {hour: '2-digit', minute: '2-digit'})",
            (now - timedelta(seconds=61)).timestamp() * 1000,
        )
        assert f"since {since}" in browser.text("#banners")
        assert browser.text().count("the API key was refused") == 1
        assert "see the top of the page" in browser.text(card("shop/0"))
        assert "Error" in browser.text(card("shop/0"))
        assert browser.violations() == []

    def test_on_a_phone_the_page_is_not_full_of_it(
        self, site: ServedSite, browser: Browser
    ) -> None:
        browser.resize(390, 844)
        break_all(site, NAMES[:1], datetime.now(UTC))
        browser.shows("the API key was refused", card("shop/0"))
        break_all(site, NAMES, datetime.now(UTC))
        browser.shows("Error for 12 services", "#banners")
        height = browser.run("return document.getElementById('banners').offsetHeight")
        assert height < 844 / 3
        assert browser.run("return document.documentElement.scrollWidth") <= 390

    def test_one_service_alone_says_it_itself(self, site: ServedSite, browser: Browser) -> None:
        break_all(site, NAMES[:1], datetime.now(UTC))
        browser.shows("the API key was refused", card("shop/0"))
        assert browser.text("#banners") == ""

    def test_once_it_is_over_the_cards_point_nowhere(
        self, site: ServedSite, browser: Browser
    ) -> None:
        break_all(site, NAMES, datetime.now(UTC))
        browser.shows("Error for 12 services", "#banners")
        show(site, *(service(name) for name in NAMES), integrations=(integration(),))
        browser.shows("Steady", card("shop/0"))
        assert browser.text("#banners") == ""
        assert "top of the page" not in browser.text("#cards")

    def test_an_engine_that_has_gone_is_said_once_with_since_when(
        self, site: ServedSite, browser: Browser
    ) -> None:
        show(site, service("shop/0"), service("shop/1"))
        error = "no Docker Engine answers"
        show(site, errors=(error,), unseen=compose("shop/0", "shop/1"))
        browser.shows("Error for 2 services since ", "#banners")
        assert "Not seen" in browser.text(card("shop/0"))
        assert "at the latest look" not in browser.text("#cards")
        assert browser.violations() == []


class TestAtMax:
    REASONS = (
        Reason(ReasonCode.BACKLOG, "1,040 waiting tasks at target 10", "104"),
        Reason(ReasonCode.MAX, "", "104 needed, at most 20 (max)"),
    )

    def test_the_badge_says_for_how_long(self, site: ServedSite, browser: Browser) -> None:
        full = service(waiting=1040, replicas=20, desired=20, reasons=self.REASONS)
        now = datetime.now(UTC)
        show(site, full, at=now - timedelta(minutes=12, seconds=3))
        browser.shows("At max for under 1 min", card("shop/worker"))
        show(site, full, at=now)
        browser.shows("At max for 12 min", card("shop/worker"))
        reason = "1,040 waiting tasks at target 10 → 104 needed, at most 20 (max)"
        assert reason in browser.text(card("shop/worker"))
        assert browser.violations() == []

    def test_while_it_grows_there_it_is_scaling_out(
        self, site: ServedSite, browser: Browser
    ) -> None:
        show(site, service(waiting=1040, replicas=2, desired=20, reasons=self.REASONS))
        browser.shows("Scaling out", card("shop/worker"))

"""A service's own page: its address, its decision in order, and where each value comes from."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys

from autoscaler.core.origin import Given
from autoscaler.core.reason import Reason, ReasonCode
from tests.browser.seen import card, show
from tests.fakes.reports import service
from tests.real.browser import Browser
from tests.real.site import ServedSite

pytestmark = pytest.mark.browser

TOKEN = "correct-horse-battery-staple"
PLACE = "services/compose/shop/worker"
GIVEN = {
    "temporal.queue": Given("orders", "label"),
    "temporal.max": Given("20", "shop.yaml:3"),
    "temporal.min": Given("1", "override by anna: a sale"),
}
REASONS = (
    Reason(ReasonCode.BACKLOG, "12 waiting tasks at target 10", "2"),
    Reason(ReasonCode.SCALE_IN_WINDOW, "some of the last 1m called for 9", "9"),
    Reason(ReasonCode.BUSY, "6 replicas may not be stopped (6 at work)", "keeps 9"),
)


@pytest.fixture
def seen(site: ServedSite) -> ServedSite:
    """A daemon that sees two services."""
    held = service(waiting=12, replicas=9, desired=9, given=GIVEN, reasons=REASONS)
    show(site, held, service("shop/scans"))
    return site


def test_its_address_shows_it_alone(seen: ServedSite, browser: Browser) -> None:
    browser.open(f"{seen.url}{PLACE}")
    browser.shows("shop/worker", card("shop/worker"))
    assert [found.text for found in browser.find_all(".service:not([hidden]) h3")] == [
        "shop/worker"
    ]
    assert browser.driver.title == "shop/worker - Autoscaler"
    assert not browser.find(".summary").is_displayed()


def test_its_decision_is_explained_in_order(seen: ServedSite, browser: Browser) -> None:
    browser.open(f"{seen.url}{PLACE}")
    browser.shows("The decision, step by step", card("shop/worker"))
    assert [found.text for found in browser.find_all(".steps li")] == [
        "12 waiting tasks at target 10 → 2 backlog",
        "some of the last 1m called for 9 → 9 scale-in-window",
        "6 replicas may not be stopped (6 at work) → keeps 9 busy",
    ]
    assert "So 9 replicas are wanted, and there are 9 now." in browser.text(card("shop/worker"))


def test_every_value_says_where_it_comes_from(seen: ServedSite, browser: Browser) -> None:
    browser.open(f"{seen.url}{PLACE}")
    browser.shows("where they come from", card("shop/worker"))
    rows = {found.text for found in browser.find_all(".values tr") if found.is_displayed()}
    assert {
        "temporal.queue orders label",
        "temporal.max 20 shop.yaml:3",
        "temporal.min 1 override by anna: a sale",
        "temporal.target 10 default",
        "temporal.cooldown 5m default",
    } <= rows


@pytest.mark.usefixtures("seen")
def test_the_keyboard_goes_there_and_back(browser: Browser) -> None:
    browser.shows("shop/worker", card("shop/worker"))
    browser.find(f"{card('shop/worker')} h3 a").send_keys(Keys.ENTER)
    browser.shows("All services", "#back")
    back = browser.driver.switch_to.active_element
    assert back.text == "← All services"
    back.send_keys(Keys.ENTER)
    browser.shows("shop/scans", card("shop/scans"))
    assert browser.driver.switch_to.active_element.text == "shop/worker"
    assert not browser.find("#back").is_displayed()


def test_it_goes_on_without_a_reload(seen: ServedSite, browser: Browser) -> None:
    browser.open(f"{seen.url}{PLACE}")
    browser.shows("12 waiting", card("shop/worker"))
    browser.run("window.mark = 1")
    show(seen, service(waiting=77, given=GIVEN), service("shop/scans"))
    browser.shows("77 waiting", card("shop/worker"))
    assert browser.run("return window.mark") == 1


def test_an_address_of_no_service_says_so(seen: ServedSite, browser: Browser) -> None:
    browser.open(f"{seen.url}services/compose/shop/nothing")
    browser.shows("The daemon sees no service shop/nothing.", "#none")


def test_with_a_token_the_page_asks_for_it_first(browser: Browser) -> None:
    with ServedSite(TOKEN) as locked:
        show(locked, service(given=GIVEN), service("shop/scans"))
        browser.open(f"{locked.url}{PLACE}")
        browser.shows("Access token", "#lock")
        browser.find("#token").send_keys(TOKEN, Keys.ENTER)
        browser.shows("The decision, step by step", card("shop/worker"))
        assert not browser.find(card("shop/scans")).is_displayed()
        browser.run("sessionStorage.clear()")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_contrast_names_roles_and_width_are_right(
    seen: ServedSite, browser: Browser, width: int, *, dark: bool
) -> None:
    browser.resize(width, 900)
    browser.dark(on=dark)
    browser.open(f"{seen.url}{PLACE}")
    browser.shows("The decision, step by step", card("shop/worker"))
    assert browser.violations() == []
    assert browser.run("return document.documentElement.scrollWidth") <= width


@pytest.mark.usefixtures("seen")
def test_the_graph_names_its_hours(browser: Browser) -> None:
    browser.shows("Last hour", card("shop/worker"))
    *hours, last = browser.text(f"{card('shop/worker')} .axis").split()
    assert len(hours) == 4
    assert all(len(hour) == len("12:34") for hour in hours)
    assert last == "now"

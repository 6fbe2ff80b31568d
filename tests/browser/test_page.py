"""The status page in a real browser, on made-up ticks."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from selenium.webdriver.common.keys import Keys

from autoscaler.core.drain import Drain, Fate, Verdict
from autoscaler.core.host_memory import HostMemory
from autoscaler.core.labels import read_labels
from autoscaler.core.model import ServiceId
from autoscaler.core.origin import Given
from autoscaler.core.reason import Reason, ReasonCode
from autoscaler.core.report import LimitReport
from autoscaler.core.schedule import Bounds, NextBounds
from tests.browser.seen import card, show
from tests.fakes.clock import START
from tests.fakes.reports import (
    broken,
    busy_hour,
    compose,
    integration,
    scaled,
    service,
    shared,
    tick,
)
from tests.real.browser import Browser
from tests.real.site import ABOUT, ServedSite
from tests.real.waiting import until

pytestmark = pytest.mark.browser

TOKEN = "correct-horse-battery-staple"
EVIL = "<img src=x onerror=hacked()><script>hacked()</script>&quot;{{7*7}}"


def unreloaded(browser: Browser) -> bool:
    return bool(browser.run("return window.mark === 1"))


class TestEmpty:
    def test_it_says_which_labels_to_add(self, site: ServedSite, browser: Browser) -> None:
        show(site)
        browser.shows("No service carries a label yet")
        snippet = browser.text("#snippet-compose")
        labels = dict(
            line.split("#")[0].strip().split(": ")
            for line in snippet.splitlines()
            if "temporal." in line
        )
        read_labels(labels)
        assert browser.text("#snippet-swarm").splitlines()[2].strip() == "deploy:"
        assert browser.violations() == []

    def test_they_are_ready_to_copy(self, site: ServedSite, browser: Browser) -> None:
        show(site)
        browser.shows("No service carries a label yet")
        browser.run("navigator.clipboard.writeText = async text => { window.copied = text }")
        browser.find("[data-copy=snippet-compose]").click()
        browser.shows("Copied", "[data-copy=snippet-compose]")
        assert browser.run("return window.copied").startswith("services:\n  worker:\n    labels:\n")

    def test_they_carry_the_prefix_of_the_settings(self, browser: Browser) -> None:
        about = replace(ABOUT, prefix="acme.io")
        with ServedSite(about=about) as served:
            browser.open(served.url)
            show(served)
            browser.shows("acme.io.queue: orders", "#snippet-compose")

    def test_the_first_service_takes_its_place(self, site: ServedSite, browser: Browser) -> None:
        show(site)
        browser.shows("No service carries a label yet")
        show(site, service())
        browser.shows("shop/worker", card("shop/worker"))
        assert "No service carries" not in browser.text()


class TestLimits:
    def test_what_services_share_is_shown_with_what_they_wish(
        self, site: ServedSite, browser: Browser
    ) -> None:
        limits = (LimitReport("group gpu", 4, 4, 1200), LimitReport("all services", 20, 1, 1))
        show(site, service(), limits=limits)
        browser.shows("group gpu 4 of 4 replicas, 1,200 wished", "#limits")
        assert "all services 1 of 20 replicas" in browser.text("#limits")
        assert browser.violations() == []

    def test_the_memory_of_the_host_is_one_line(self, site: ServedSite, browser: Browser) -> None:
        known = HostMemory(total=16 * 2**30, free=6 * 2**30, reserve=1600 * 2**20)
        show(site, service(), memory=known)
        expected = "memory of the host 6 GiB of 16 GiB free, growth leaves 1.6 GiB"
        browser.shows(expected, "#limits")

    def test_without_limits_nothing_is_shown(self, site: ServedSite, browser: Browser) -> None:
        show(site, service())
        browser.shows("shop/worker", card("shop/worker"))
        assert browser.text("#limits") == ""


class TestService:
    def test_it_shows_what_a_tick_saw_and_why(self, site: ServedSite, browser: Browser) -> None:
        seen = service(waiting=1040, replicas=2, busy=2, draining=3)
        show(site, scaled(seen, 20))
        browser.shows("1,040", card("shop/worker"))
        text = " ".join(browser.text(card("shop/worker")).split())
        for words in (
            "Scaling out",
            "orders",
            "1,040 waiting",
            "oldest for 22 s",
            "2 → 20 wanted",
            "min 1, max 20 · 2 busy · 3 draining",
            "1,040 waiting tasks at target 10 → 104",
            "waiting, peak 1,040",
        ):
            assert words in text
        recent = browser.text("#recent-list").split("\n")
        assert (recent[0], recent[2]) == ("shop/worker", "2 → 20")

    def test_it_shows_what_becomes_of_replicas_that_are_told_to_stop(
        self, site: ServedSite, browser: Browser
    ) -> None:
        words = "draining, 2 tasks running, 4m beyond its grace"
        drain = Drain(
            "id3", "shop-worker-3", ServiceId("compose", "shop/worker"), START, timedelta(), None
        )
        show(site, service(draining=1, drains=(Verdict(drain, Fate.FINISH, words),)))
        browser.shows(f"shop-worker-3: {words}", card("shop/worker"))

    def test_it_shows_what_a_portion_of_a_shared_queue_is_a_portion_of(
        self, site: ServedSite, browser: Browser
    ) -> None:
        portion, rest = service("a/one", waiting=14), service("b/two", waiting=20)
        show(site, shared(portion, 34, "b/two"), shared(rest, 34, "a/one"))
        browser.shows("14 of 34 waiting", card("a/one"))
        browser.shows("34", "#sum-waiting")
        show(site, service("a/one", waiting=34))
        browser.shows("34 waiting", card("a/one"))

    def test_its_details_say_where_each_value_comes_from(
        self, site: ServedSite, browser: Browser
    ) -> None:
        given = {
            "temporal.queue": Given("orders", "label"),
            "temporal.max": Given("20", EVIL),
        }
        show(site, service(given=given))
        browser.shows("shop/worker", card("shop/worker"))
        browser.find(f"{card('shop/worker')} summary").click()
        browser.shows("temporal.max", card("shop/worker"))
        text = " ".join(browser.text(card("shop/worker")).split())
        assert "temporal.queue orders label" in text
        assert f"temporal.max 20 {EVIL}" in text
        assert browser.violations() == []

    def test_it_shows_when_a_schedule_changes_the_bounds(
        self, site: ServedSite, browser: Browser
    ) -> None:
        evening, berlin = datetime(2027, 1, 8, 18, tzinfo=UTC), ZoneInfo("Europe/Berlin")
        after = NextBounds(evening, Bounds(1, 10), berlin)
        show(site, service(min=5, max=40, next_bounds=after))
        words = "min 5, max 40 until Fri 19:00 CET; then min 1, max 10"
        browser.shows(words, card("shop/worker"))
        show(site, service())
        browser.shows("1 replica", card("shop/worker"))
        assert words not in browser.text(card("shop/worker"))

    def test_values_change_without_a_reload(self, site: ServedSite, browser: Browser) -> None:
        show(site, service(waiting=5))
        browser.shows("5 waiting", card("shop/worker"))
        browser.run("window.mark = 1")
        show(site, scaled(service(waiting=300), 20))
        browser.shows("300 waiting", card("shop/worker"))
        show(site, service(waiting=300, replicas=20, desired=20))
        browser.shows("20 replicas", card("shop/worker"))
        assert unreloaded(browser)

    def test_one_that_is_gone_goes_and_a_new_one_comes_in_its_order(
        self, site: ServedSite, browser: Browser
    ) -> None:
        show(site, service("a/one"), service("c/three"))
        browser.shows("c/three", "#cards")
        show(site, service("b/two"), service("c/three"))
        browser.shows("b/two", "#cards")
        names = [found.text for found in browser.find_all(".service h3")]
        assert names == ["b/two", "c/three"]

    def test_its_last_changes_and_queues_unfold_with_the_keyboard(
        self, site: ServedSite, browser: Browser
    ) -> None:
        show(site, scaled(service(waiting=40), 4))
        show(site, scaled(service(waiting=90, replicas=4), 9))
        browser.shows("4 → 9", card("shop/worker"))
        summary = browser.find(f"{card('shop/worker')} summary")
        summary.send_keys(Keys.ENTER)
        browser.shows("90 waiting tasks at target 10 → 9", card("shop/worker") + " .feed")
        rows = [row.text for row in browser.find_all(".service tbody tr")]
        assert rows == ["orders activity 68 22 s 8.6 4.3 2", "orders workflow 22 11 s 8.6 4.3 2"]
        assert browser.violations() == []

    def test_the_last_hour_is_a_plot_with_its_words(
        self, site: ServedSite, browser: Browser
    ) -> None:
        for report in busy_hour(datetime.now(UTC)):
            site.observe(report)
        browser.shows("peak 190", card("shop/worker"))
        plot = browser.find(f"{card('shop/worker')} .plot svg")
        assert plot.get_attribute("aria-label") == (
            "The last hour: waiting, peak 190; replicas, peak 19"
        )
        drawn = browser.run(
            "return [...document.querySelectorAll('.plot path')].map(p => p.getAttribute('d'))"
        )
        assert all(len(path) > 20 for path in drawn)

    def test_one_in_a_dry_run_says_that_nothing_is_changed(
        self, site: ServedSite, browser: Browser
    ) -> None:
        show(site, service(waiting=40, desired=4, dry_run=True))
        browser.shows("would be wanted", card("shop/worker"))
        assert "dry run" in browser.text(card("shop/worker"))


class TestTrouble:
    def test_a_broken_service_says_what_to_do_and_the_others_go_on(
        self, site: ServedSite, browser: Browser
    ) -> None:
        show(site, broken(), service(waiting=40, warnings=("take care",)))
        browser.shows("the nearest is temporal.queue", card("shop/mailer"))
        text = browser.text(card("shop/mailer"))
        assert "unknown" in text
        assert "temporal.max='many' must be a whole number" in text
        assert "take care" in browser.text(card("shop/worker"))
        assert browser.text("#count-trouble") == "2"
        assert browser.violations() == []

    def test_a_broken_connection_says_why_and_when_credentials_end(
        self, site: ServedSite, browser: Browser
    ) -> None:
        now = datetime.now(UTC)
        found = (
            integration(expires_at=now + timedelta(days=400)),
            integration("cloud", up=False, error="check the API key", expires_at=now),
            integration("soon", expires_at=now + timedelta(days=29, hours=1)),
            integration("spare", up=None),
        )
        show(site, service(waiting=None, errors=("no answer",)), at=now, integrations=found)
        browser.shows("check the API key", "#connection-list")
        lines = {li.text.split("\n")[0]: li.text for li in browser.find_all(".connection")}
        assert "credential expires in 400 days" in lines["default"]
        assert "Down" in lines["cloud"]
        assert "credential expired" in lines["cloud"]
        assert "expires in 29 days" in lines["soon"]
        marks = [found.get_attribute("data-soon") for found in browser.find_all(".expiry")]
        assert marks == ["false", "over", "true"]
        assert "Not used" in lines["spare"]
        assert browser.violations() == []

    @pytest.mark.parametrize(
        ("code", "state"),
        [
            (ReasonCode.OFF, "Left alone"),
            (ReasonCode.REFUSED, "Left alone"),
            (ReasonCode.STOPPED_BY_HAND, "Left alone"),
            (ReasonCode.SHARED, "Held by a share"),
            (ReasonCode.CRASHED, "Held"),
            (ReasonCode.CEILING, "Held"),
            (ReasonCode.BUSY, "Held"),
            (ReasonCode.MAX, "Steady"),
        ],
    )
    def test_the_badge_says_what_keeps_it_from_following_its_backlog(
        self, site: ServedSite, browser: Browser, code: ReasonCode, state: str
    ) -> None:
        show(site, service(reasons=(Reason(code, "because"),)))
        browser.shows(state, card("shop/worker"))

    def test_without_an_engine_the_services_stay_and_say_so(
        self, site: ServedSite, browser: Browser
    ) -> None:
        show(site, service())
        error = "no Docker Engine answers at unix:///nowhere"
        show(site, errors=(error,), unseen=compose("shop/worker"))
        browser.shows("no Docker Engine answers", "#banners")
        browser.shows("Not seen", card("shop/worker"))
        show(site, service())
        browser.shows("Steady", card("shop/worker"))
        assert browser.text("#banners") == ""

    def test_a_lost_daemon_is_said_and_found_again(
        self, site: ServedSite, browser: Browser
    ) -> None:
        show(site, service(waiting=40))
        browser.shows("40 waiting", card("shop/worker"))
        browser.run("window.mark = 1")
        site.stop()
        browser.shows("The daemon does not answer", "#banners")
        assert "This is what it saw at" in browser.text("#banners")
        assert "40 waiting" in browser.text(card("shop/worker"))
        assert browser.driver.title == "Daemon lost - Autoscaler"
        assert browser.violations() == []
        site.start()
        show(site, service(waiting=70))
        browser.shows("70 waiting", card("shop/worker"))
        assert browser.text("#banners") == ""
        assert unreloaded(browser)

    def test_a_daemon_of_another_version_brings_its_own_page(
        self, site: ServedSite, browser: Browser
    ) -> None:
        show(site, service())
        browser.shows("Steady", card("shop/worker"))
        browser.run("window.mark = 1")
        site.stop()
        site.about = replace(ABOUT, version="9.9.9")
        site.start()
        show(site, service())
        browser.shows("9.9.9", "#version")
        assert not unreloaded(browser)

    def test_a_loop_that_ticks_no_more_is_said(self, browser: Browser) -> None:
        about = replace(ABOUT, stalled_after=timedelta(seconds=1))
        with ServedSite(about=about) as served:
            browser.open(served.url)
            show(served, service())
            browser.shows("The daemon has stopped looking", "#banners")


class TestHeadline:
    """The sums above the services. What is unknown is never counted as zero."""

    @pytest.mark.parametrize(
        ("backlogs", "words"),
        [
            pytest.param([0], "0 waiting tasks", id="none-waits"),
            pytest.param([1], "1 waiting task", id="one-waits"),
            pytest.param([1040, 5], "1,045 waiting tasks", id="all-are-known"),
            pytest.param([None], "unknown waiting tasks", id="the-only-one-is-unknown"),
            pytest.param([None, None], "unknown waiting tasks", id="all-are-unknown"),
            pytest.param(
                [40, None], "at least 40 waiting tasks, 1 service unknown", id="one-is-unknown"
            ),
            pytest.param(
                [None, 0, None], "at least 0 waiting tasks, 2 services unknown", id="two-are"
            ),
        ],
    )
    def test_waiting_tasks(
        self, site: ServedSite, browser: Browser, backlogs: list[int | None], words: str
    ) -> None:
        show(site, *(service(f"shop/{at}", waiting) for at, waiting in enumerate(backlogs)))
        browser.shows("shop/0", "#cards")
        assert " ".join(browser.text(".summary .waiting").split()) == words

    def test_of_one_nothing_is_said_in_the_plural(self, site: ServedSite, browser: Browser) -> None:
        show(site, service("shop/0", replicas=1, desired=1))
        browser.shows("shop/0", "#cards")
        assert browser.text("#sum-services-unit") == "service"
        assert browser.text("#sum-replicas-unit") == "replica"

    def test_what_was_not_seen_at_the_latest_look_is_unknown_too(
        self, site: ServedSite, browser: Browser
    ) -> None:
        show(site, service(waiting=40))
        browser.shows("40 waiting", card("shop/worker"))
        show(site, errors=("no Docker Engine answers",), unseen=compose("shop/worker"))
        browser.shows("Not seen", card("shop/worker"))
        assert browser.text("#sum-waiting") == "unknown"


class TestLatestChanges:
    """The list of latest changes has room for every service."""

    def test_one_that_changes_all_the_time_leaves_the_others_theirs(
        self, site: ServedSite, browser: Browser
    ) -> None:
        start = datetime.now(UTC)
        others = [f"shop/{number}" for number in range(6)]
        show(site, *(scaled(service(name, 40), 4) for name in others), at=start)
        calm = [service(name, 40, replicas=4, desired=4) for name in others]
        for second in range(1, 8):
            wakes = scaled(service("shop/zero", min=0, max=1), second % 2)
            show(site, *calm, wakes, at=start + timedelta(seconds=second))
        browser.shows("shop/zero", "#recent-list")
        listed = [found.text for found in browser.find_all("#recent-list h3")]
        assert listed[0] == "shop/zero"
        assert len(listed) == 6
        assert set(listed[1:]) < set(others)
        assert len(browser.find_all("#recent-list > :first-child .feed li")) == 2

    def test_of_one_service_only_the_last_two_are_listed(
        self, site: ServedSite, browser: Browser
    ) -> None:
        for number in range(1, 4):
            show(site, scaled(service(replicas=number), number + 1))
        browser.shows("3 → 4", "#recent-list")
        steps = [found.text for found in browser.find_all("#recent-list .step")]
        assert steps == ["3 → 4", "2 → 3"]


class TestMarkup:
    def test_in_names_labels_and_errors_it_is_nothing_but_text(
        self, site: ServedSite, browser: Browser
    ) -> None:
        browser.run("window.hacks = 0; window.hacked = () => { window.hacks++ }")
        evil = scaled(
            service(
                EVIL, 40, queue=EVIL, warnings=(EVIL,), errors=(f"temporal.max={EVIL!r} must",)
            ),
            4,
        )
        found = (integration(EVIL, endpoint=EVIL, namespace=EVIL, error=EVIL, up=False),)
        show(site, evil, integrations=found, errors=(EVIL,))
        until(lambda: EVIL in browser.text("#cards h3"), "the name as it is written")
        browser.find(".service summary").click()
        for where in ("#cards .queues", "#cards .troubles", "#banners", "#connection-list",
                      "#recent-list", "#cards tbody"):  # fmt: skip
            assert EVIL in browser.text(where)
        assert browser.run("return window.hacks") == 0
        assert browser.find_all("#cards img, #cards script, #banners img, .connection img") == []


class TestToken:
    def test_the_page_asks_for_it_and_keeps_it_in_the_tab(self, browser: Browser) -> None:
        with ServedSite(TOKEN) as locked:
            show(locked, service("planted"))
            browser.open(locked.url)
            browser.shows("Access token", "#lock")
            assert "planted" not in browser.driver.page_source
            assert browser.violations() == []
            browser.find("#token").send_keys("wrong-token-wrong-token", Keys.ENTER)
            browser.shows("That is not the token.", "#lock")
            browser.find("#token").send_keys(TOKEN, Keys.ENTER)
            browser.shows("planted", "#cards")
            browser.open(locked.url)
            browser.shows("planted", "#cards")
            browser.run("sessionStorage.clear()")
            errors = [error for error in browser.errors() if "401" not in error]
            assert errors == []


class TestEveryoneCanUseIt:
    @pytest.fixture
    def everything(self, site: ServedSite, browser: Browser) -> ServedSite:
        now = datetime.now(UTC)
        found = (integration(), integration("cloud", up=False, error="check the API key"))
        for report in busy_hour(now, 3):
            services = (*report.services, broken(), service("shop/idle", warnings=("care",)))
            site.observe(tick(*services, at=report.at, integrations=found))
        browser.shows("shop/worker-2", "#cards")
        return site

    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    @pytest.mark.parametrize("width", [1280, 700, 360])
    @pytest.mark.usefixtures("everything")
    def test_contrast_names_and_roles_are_right(
        self, browser: Browser, width: int, *, dark: bool
    ) -> None:
        browser.resize(width, 900)
        browser.dark(on=dark)
        assert browser.violations() == []

    @pytest.mark.parametrize("width", [1280, 700, 360])
    @pytest.mark.usefixtures("everything")
    def test_nothing_is_wider_than_the_screen(self, browser: Browser, width: int) -> None:
        browser.resize(width, 900)
        assert browser.run("return document.documentElement.scrollWidth") <= width

    @pytest.mark.usefixtures("everything")
    def test_the_keyboard_reaches_the_filter_and_finds_a_service(self, browser: Browser) -> None:
        browser.find("body").send_keys("/")
        active = browser.driver.switch_to.active_element
        assert active.get_attribute("id") == "filter"
        active.send_keys("worker-1")
        shown = [found.text for found in browser.find_all(".service:not([hidden]) h3")]
        assert shown == ["shop/worker-1"]
        active.send_keys(Keys.ESCAPE)
        assert len(browser.find_all(".service:not([hidden])")) == 5

    @pytest.mark.usefixtures("everything")
    def test_what_is_in_trouble_can_be_shown_alone(self, browser: Browser) -> None:
        browser.run("document.querySelector('input[value=trouble]').click()")
        shown = [found.text for found in browser.find_all(".service:not([hidden]) h3")]
        assert shown == ["shop/idle", "shop/mailer"]


class TestThousand:
    def test_a_thousand_services_stay_usable(self, site: ServedSite, browser: Browser) -> None:
        ticks = list(busy_hour(datetime.now(UTC), 1000))[-6:]
        for report in ticks[:3]:
            site.observe(report)
        browser.shows("1,000", "#sum-services")
        browser.run("window.mark = 1")
        for report in ticks[3:]:
            site.observe(report)
        latest = {str(seen.service): seen.backlog for seen in ticks[-1].services}
        name = "shop/worker-777"
        browser.find("#filter").send_keys("worker-777")
        until(
            lambda: (
                [found.text for found in browser.find_all(".service:not([hidden]) h3")] == [name]
            ),
            "the one that fits",
        )
        browser.shows(f"{latest[name]} waiting", card(name))
        assert unreloaded(browser)

    def test_only_what_is_to_be_seen_is_drawn(self, site: ServedSite, browser: Browser) -> None:
        show(site, *(service(f"shop/worker-{number:04}", number) for number in range(1000)))
        browser.shows("1,000", "#sum-services")
        until(lambda: browser.find_all(".plot .replicas[d]"), "a plot")
        drawn = browser.run("return document.querySelectorAll('.plot .replicas[d]').length")
        assert drawn < 50
        browser.run(f'document.querySelector("{card("shop/worker-0999")}").scrollIntoView()')
        until(lambda: browser.find_all(f"{card('shop/worker-0999')} .replicas[d]"), "its plot")

    def test_a_tick_that_changes_one_says_so_in_a_few_bytes(
        self, site: ServedSite, browser: Browser
    ) -> None:
        many = [service(f"shop/worker-{number:04}") for number in range(1000)]
        show(site, *many)
        browser.shows("1,000", "#sum-services")
        browser.run(
            "window.bytes = 0; const parse = JSON.parse;"
            "JSON.parse = text => { window.bytes += text.length; return parse(text) }"
        )
        show(site, service("shop/worker-0000", 5), *many[1:])
        browser.shows("5 waiting", card("shop/worker-0000"))
        assert 0 < browser.run("return window.bytes") < 2000


def test_state_and_changes_lead_to_the_same_page(browser: Browser) -> None:
    """A page that was open for an hour shows the same as one that was just opened."""
    with ServedSite() as served:
        reports = list(busy_hour(datetime.now(UTC), 2))
        served.observe(reports[0])
        browser.open(served.url)
        browser.shows("shop/worker-1", "#cards")
        for report in reports[1:]:
            served.observe(report)
        last = f"{reports[-1].services[1].backlog:,} waiting"
        browser.shows(last, card("shop/worker-1"))
        seen = (
            "return JSON.stringify([...document.querySelectorAll('.service')]"
            ".map(one => [one.innerText, ...[...one.querySelectorAll('path')]"
            ".map(path => path.getAttribute('d'))]))"
        )
        followed = json.loads(browser.run(seen))
        browser.open(served.url)
        browser.shows(last, card("shop/worker-1"))
        until(lambda: json.loads(browser.run(seen)) == followed, "the same page")

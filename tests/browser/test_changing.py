"""The page acts in a real browser: it pauses, sets and undoes, and says what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from autoscaler.core.origin import Given
from autoscaler.wishes.overrides_file import OverridesFile
from tests.fakes.reports import service, tick
from tests.real.browser import Browser
from tests.real.site import ServedSite
from tests.real.waiting import until

pytestmark = pytest.mark.browser

TOKEN = "correct-horse-battery-staple"
CARD = ".service[data-key='compose:shop/worker']"
LABELS = {"temporal.queue": Given("orders", "label"), "temporal.max": Given("20", "label")}
CHANGE = f"{CARD} [data-part=change], {CARD} .acts button"


class Page:
    """The open page of a daemon with a token, and the overrides that it keeps."""

    def __init__(self, browser: Browser, site: ServedSite, file: OverridesFile) -> None:
        self.browser = browser
        self.site = site
        self.file = file

    def tick(self) -> None:
        """Let the daemon look, with what is set."""
        seen = service(given=LABELS)
        self.site.observe(tick(seen, at=datetime.now(UTC), overrides=self.file.read()))

    @property
    def kept(self) -> dict[str, str]:
        return {each.name: each.value for each in self.file.read()}

    def open_dialog(self) -> None:
        self.browser.find(CHANGE).click()
        self.browser.shows("Change shop/worker for a while", "#change")

    def fill(self, **fields: str) -> None:
        for name, value in fields.items():
            self.browser.find(f"#change-{name}").send_keys(value)

    def choose(self, pause: str) -> None:
        self.browser.run(f"document.querySelector('input[name=pause][value={pause}]').click()")

    def submit(self) -> None:
        self.browser.find("#change-submit").click()

    def until_kept(self, **values: str) -> None:
        """Wait until this is set and nothing else, and let the daemon look."""
        until(lambda: self.kept == values, f"{values} to be set")
        self.tick()

    @property
    def dialog_open(self) -> bool:
        return bool(self.browser.run("return document.getElementById('change').open"))


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """A page that was opened with the token."""
    with ServedSite(TOKEN, state=tmp_path / "state") as site:
        made = Page(browser, site, OverridesFile(tmp_path / "state"))
        made.tick()
        browser.open(site.url)
        browser.shows("Access token", "#lock")
        browser.find("#token").send_keys(TOKEN, Keys.ENTER)
        browser.shows("shop/worker", CARD)
        yield made
        browser.run("sessionStorage.clear()")


def test_a_pause_says_until_when_by_whom_and_why_and_is_ended_with_one_click(page: Page) -> None:
    page.open_dialog()
    page.choose("off")
    page.fill(reason="deploy")
    page.submit()
    page.until_kept(mode="off")
    page.browser.shows("Set for shop/worker.", "#told")
    page.browser.shows("by page: deploy", f"{CARD} .set-live")
    text = page.browser.text(f"{CARD} .set-live")
    assert text.startswith("paused until ")
    assert " min " in text
    assert "left" in text
    assert "Paused" in page.browser.text(CARD)
    assert page.browser.violations() == []

    page.browser.find(f"{CARD} .set-live button").click()
    page.until_kept()
    page.browser.shows("Removed for shop/worker.", "#told")
    page.browser.shows("Steady", CARD)
    assert page.browser.text(f"{CARD} .set-live") == ""


@pytest.mark.parametrize("way", ["pause-in", "pause-out"])
def test_one_way_is_paused(page: Page, way: str) -> None:
    page.open_dialog()
    page.choose(way)
    page.submit()
    page.until_kept(mode=way)
    word = {"pause-in": "scale-in paused", "pause-out": "scale-out paused"}[way]
    page.browser.shows(word, f"{CARD} .set-live")
    assert page.browser.text(f"{CARD} .set-live button") == "Resume"


def test_min_and_max_are_set_for_a_while_and_undone_one_by_one(page: Page) -> None:
    page.open_dialog()
    page.fill(min="3", max="40", reason="a busy hour")
    Select(page.browser.find("#change-for")).select_by_visible_text("4 hours")
    page.submit()
    page.until_kept(min="3", max="40")
    (lasts,) = {each.lasts for each in page.file.read()}
    assert lasts is not None
    assert lasts.total_seconds() == 4 * 3600
    page.browser.shows("max=40", f"{CARD} .set-live")

    page.browser.find("[aria-label='Undo shop/worker: max=40']").click()
    page.until_kept(min="3")
    page.browser.shows("min=3", f"{CARD} .set-live")
    assert "max=40" not in page.browser.text(f"{CARD} .set-live")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max": "many"}, "temporal.max='many' must be a whole number"),
        ({"min": "40"}, "not below min; min is 40"),
        ({}, "Choose a pause, or give min or max."),
    ],
)
def test_a_wrong_number_is_said_in_the_dialog_and_can_be_mended(
    page: Page, fields: dict[str, str], words: str
) -> None:
    page.open_dialog()
    page.fill(**fields)
    page.submit()
    page.browser.shows(words, "#change-refused")
    assert page.dialog_open
    assert page.kept == {}
    assert page.browser.violations() == []
    for name in fields:
        page.browser.find(f"#change-{name}").clear()
    page.fill(max="5")
    page.submit()
    page.until_kept(max="5")
    assert not page.dialog_open


def test_a_lost_daemon_is_said(page: Page) -> None:
    page.open_dialog()
    page.fill(max="5")
    page.site.stop()
    page.submit()
    page.browser.shows("The daemon does not answer", "#change-refused")
    page.site.start()
    page.tick()
    page.submit()
    page.until_kept(max="5")


def test_a_token_that_is_not_the_right_one_any_more_is_said(page: Page) -> None:
    page.open_dialog()
    page.fill(max="5")
    page.site.stop()
    page.site.token = "another-token-of-the-daemon"
    page.site.start()
    page.submit()
    page.browser.shows("not the right one any more", "#change-refused")
    assert page.kept == {}


def test_without_a_token_the_page_is_an_observer(browser: Browser, tmp_path: Path) -> None:
    with ServedSite(state=tmp_path / "state") as site:
        site.observe(tick(service(), at=datetime.now(UTC)))
        browser.open(site.url)
        browser.shows("shop/worker", CARD)
        assert not browser.find(CHANGE).is_displayed()


def test_a_page_of_another_origin_changes_nothing(page: Page) -> None:
    url = f"{page.site.url}api/services/compose/shop/worker/overrides"
    page.browser.open("about:blank")
    script = """
        const [url, token, done] = arguments;
        fetch(url, {method: 'PUT', headers: {Authorization: `Bearer ${token}`},
                    body: JSON.stringify({values: {max: 5}})})
          .then(answer => done(answer.status), error => done(`${error}`));
    """
    told = page.browser.driver.execute_async_script(script, url, TOKEN)
    assert "TypeError" in str(told)
    assert page.kept == {}
    page.browser.open(page.site.url)


class TestKeyboard:
    def test_all_of_it_can_be_done_without_a_mouse(self, page: Page) -> None:
        page.browser.find(CHANGE).send_keys(Keys.ENTER)
        page.browser.shows("Change shop/worker for a while", "#change")
        active = page.browser.driver.switch_to.active_element
        assert active.get_attribute("name") == "pause"
        active.send_keys(Keys.ARROW_LEFT)
        page.browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        page.browser.driver.switch_to.active_element.send_keys("2", Keys.ENTER)
        page.until_kept(mode="off", min="2")
        page.browser.shows("paused", f"{CARD} .set-live")
        button = page.browser.find("[aria-label='Resume shop/worker: paused']")
        button.send_keys(Keys.ENTER)
        page.until_kept(min="2")

    def test_escape_closes_the_dialog_and_changes_nothing(self, page: Page) -> None:
        page.open_dialog()
        page.fill(max="5")
        page.browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
        until(lambda: not page.dialog_open, "a closed dialog")
        assert page.kept == {}
        page.open_dialog()
        assert page.browser.find("#change-max").get_attribute("value") == ""

    def test_the_slash_is_a_letter_in_a_reason(self, page: Page) -> None:
        page.open_dialog()
        page.fill(reason="a/b")
        assert page.browser.find("#change-reason").get_attribute("value") == "a/b"


class TestEveryoneCanUseIt:
    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    @pytest.mark.parametrize("width", [1280, 360])
    def test_contrast_names_and_roles_are_right(
        self, page: Page, width: int, *, dark: bool
    ) -> None:
        page.browser.resize(width, 900)
        page.browser.dark(on=dark)
        page.open_dialog()
        page.submit()
        page.browser.shows("Choose a pause", "#change-refused")
        assert page.browser.violations() == []
        assert page.browser.run("return document.documentElement.scrollWidth") <= width

"""A real Chromium, and the accessibility rules of axe."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.real.waiting import until

ROOT = Path(__file__).parents[2]
AXE = ROOT / ".cache/axe/axe.min.js"
BROWSER_TOOLS = ("chromium", "chromedriver")


class Browser:
    """One browser window. `scripts/setup.py browser` installs what it needs."""

    def __init__(self, *, dark: bool = False, width: int = 1280, height: int = 900) -> None:
        options = webdriver.ChromeOptions()
        chromium = shutil.which("chromium")
        assert chromium, "no chromium: run scripts/setup.py browser"
        options.binary_location = chromium
        for argument in (
            "--headless=new",
            "--no-sandbox",  # tests may run as root, and open only their own pages
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--force-device-scale-factor=2",
            f"--window-size={width},{height}",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(shutil.which("chromedriver"), log_output=os.devnull)
        self.driver = webdriver.Chrome(options, service)
        self.driver.set_script_timeout(60)
        self.resize(width, height)
        self.dark(on=dark)

    def dark(self, *, on: bool) -> None:
        """Prefer dark colours, or light ones."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        self._cdp("Emulation.setEmulatedMedia", features=[scheme])

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page in CSS pixels; it may be smaller than a window can be."""
        self._cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2, mobile=width < 600,
        )  # fmt: skip

    def open(self, url: str) -> None:
        """Go to a page."""
        self.driver.get(url)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str = "body") -> str:
        """Return the visible text of an element, or an empty text where there is no element."""
        found = self.find_all(selector)
        try:
            return found[0].text if found else ""
        except StaleElementReferenceException:
            # The page was reloaded, or the element replaced, since it was found.
            return self.text(selector)

    def shows(self, words: str, selector: str = "body") -> None:
        """Wait until an element shows these words."""
        until(lambda: words in self.text(selector), f"{words!r} in {selector}")

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def errors(self) -> list[str]:
        """Return the errors and warnings that the page has logged since the last call."""
        log = self.driver.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] in {"SEVERE", "WARNING"}]

    def violations(self) -> list[str]:
        """Return the rules of axe that the page breaks, each with the elements that break it."""
        # The page's Content-Security-Policy allows no foreign script, so the DevTools load it.
        self._cdp("Runtime.evaluate", expression=AXE.read_text("utf-8"))
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run({resultTypes: ['violations']}).then(done, error => done({error: `${error}`}))"
        )
        assert "error" not in found, found
        return [
            f"{rule['id']}: {json.dumps([node['html'][:120] for node in rule['nodes'][:3]])}"
            for rule in found["violations"]
        ]

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        """Write the visible part of the page, or the whole page, as PNG."""
        if whole:
            height = self.run("return document.documentElement.scrollHeight")
            self.resize(self.run("return innerWidth"), height)
        file.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(file))

    def close(self) -> None:
        self.driver.quit()

    def _cdp(self, command: str, **parameters: object) -> None:
        self.driver.execute_cdp_cmd(command, parameters)

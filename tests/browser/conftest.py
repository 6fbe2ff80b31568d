"""A page that is open in a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real.browser import Browser
from tests.real.site import ServedSite

LOST = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET")
"""What Chromium itself logs when a server goes away."""


@pytest.fixture
def site(browser: Browser) -> Iterator[ServedSite]:
    """A daemon whose page is open. At the end the page must have logged no error."""
    with ServedSite() as served:
        browser.open(served.url)
        yield served
        unexpected = [
            error for error in browser.errors() if not any(code in error for code in LOST)
        ]
        assert unexpected == []

"""A Chromium for tests of what people see and click on; they are skipped where there is none."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from browser import find_chromium

CHROMIUM = find_chromium()
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: nothing was tried in a browser")


@contextmanager
def launched() -> Iterator:
    """A Chromium; while it runs, no other can be started in this process."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@contextmanager
def quiet_page(browser, **settings: object) -> Iterator:
    """A page whose console must stay without errors."""
    page, errors = browser.new_page(**settings), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield page
    page.close()
    assert not errors

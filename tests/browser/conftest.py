"""Debian's Chromium without a screen, and pages that must not complain."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

# As root in a container, and without the calls home that a network without the internet refuses one by one.
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
SWITCHES += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]

PATIENCE = 600_000  # milliseconds after which what a page should show counts as missing; a busy machine takes its time


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "these tests need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=SWITCHES)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page; the test fails where the console showed an error or an exception was not caught."""
    shown = browser.new_page(viewport={"width": 1300, "height": 900})
    shown.set_default_timeout(PATIENCE)
    complaints: list[str] = []
    shown.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("requestfailed", lambda request: complaints.append(f"{request.url}: {request.failure}"))
    yield shown
    shown.close()
    assert complaints == []

"""A real browser, driven from a thread of its own while the gateway serves on the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from tests.browser.driving import Browser
from tests.support.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT_SECONDS = 60

SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """One chromium for all tests: starting it takes longer than most of them."""
    options = Options()
    options.binary_location = program("chromium")
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('chromium') / 'profile'}"):
        options.add_argument(switch)
    # A path at hand: nothing is looked for elsewhere.
    service = Service(executable_path=program("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_script_timeout(SCRIPT_SECONDS)
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def browser(driver: webdriver.Chrome) -> Iterator[Browser]:
    """The browser, which knows nothing of the tests before: cookies are kept by host, whatever the port."""
    yield Browser(driver)
    driver.get("about:blank")
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": "*", "storageTypes": "all"})

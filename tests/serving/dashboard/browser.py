"""A real browser for tests of the page: Debian's Chromium, without a window, driven by Selenium."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

__all__ = ["CHROMIUM", "DRIVER", "IS_WANTED", "chromium", "emulate"]

IS_WANTED = os.environ.get("FRESHFLOW_TEST_CHROMIUM") == "1"  # then it is an error that there is none
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
WITHOUT = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
)


@contextmanager
def chromium() -> Iterator[Chrome]:
    """A browser of its own, without history, which goes to no other host."""
    options = ChromeOptions()
    options.binary_location = CHROMIUM or "chromium"
    for switch in WITHOUT:
        options.add_argument(switch)
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    if os.geteuid() == 0:  # as in a container, where it has no sandbox
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, Service(DRIVER or "chromedriver"))
    try:
        driver.set_page_load_timeout(60)
        yield driver
    finally:
        driver.quit()


def emulate(driver: Chrome, width: int, height: int, *, dark: bool = False, still: bool = False) -> None:
    """A screen of so many pixels, a colour scheme, and whether motion is unwanted."""
    device = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    features = [
        {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
        {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
    ]
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

"""The page in a real browser."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="no browser: apt install chromium chromium-driver"
)
PHONE, TABLET, DESKTOP = (390, 844), (820, 1180), (1440, 900)


def open_browser(profile: Path, *arguments: str) -> Any:
    """Return a headless Chromium with its own empty profile; the caller quits it."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or ""
    for argument in (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--disable-dev-shm-usage", f"--user-data-dir={profile}"),
        *arguments,
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.set_window_size(*DESKTOP)
    return driver


def emulate(browser: Any, size: tuple[int, int], scheme: str) -> None:
    """Show pages as on a screen of this size in the color scheme "light" or "dark"."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def screenshot(browser: Any) -> bytes:
    """Return what the window shows, as a PNG."""
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    return base64.b64decode(shot["data"])


class Page:
    """A browser window with helpers that wait for conditions."""

    def __init__(self, browser: Any, url: str, view: str = "live") -> None:
        """Load the page afresh at one of its views."""
        self.browser = browser
        browser.get("about:blank")
        browser.get(f"{url}/#{view}")

    def until_running(self) -> None:
        """Wait until the page shows the status of a daemon that runs."""
        self.until(lambda: self.text("#state") == "running")

    def show(self, view: str) -> None:
        """Click on a view in the navigation."""
        self.find(f'#views a[href="#{view}"]').click()
        self.until(lambda: self.find(f"#view-{view}").is_displayed())
        self.until(lambda: self.find(f"#view-{view}").get_attribute("aria-busy") != "true")

    def find(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        return list(self.browser.find_elements("css selector", selector))

    def text(self, selector: str) -> str:
        return str(self.find(selector).text)

    def until(self, condition: Callable[[], Any]) -> Any:
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        wait = WebDriverWait(self.browser, 60, 0.05, [StaleElementReferenceException])
        return wait.until(lambda _: condition())

    def script(self, text: str, *arguments: object) -> Any:
        return self.browser.execute_script(text, *arguments)

    def contrast(self, selector: str) -> float:
        """Return the contrast ratio (WCAG) between an element's text and its background."""
        return float(
            self.script(
                """
                const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
                const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
                  .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
                let element = document.querySelector(arguments[0]);
                const text = light(rgb(getComputedStyle(element).color));
                let back = rgb(getComputedStyle(element).backgroundColor);
                while (back.length === 4 && back[3] === 0) {
                  element = element.parentElement;
                  back = rgb(getComputedStyle(element).backgroundColor);
                }
                const [high, low] = [text, light(back)].sort((a, b) => b - a);
                return (high + 0.05) / (low + 0.05);
                """,
                selector,
            )
        )

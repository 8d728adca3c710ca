"""Cameras, the history and the inbox on the page of settings; the texts in other languages."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.web import Client, start
from tests.web.browser import Page, needs_browser

pytestmark = needs_browser


@pytest.fixture
def site(tmp_path: Path, film: Path) -> Iterator[Client]:
    process = start(tmp_path, film, "", "port = 0\nrequests_per_minute = 100000")
    client = Client(process)
    client.until_ready()
    yield client
    process.end()


def _open(site: Client, browser: Any) -> Page:
    page = Page(browser, site.url, "settings")
    page.until(lambda: page.all("#set-decision-window"))
    return page


def _click(page: Page, selector: str) -> None:
    page.until(lambda: page.all(selector))
    page.script("document.querySelector(arguments[0]).click()", selector)


def _fill(page: Page, selector: str, text: str) -> None:
    page.script("document.querySelector(arguments[0]).value = arguments[1]", selector, text)


def test_a_camera_is_added_renamed_and_removed(site: Client, browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    before = file.read_text()
    page = _open(site, browser)
    _fill(page, "#new-camera", "door")
    _fill(page, "#new-source", "rtsp://192.0.2.1/film")
    _click(page, "#add-camera .fields > button")
    page.until(lambda: page.all("#camera-name-door"))
    assert tomllib.loads(file.read_text())["cameras"].keys() == {"camera", "door"}
    _fill(page, "#camera-name-door", "a b")
    _click(page, '[aria-label="Rename the camera door"]')
    page.until(lambda: "is not a name for a camera" in page.text("#settings-message"))
    _fill(page, "#camera-name-door", "gate")
    _click(page, '[aria-label="Rename the camera door"]')
    page.until(lambda: page.all("#camera-name-gate"))
    _click(page, '[aria-label="Remove the camera gate"]')
    page.until(lambda: page.find("#confirm").is_displayed())
    assert "Remove the camera gate with its regions" in page.text("#confirm-text")
    page.find("#confirm-yes").click()
    page.until(lambda: not page.all("#camera-name-gate"))
    assert tomllib.loads(file.read_text())["cameras"].keys() == {"camera"}
    assert not page.all('[aria-label^="Remove the camera"]')  # the last one stays
    assert "[cameras.camera]\n" in file.read_text()
    assert before.split("[camera]")[1] in file.read_text()


def test_the_history_is_turned_on_off_and_deleted(
    site: Client, browser: Any, tmp_path: Path
) -> None:
    page = _open(site, browser)
    assert not page.find('#views a[href="#history"]').is_displayed()
    assert "each event is stored on the board" in str(
        page.find("#set-history-text").get_attribute("textContent")
    )
    _click(page, "#set-history")
    page.find("#settings-save").click()
    page.until(lambda: page.find('#views a[href="#history"]').is_displayed())
    page.until(lambda: (tmp_path / "g.history.sqlite").exists())
    page = _open(site, browser)
    _click(page, "#set-history")
    page.find("#settings-save").click()
    page.until(lambda: not page.find('#views a[href="#history"]').is_displayed())
    page.until(lambda: page.find("[data-erase=history]").is_displayed())
    _click(page, "[data-erase=history]")
    page.until(lambda: page.find("#confirm").is_displayed())
    page.find("#confirm-yes").click()
    page.until(lambda: page.text("#settings-message") == "It was deleted.")
    assert list(tmp_path.glob("g.history.sqlite*")) == []
    page.until(lambda: not page.all("[data-erase=history]"))


@pytest.mark.parametrize(
    ("language", "text"),
    [("de", "Bilder, über die eine Mehrheit entscheidet."), ("es", "decide la mayoría.")],
)
def test_the_settings_speak_the_language_of_the_browser(
    site: Client, browser: Any, language: str, text: str
) -> None:
    agent = {"userAgent": "Chromium", "acceptLanguage": language}
    browser.execute_cdp_cmd("Emulation.setUserAgentOverride", agent)
    try:
        page = _open(site, browser)
        assert text in page.text("#set-decision-window-text")
        shown = str(page.find("#settings-form").get_attribute("textContent"))
        for english in ("Largest difference", "Host name of the broker", "client id", "hot c"):
            assert english not in shown
    finally:
        browser.execute_cdp_cmd("Emulation.setUserAgentOverride", {"userAgent": ""})

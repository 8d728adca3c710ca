"""The history in a real browser: filter, timeline, snapshots, corrections, downloads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.web import HTML, Client, encoded, start
from tests.unknowns.things import before_wall, write_film
from tests.web.browser import DESKTOP, PHONE, Page, needs_browser

pytestmark = needs_browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("site")
    film = write_film(folder / "things.mp4", ("chelsea.png", "", "coffee.png", ""), 1.2)
    process = start(folder, film, "[history]")
    client = Client(process)
    for label, photo in (("cat", "chelsea.png"), ("<img src=x onerror=alert(1)>", "coffee.png")):
        path = "/api/labels/" + label.replace(" ", "%20").replace("<", "%3C").replace(">", "%3E")
        body = encoded(before_wall(photo))
        assert client.ask("POST", path, body, Content_Type="image/jpeg").status == 201
    process.until(lambda: _entered(client, "cat") and _entered(client, HTML), 60)
    yield client
    process.end()


def _entered(site: Client, label: str) -> list[dict[str, Any]]:
    events = site.ask("GET", "/api/history?kind=enter&limit=200").json()["events"]
    return [event for event in events if event["label"] == label]


def _choose(page: Page, name: str, value: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(page.find(name)).select_by_value(value)


def _click(page: Page, selector: str) -> None:
    """Click on an item of the list, which may just be replaced."""
    page.until(lambda: page.find(selector).click() or True)


def _labels(site: Client) -> set[str]:
    return {each["label"] for each in site.ask("GET", "/api/labels").json()["labels"]}


def test_look_back_and_correct(site: Client, browser: Any) -> None:
    page = Page(browser, site.url)
    page.until_running()
    page.until(lambda: page.find('#views a[href="#history"]').is_displayed())
    page.show("history")
    width = "return document.querySelector('#history-list img').naturalWidth"
    page.until(lambda: page.all("#history-list img") and page.script(width) == 640)
    page.until(lambda: len(page.all("#timeline-rows li")) == 2)
    assert page.all("#timeline-rows .track span")
    assert not page.find("#history-camera").is_displayed()
    assert page.all("#timeline-rows button")[0].text == HTML  # as text, not as HTML
    _choose(page, "#history-label", HTML)
    _choose(page, "#history-kind", "enter")
    entered = f"entered: {HTML}"
    texts = "#history-list strong"
    page.until(lambda: {one.text for one in page.all(texts)} == {entered})
    for kind in ("csv", "json"):
        address = page.find(f"#history-{kind}").get_attribute("href")
        assert f"/api/history.{kind}?label=%3Cimg" in address
    event = page.find("#history-list li").get_attribute("data-event")
    button = f'[data-event="{event}"] button'
    _click(page, button)
    page.until(lambda: page.find("#wrong-dialog").is_displayed())
    assert HTML in page.text("#wrong-text")
    page.find("#wrong-dialog button[value=no]").click()
    assert "unknown" not in _labels(site)
    _click(page, button)
    page.until(lambda: page.find("#wrong-dialog").is_displayed())
    page.find("#wrong-dialog button[value=yes]").click()  # it is nothing known
    page.until(lambda: page.text("#history-message") == "This picture is not named again.")
    page.until(lambda: "it is nothing known" in page.text(f'[data-event="{event}"]'))
    assert "unknown" in _labels(site)
    page.until(lambda: page.script("return document.activeElement.textContent") == "Take back")
    _click(page, button)
    page.until(lambda: page.text("#history-message") == "It was taken back.")
    page.until(lambda: "Wrong?" in page.text(button) and page.find(button).is_enabled())
    assert "unknown" not in _labels(site)
    _click(page, button)
    page.until(lambda: page.find("#wrong-dialog").is_displayed())
    page.find("#right-new").send_keys("my cup\n")  # Enter sends the form
    page.until(lambda: "it is my cup" in page.text(f'[data-event="{event}"]'))
    assert page.text("#history-message").startswith(("This picture is my cup", "It is marked"))
    assert "my cup" in _labels(site)
    _click(page, button)
    page.until(lambda: "Wrong?" in page.text(button))


def test_new_and_older_events(site: Client, browser: Any) -> None:
    page = Page(browser, site.url, "history")
    page.until_running()
    page.until(lambda: page.all("#history-list li"))
    page.until(lambda: page.find("#history-new").is_displayed())
    before = page.find("#history-list li").get_attribute("data-event")
    page.find("#history-new").click()
    page.until(
        lambda: (
            page.find("#history-list li").get_attribute("data-event") != before
            and not page.find("#history-more").is_displayed()
        )
    )
    _choose(page, "#history-kind", "leave")
    page.until(lambda: page.all("#history-list strong"))
    page.until(
        lambda: all(one.text.startswith("left: ") for one in page.all("#history-list strong"))
    )
    assert not page.all("#history-list button")  # there is nothing to correct


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_the_view_fits_and_is_readable(
    site: Client, browser: Any, size: tuple[int, int], scheme: str, tmp_path: Path
) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False},
    )
    page = Page(browser, site.url, "history")
    page.until_running()
    page.until(lambda: page.all("#timeline-rows li") and page.all("#history-list li"))
    assert page.script("return document.documentElement.scrollWidth") <= size[0]
    for selector in ("#history-list strong", "#history-list time", "#timeline-rows button"):
        assert page.contrast(selector) >= 4.5, selector
    assert browser.save_screenshot(str(tmp_path / f"history-{size[0]}-{scheme}.png"))
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    errors = [one for one in browser.get_log("browser") if one["level"] == "SEVERE"]
    assert errors == []

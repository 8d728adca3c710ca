"""The page in a real browser: click, keyboard, phone screen, light and dark, screen reader."""

from __future__ import annotations

import signal
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.image import Image
from tests.support.web import HTML, READER, TOKEN, Client, encoded, start, write_secret
from tests.web.browser import DESKTOP, PHONE, TABLET, Page, needs_browser

pytestmark = needs_browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, film: Path) -> Iterator[Client]:
    process = start(tmp_path_factory.mktemp("site"), film)
    client = Client(process)
    client.until_ready()
    yield client
    process.end()


def test_enroll_recognize_and_remove_by_click(site: Client, browser: Any) -> None:
    page = Page(browser, site.url)
    page.until_running()
    page.until(
        lambda: page.script("return document.querySelector('.live-view').naturalWidth") == 640
    )
    assert page.text(".recognition") == "unknown"
    page.find("#label").send_keys("the cat")
    page.find("#enroll-frame").click()
    page.until(lambda: page.text("#enroll-message") == "the cat was enrolled.")
    page.until(lambda: page.text(".recognition") == "the cat")
    page.until(lambda: any("entered: the cat" in item.text for item in page.all("#events li")))
    width = "return document.querySelector('.match').naturalWidth"
    page.until(lambda: page.script(width) > 100)  # the thumbnail beside the camera frame
    page.show("status")
    page.until(lambda: page.all("[data-stage=fit]"))
    page.until(lambda: float(page.text("[data-stage=end_to_end] td:last-child").split()[0]) > 0)
    assert "Budget: 100 ms" in page.text("#speed-detail")
    page.show("gallery")
    assert page.text("#labels li p") == "the cat (1 photo)"
    page.find("#labels li .open").click()
    page.find("#label-remove").click()
    assert "Remove the cat" in page.text("#confirm-text")
    page.find("#confirm button[value=no]").click()
    assert page.all("#labels li")
    page.find("#label-remove").click()
    page.find("#confirm button[value=yes]").click()
    page.until(lambda: not page.all("#labels li"))
    page.show("live")
    page.until(lambda: page.text(".recognition") == "unknown")
    page.until(lambda: "left: the cat" in page.text("#events"))


def test_enroll_a_photo_file(site: Client, browser: Any, tmp_path: Path, cat: Image) -> None:
    (tmp_path / "cat.jpg").write_bytes(encoded(cat))
    (tmp_path / "note.jpg").write_bytes(b"not a photo")
    page = Page(browser, site.url)
    page.until_running()
    page.find("#label").send_keys("tom")
    page.find("#photo").send_keys(str(tmp_path / "note.jpg"))
    page.until(lambda: "not an image" in page.text("#enroll-message"))
    page.find("#photo").send_keys(str(tmp_path / "cat.jpg"))
    page.until(lambda: page.text("#enroll-message") == "tom was enrolled.")
    site.ask("DELETE", "/api/labels/tom")


def test_advice_on_the_gallery(site: Client, browser: Any, cat: Image) -> None:
    page = Page(browser, site.url, "gallery")
    page.until_running()
    page.find("#advise").click()
    page.until(lambda: "Enroll photos" in page.text("#actions"))
    for label in ("tom", urllib.parse.quote(HTML, safe="")):
        site.ask("POST", f"/api/labels/{label}", encoded(cat), Content_Type="image/jpeg")
    page.find("#advise").click()
    page.until(lambda: "under two labels" in page.text("#actions"))
    assert "Under two labels" in page.text("#findings")
    assert HTML in page.text("#findings")
    assert not page.all("img[src=x]")
    wide = "return [...document.querySelectorAll('.photos img')].map((one) => one.naturalWidth)"
    page.find("#findings").location_once_scrolled_into_view  # noqa: B018  (images load lazily)
    page.until(lambda: (found := page.script(wide)) and len(found) >= 2 and min(found) > 200)
    for label in ("tom", urllib.parse.quote(HTML, safe="")):
        site.ask("DELETE", f"/api/labels/{label}")


def test_a_label_that_is_html_is_shown_as_text(site: Client, browser: Any) -> None:
    page = Page(browser, site.url)
    page.until_running()
    page.find("#label").send_keys(HTML)
    page.find("#enroll-frame").click()
    page.until(lambda: page.text(".recognition") == HTML)
    page.until(lambda: HTML in page.text("#events"))
    page.show("gallery")
    page.until(lambda: HTML in page.text("#labels"))
    assert not page.all("img[src=x]")
    page.find("#labels li .open").click()
    assert page.text("#label-title") == HTML
    page.find("#label-remove").click()
    assert HTML in page.text("#confirm-text")
    page.find("#confirm button[value=yes]").click()
    page.until(lambda: not page.all("#labels li"))


def test_the_page_works_by_keyboard(site: Client, browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page = Page(browser, site.url)
    page.until_running()

    def press(*keys: str) -> None:
        ActionChains(browser).send_keys(*keys).perform()

    def focus_on(selector: str) -> None:
        for _ in range(80):
            if page.script("return document.activeElement.matches(arguments[0])", selector):
                return
            press(Keys.TAB)
        raise AssertionError(f"{selector} cannot be reached by keyboard")

    focus_on("#label")
    press("desk", Keys.ENTER)
    page.until(lambda: page.text("#enroll-message") == "desk was enrolled.")
    focus_on('#views a[href="#gallery"]')
    press(Keys.ENTER)
    page.until(lambda: page.find("#view-gallery").is_displayed())
    page.until(lambda: page.all("#labels button"))
    focus_on("#labels button")
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert page.script(outline) == "solid"
    press(Keys.ENTER)
    page.until(lambda: page.find("#label-dialog").is_displayed())
    focus_on("#label-remove")
    press(Keys.ENTER)
    page.until(lambda: page.script("return document.activeElement.value") == "no")
    press(Keys.ESCAPE)
    assert page.all("#labels li")
    page.until(lambda: page.script("return document.activeElement.id") == "label-remove")
    press(Keys.ENTER)
    page.until(lambda: page.script("return document.activeElement.value") == "no")
    press(Keys.SHIFT + Keys.TAB)
    page.script("document.querySelector('#confirm button[value=yes]').focus()")
    press(Keys.ENTER)
    page.until(lambda: not page.all("#labels li"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, TABLET, DESKTOP, (320, 568)])
def test_any_screen_light_and_dark(
    site: Client, browser: Any, scheme: str, size: tuple[int, int]
) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {
        "width": size[0],
        "height": size[1],
        "deviceScaleFactor": 2,
        "mobile": size != DESKTOP,
    }
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page = Page(browser, site.url)
        page.until_running()
        assert page.script("return document.documentElement.scrollWidth") <= size[0]
        for selector in ("h1", ".quiet", "#state", "#enroll-frame", "label.button", "#views a"):
            assert page.contrast(selector) >= 4.5, selector
        camera, record = page.find(".live-view").rect, page.find("#enroll-frame").rect
        if size != (320, 568):  # one looks at the picture while one enrolls it
            limit = size[1] - (page.find("#views").size["height"] if size == PHONE else 0)
            assert camera["y"] >= 0, camera
            if size in (PHONE, DESKTOP):
                assert record["y"] + record["height"] <= limit, record
        for link in page.all("#views a"):
            if link.is_displayed():
                link.click()
                assert page.script("return document.documentElement.scrollWidth") <= size[0]
                for button in page.all("main button, main .button, #views a"):
                    # Large enough for a finger.
                    assert not button.is_displayed() or button.size["height"] >= 44, button.text
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_everything_has_a_name_for_a_screen_reader(site: Client, browser: Any) -> None:
    page = Page(browser, site.url)
    page.until_running()
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    wanted = {"button", "textbox", "combobox", "progressbar", "table", "img", "image", "region"}
    seen = set()
    for node in tree:
        role = node.get("role", {}).get("value")
        if role in wanted and not node.get("ignored"):
            seen.add(role)
            assert node.get("name", {}).get("value"), node
    assert {"button", "combobox", "region"} <= seen
    assert page.find("html").get_attribute("lang") == "en"
    assert page.find(".recognition").get_attribute("aria-live") == "polite"


def test_the_page_contacts_no_other_host_and_logs_no_errors(site: Client, browser: Any) -> None:
    import json

    browser.get_log("performance"), browser.get_log("browser")
    page = Page(browser, site.url)
    page.until_running()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            assert message["params"]["request"]["url"].startswith((site.url, "data:", "blob:"))
    assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


def test_log_in_with_the_token(tmp_path: Path, film: Path, browser: Any) -> None:
    write_secret(tmp_path / "token", TOKEN)
    write_secret(tmp_path / "reader", READER)
    files = 'token_file = "token"\nreader_token_file = "reader"'
    process = start(tmp_path, film, http=f'host = "0.0.0.0"\nport = 0\n{files}')
    try:
        client = Client(process)
        page = Page(browser, client.url)
        page.until(lambda: page.find("#login").is_displayed())
        page.find("#token").send_keys("wrong")
        page.find("#login-form button").click()
        page.until(lambda: "wrong token" in page.text("#login-error"))
        page.find("#token").clear()
        page.find("#token").send_keys(TOKEN)
        page.find("#login-form button").click()
        page.until_running()
        assert not page.find("#login").is_displayed()
        page.until(
            lambda: page.script("return document.querySelector('.live-view').naturalWidth") > 0
        )
        page.show("gallery")
        # The token changes: the page asks for the new one. A reader sees no gallery.
        write_secret(tmp_path / "token", TOKEN[::-1])
        process.child.send_signal(signal.SIGHUP)
        page.until(lambda: page.find("#login").is_displayed())
        page.find("#token").send_keys(READER)
        page.find("#login-form button").click()
        page.until_running()
        page.until(lambda: page.find("#view-live").is_displayed())
        assert not page.find("#view-gallery").is_displayed()
        assert not page.find("#enroll-form").is_displayed()
        assert not page.find('#views a[href="#gallery"]').is_displayed()
        assert not page.find("#login").is_displayed()
    finally:
        process.end()

"""The settings and the regions on the page, in a real browser."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.web import Client, start
from tests.web.browser import DESKTOP, PHONE, Page, needs_browser

pytestmark = needs_browser
MORE = "# how sure\n[decision]\nwindow = 3   # frames\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def site(folder: Path, film: Path) -> Iterator[Client]:
    process = start(folder, film, MORE, "port = 0\nrequests_per_minute = 100000")
    client = Client(process)
    client.until_ready()
    yield client
    process.end()


def _open(site: Client, browser: Any) -> Page:
    page = Page(browser, site.url, "settings")
    page.until(lambda: page.all("#set-decision-window"))
    return page


def _click(page: Page, selector: str) -> None:
    target = page.find(selector)
    page.script("arguments[0].scrollIntoView({block: 'center'})", target)
    target.click()


def _file(folder: Path) -> Any:
    return tomllib.loads((folder / "edge.toml").read_text())


def _set(page: Page, selector: str, value: str) -> None:
    page.script(
        "const input = document.querySelector(arguments[0]); input.value = arguments[1];"
        "input.dispatchEvent(new Event('input', {bubbles: true}));",
        selector,
        value,
    )


def test_change_save_and_undo(site: Client, browser: Any, folder: Path) -> None:
    before = (folder / "edge.toml").read_text()
    page = _open(site, browser)
    assert str(folder / "edge.toml") in page.text("#settings-file")
    assert not page.find("#settings-save").is_enabled()
    _set(page, "#set-decision-false_name_rate", "7")
    assert "rarely unknown" not in page.text("#settings-file")
    assert "20 % of strangers" in page.text(".field output")
    _set(page, "#set-decision-false_name_rate", "1")
    assert page.text(".field output").startswith("rarely wrong")
    field = page.find("#set-decision-window")
    field.clear()
    field.send_keys("9")
    page.find("#settings-save").click()
    page.until(lambda: page.text("#settings-message") == "Saved.")
    assert _file(folder)["decision"] == {"window": 9, "false_name_rate": 0.002}
    assert "window = 9   # frames" in (folder / "edge.toml").read_text()
    page.until(lambda: page.find("#settings-undo").is_displayed())
    page.find("#settings-undo").click()
    page.until(lambda: page.text("#settings-message") == "The last change was undone.")
    assert (folder / "edge.toml").read_text() == before
    assert page.find("#set-decision-window").get_attribute("value") == "3"


def test_wrong_values_and_other_editors(site: Client, browser: Any, folder: Path) -> None:
    page = _open(site, browser)
    before = (folder / "edge.toml").read_text()
    _set(page, "#set-decision-window", "0")
    page.find("#settings-save").click()  # the browser refuses it
    assert page.script("return document.querySelector('#set-decision-window:invalid') !== null")
    _set(page, "#set-decision-window", "8")
    _set(page, "#set-camera-source", "/etc/passwd")
    page.find("#settings-save").click()
    page.until(lambda: "camera.source" in page.text("#settings-message"))
    assert (folder / "edge.toml").read_text() == before
    assert page.find("#set-decision-window").get_attribute("value") == "8"  # nothing is lost
    page.find("#settings-discard").click()
    page.until(lambda: page.find("#set-decision-window").get_attribute("value") == "3")
    (folder / "edge.toml").write_text(before + "# by an editor\n")
    _set(page, "#set-decision-window", "8")
    page.find("#settings-save").click()
    page.until(lambda: "changed meanwhile" in page.text("#settings-message"))
    assert (folder / "edge.toml").read_text().endswith("# by an editor\n")
    page.find("#settings-discard").click()
    page.until(lambda: not page.find("#settings-save").is_enabled())


def test_sinks_and_cameras(site: Client, browser: Any) -> None:
    page = _open(site, browser)
    _click(page, "[data-sink=json] button")
    page.until(lambda: page.text("[data-sink=json] [role=status]") == "Delivered.")
    site.process.until_event("test", "test")
    _click(page, "#set-camera-source ~ .wide button")
    page.until(
        lambda: (
            page.text("#set-camera-source ~ .wide [role=status]")
            or page.all("#set-camera-source ~ .wide li")
        )
    )


def test_draw_move_name_and_remove_regions(site: Client, browser: Any, folder: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page = _open(site, browser)
    page.until(lambda: page.script("return document.querySelector('.regions img').naturalWidth"))
    layer = page.find(".region-layer")
    page.script("arguments[0].scrollIntoView({block: 'center'})", layer)
    width, height = layer.size["width"], layer.size["height"]
    ActionChains(browser).move_to_element_with_offset(
        layer, -width // 4, -height // 4
    ).click_and_hold().move_by_offset(width // 4, height // 4).release().perform()
    page.until(lambda: len(page.all("button.region-box")) == 1)

    def area() -> list[float]:
        style = page.script(
            "const {left, top, width, height} = document.querySelector('.region-box').style;"
            "return [left, top, width, height].map(parseFloat)"
        )
        return [float(each) for each in style]

    assert area() == pytest.approx([25, 25, 25, 25], abs=2)
    box = page.find("button.region-box")
    assert page.script("return document.activeElement === arguments[0]", box)
    drawn = area()
    box.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.ARROW_LEFT).key_up(
        Keys.SHIFT
    ).perform()
    assert area() == pytest.approx([drawn[0] + 2, drawn[1] + 1, drawn[2] - 1, drawn[3]], abs=0.05)
    ActionChains(browser).move_to_element(box).click_and_hold().move_by_offset(
        width, 0
    ).release().perform()
    assert area()[0] + area()[2] == pytest.approx(100)  # it stays within the picture
    name = page.find("#region-editors li input")
    name.clear()
    name.send_keys("shelf")
    _click(page, "#region-editors .row button:last-child")
    page.until(lambda: "Saved." in page.text("#region-editors [role=status]"))
    saved = _file(folder)["regions"]["shelf"]
    assert [100 * each for each in saved["area"]] == pytest.approx(area(), abs=0.01)
    site.process.until(lambda: site.region()["name"] == "shelf")
    page.until(lambda: re.search(r"One takes [\d.]+ ms", page.text("#region-editors")))
    _click(page, "#region-editors .row button")  # add a second one
    page.until(lambda: "2 hashes per changed frame" in page.text("#region-editors"))
    page.all("button.region-box")[1].send_keys(Keys.DELETE)
    page.until(lambda: len(page.all("button.region-box")) == 1)
    _click(page, "#region-editors li .danger")
    _click(page, "#region-editors .row button:last-child")
    page.until(lambda: "regions" not in _file(folder))


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_any_screen_has_names_and_no_overflow(
    site: Client, browser: Any, size: tuple[int, int]
) -> None:
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        site.until_ready()
        browser.get_log("browser")
        page = _open(site, browser)
        page.script("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.script("return document.documentElement.scrollWidth") <= size[0]
        nameless = page.script(
            "return [...document.querySelectorAll('#view-settings :is(input, select)')]"
            ".filter((one) => !one.labels.length && !one.ariaLabel).map((one) => one.id)"
        )
        assert nameless == []
        for selector in (".help", "#settings-file", ".field label", "#settings-bar button"):
            assert page.contrast(selector) >= 4.5, selector
        severe = [each for each in browser.get_log("browser") if each["level"] == "SEVERE"]
        assert severe == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.slow
def test_a_camera_that_does_not_open_is_undone_by_one_click(
    site: Client, browser: Any, folder: Path
) -> None:
    before = (folder / "edge.toml").read_text()
    page = _open(site, browser)
    _set(page, "#set-camera-source", "/dev/video98")
    page.find("#settings-save").click()
    page.until(lambda: page.text("#settings-message") == "Saved.")
    site.process.until(lambda: site.ask("GET", "/readyz").status == 503)
    page.until(lambda: "no such camera device" in page.text("#settings-message"))
    page.find("#settings-undo").click()
    page.until(lambda: "All cameras deliver pictures" in page.text("#settings-message"))
    assert (folder / "edge.toml").read_text() == before
    site.until_ready()

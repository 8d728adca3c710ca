"""The page in a real browser: what is wrong, several cameras, and enrolling while looking."""

from __future__ import annotations

import shutil
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.image import Image
from tests.support.web import Client, make_film, start_cameras
from tests.web.browser import PHONE, Page, needs_browser

pytestmark = needs_browser
REGIONS = """
[regions.left]
camera = "desk"
area = [0.05, 0.1, 0.4, 0.8]
[regions.right]
camera = "desk"
area = [0.55, 0.2, 0.4, 0.6]
"""


LOCAL = "return document.querySelectorAll('main button[data-local]:enabled').length"
"""JavaScript: the buttons that need no board."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, film: Path, cat: Image) -> Iterator[Client]:
    """A camera with two regions, one in the dark, and one that is not there."""
    folder = tmp_path_factory.mktemp("site")
    dark = make_film(folder / "dark.mp4", np.asarray(cat // 12, np.uint8))
    films = {"desk": film, "cellar": dark, "attic": Path("/dev/video97")}
    process = start_cameras(folder, films, REGIONS)
    client = Client(process)
    client.until_ready()
    process.until(lambda: client.ask("GET", "/api/look?camera=cellar").status == 200)
    yield client
    process.end()


@pytest.fixture
def page(site: Client, browser: Any) -> Iterator[Page]:
    page = Page(browser, site.url)
    page.until(lambda: page.all(".camera"))
    yield page
    for each in site.ask("GET", "/api/labels").json()["labels"]:
        site.ask("DELETE", f"/api/labels/{urllib.parse.quote(each['label'])}")


def _choose(page: Page, place: str) -> None:
    from selenium.webdriver.support.ui import Select

    page.until(lambda: page.find("#enroll-from").is_displayed())
    Select(page.find("#enroll-from")).select_by_visible_text(place)


def _has_recorded(page: Page, least: int) -> bool:
    """Return whether the button, while it is held, shows this number of pictures at least."""
    count = page.text("#enroll-text").split()[0]
    return count.isdecimal() and int(count) >= least


def _hold_until(page: Page, least: int) -> None:
    """Hold the button until it shows this number of pictures at least."""
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(page.browser).click_and_hold(page.find("#enroll-frame")).perform()
    page.until(lambda: _has_recorded(page, least))
    ActionChains(page.browser).release().perform()


def test_cameras_side_by_side_with_outlined_regions(page: Page) -> None:
    cards = page.all(".camera")
    assert [card.find_element("css selector", "h3").text for card in cards] == [
        *("desk", "cellar", "attic"),
    ]
    assert cards[0].rect["y"] == cards[1].rect["y"]
    picture = page.find(".camera .picture").rect
    outlines = [(each.text, each.rect) for each in page.all(".camera .outline")]
    assert [name for name, _ in outlines] == ["left", "right"]
    left = outlines[0][1]
    assert left["x"] == pytest.approx(picture["x"] + 0.05 * picture["width"], abs=2)
    assert left["width"] == pytest.approx(0.4 * picture["width"], abs=2)
    assert left["height"] == pytest.approx(0.8 * picture["height"], abs=2)
    assert [each.text for each in page.all(".camera .sight h4")] == ["left", "right"]
    widths = "return [...document.querySelectorAll('.live-view')].map((one) => one.naturalWidth)"
    page.until(lambda: page.script(widths)[:2] == [640, 640])


def test_a_dead_camera_is_named_with_its_reason_and_disturbs_no_other(page: Page) -> None:
    page.until(lambda: "Camera “attic” delivers no pictures" in page.text("#alerts"))
    assert "/dev/video97" in page.text("#alerts")
    assert "desk" not in page.text("#alerts")
    assert page.find("#alerts").get_attribute("role") == "alert"
    assert page.contrast(".alert strong") >= 4.5
    size = "return parseFloat(getComputedStyle(document.querySelector('.alert strong')).fontSize)"
    assert page.script(size) >= 20
    texts = [each.text for each in page.all("#cameras .recognition")]
    assert texts == ["unknown", "unknown", "unknown", "no current picture"]
    assert page.text("#state") != "running"


def test_hold_to_record_then_undo(page: Page, site: Client) -> None:
    _choose(page, "desk / left")
    page.find("#label").send_keys("the cat")
    _hold_until(page, 2)
    page.until(lambda: "enrolled." in page.text("#enroll-message"))
    (enrolled,) = site.ask("GET", "/api/labels").json()["labels"]
    assert enrolled["label"] == "the cat"
    assert enrolled["pictures"] >= 2
    assert (
        page.text("#enroll-message") == f"the cat: {enrolled['pictures']} pictures were enrolled."
    )
    page.until(lambda: page.text(".recognition") == "the cat")
    page.until(lambda: "% sure, for " in page.text(".detail"))
    assert page.text(".agreement").endswith("of the recent frames agree")
    page.until(lambda: page.find("#undo").is_displayed())
    page.find("#undo").click()
    page.until(lambda: "removed again" in page.text("#enroll-message"))
    assert not page.find("#undo").is_displayed()
    assert site.ask("GET", "/api/labels").json()["labels"] == []


def test_dark_pictures_are_left_out_and_counted(page: Page, site: Client) -> None:
    _choose(page, "cellar")
    page.find("#label").send_keys("thing")
    page.until(lambda: page.text("#hint") == "Too dark: more light helps.")
    _hold_until(page, 0)
    page.until(lambda: "left out" in page.text("#enroll-message"))
    assert page.text("#enroll-message").startswith("thing: 0 pictures were enrolled.")
    assert "Too dark" in page.text("#enroll-message")
    assert site.ask("GET", "/api/labels").json()["labels"] == []


def test_holding_a_key_records_too(page: Page, site: Client) -> None:
    _choose(page, "desk / left")
    page.find("#label").send_keys("the cat")
    page.script("document.getElementById('enroll-frame').focus()")
    key = {"key": " ", "code": "Space", "windowsVirtualKeyCode": 32, "text": " "}
    press = "Input.dispatchKeyEvent"
    page.browser.execute_cdp_cmd(press, {"type": "keyDown", **key})
    for _ in range(5):
        page.browser.execute_cdp_cmd(press, {"type": "keyDown", "autoRepeat": True, **key})
    page.until(lambda: _has_recorded(page, 2))
    page.browser.execute_cdp_cmd(press, {"type": "keyUp", **key})
    page.until(lambda: "pictures were enrolled." in page.text("#enroll-message"))
    assert site.ask("GET", "/api/labels").json()["labels"][0]["pictures"] >= 2


def test_nothing_is_recorded_from_a_dead_camera(page: Page) -> None:
    _choose(page, "attic")
    page.until(lambda: not page.find("#enroll-frame").is_enabled())
    assert page.text("#record-why").startswith("Camera “attic” delivers no pictures")
    assert "record-why" in str(page.find("#enroll-frame").get_attribute("aria-describedby"))
    _choose(page, "desk / left")
    page.until(lambda: page.find("#enroll-frame").is_enabled())
    assert page.text("#record-why") == ""


def test_hints_and_the_nearest_labels_while_looking(page: Page, site: Client) -> None:
    site.ask("POST", "/api/labels/cat/frame?camera=desk&region=left")
    assert not page.all("#near li")
    _choose(page, "desk / left")
    page.find("#label").send_keys("the cat")
    page.until(lambda: page.text("#hint") == "A good picture.")
    page.until(lambda: page.all("#near li.known"))
    assert page.text("#near .name") == "cat"
    assert "similar enough" in page.find("#near .bar").get_attribute("aria-label")


def test_nothing_moves_for_those_who_want_no_motion(page: Page) -> None:
    page.script("document.getElementById('enroll-frame').classList.add('recording')")
    moves = (
        "return getComputedStyle(document.getElementById('enroll-frame'), '::before').animationName"
    )
    assert page.script(moves) == "pulse"
    features = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        assert page.script(moves) == "none"
    finally:
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_phone_shows_camera_label_and_button_on_one_screen(page: Page) -> None:
    metrics = {"width": PHONE[0], "height": PHONE[1], "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.until(lambda: page.find("#view-live").size["width"] < PHONE[0])
        page.script("document.querySelector('#cameras').scrollIntoView()")
        top = "return arguments[0].getBoundingClientRect().top"
        bottom = "return arguments[0].getBoundingClientRect().bottom"
        assert page.script(top, page.find(".camera .picture")) >= 0
        nav = page.script(top, page.find("#views"))
        assert page.script(bottom, page.find("#enroll-frame")) <= nav
        assert page.script("return document.documentElement.scrollWidth") <= PHONE[0]
        _choose(page, "cellar")
        left = "return document.querySelectorAll('.camera')[1].getBoundingClientRect().left"
        page.until(lambda: 0 <= page.script(left) < 100)
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.slow
def test_a_deleted_gallery_and_a_daemon_that_is_gone(
    tmp_path: Path, film: Path, browser: Any
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    process = start_cameras(folder, {"desk": film})
    client = Client(process)
    client.until_ready()
    page = Page(browser, client.url)
    page.until_running()
    page.find("#label").send_keys("the cat")
    page.find("#enroll-frame").click()
    page.until(lambda: page.text(".recognition") == "the cat")
    assert page.text("#alerts") == ""
    for file in folder.glob("g.sqlite*"):
        shutil.move(file, tmp_path / file.name)
    page.until(lambda: "The gallery cannot be used" in page.text("#alerts"))
    process.child.kill()
    page.until(lambda: "The board does not answer" in page.text("#alerts"))
    page.until(lambda: page.text("#record-why") == "The board does not answer.")
    enabled = "return [...document.querySelectorAll('main button:enabled')].length"
    page.until(lambda: page.script(enabled) == page.script(LOCAL))
    page.until(lambda: page.text(".recognition") == "no current picture")
    page.until(lambda: page.text(".detail").startswith("Last recognized: the cat, "))
    page.until(lambda: page.text(".age").startswith("This picture is "))
    assert page.text("#state") == "no connection"
    assert page.find("canvas.last").is_displayed()  # the last picture, grayed
    assert "grayscale" in str(page.find("canvas.last").value_of_css_property("filter"))
    # It comes back by itself, with a new gallery.
    again = start_cameras(folder, {"desk": film}, http=f"port = {client.port}")
    try:
        page.until_running()
        page.until(lambda: page.text(".recognition") == "unknown")
        page.until(lambda: page.find(".live-view").is_displayed())
        assert page.text("#alerts") == ""
        page.until(lambda: page.find("#enroll-frame").is_enabled())
        assert page.script("return document.querySelectorAll('[data-off]').length") == 0
    finally:
        again.end()

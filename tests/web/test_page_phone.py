"""The page on a phone: its camera asks the board, and the page opens without the board."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.image import Image
from tests.support.web import Client, encoded, start_cameras
from tests.web.browser import PHONE, Page, needs_browser, open_browser

STATIC = Path(__file__).parents[2] / "edge_runtime" / "web" / "static"
MOST_BYTES = 120_000
VIEWS = ("live", "gallery", "inbox", "history", "settings", "status", "phone")
LOADED = """
const files = ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind))
  .filter(({ name }) => !/\\/(api|live|frame)[/.]/.test(new URL(name).pathname));
return files.map(({ name, decodedBodySize }) => [new URL(name).pathname, decodedBodySize]);
"""
"""JavaScript: the page's own files that were loaded, with their sizes before compression."""
NAME = "board.test"


def test_the_page_is_small() -> None:
    """As sent, which is compressed: all views and all languages together."""
    files = [file for file in STATIC.rglob("*") if file.is_file()]
    assert sum(len(gzip.compress(file.read_bytes(), 9)) for file in files) <= MOST_BYTES


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, film: Path) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("site")
    process = start_cameras(folder, {"desk": film}, http=f'port = 0\nnames = ["{NAME}"]')
    client = Client(process)
    client.until_ready()
    yield client
    process.end()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, film: Path) -> Iterator[Client]:
    """A daemon that offers every view."""
    folder = tmp_path_factory.mktemp("small")
    process = start_cameras(folder, {"desk": film}, "[history]\n[unknowns]\n")
    client = Client(process)
    client.until_ready()
    yield client
    process.end()


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory, cat: Image) -> Iterator[Any]:
    """A browser whose camera sees the cat."""
    folder = tmp_path_factory.mktemp("phone")
    picture = np.asarray(cv2.resize(cat, (640, 480)), np.uint8)
    (folder / "cat.mjpeg").write_bytes(3 * encoded(picture))
    driver = open_browser(
        folder / "profile",
        *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
        f"--use-file-for-fake-video-capture={folder / 'cat.mjpeg'}",
        f"--host-resolver-rules=MAP {NAME} 127.0.0.1",
    )
    metrics = {"width": PHONE[0], "height": PHONE[1], "deviceScaleFactor": 2, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    yield driver
    driver.quit()


@needs_browser
@pytest.mark.parametrize("view", VIEWS)
def test_what_is_loaded_is_small_without_compression(
    browser: Any, small: Client, view: str
) -> None:
    """Whichever view is opened first, in a language with a catalogue."""
    browser.execute_cdp_cmd(
        "Emulation.setUserAgentOverride", {"userAgent": "Chromium", "acceptLanguage": "de"}
    )
    try:
        page = Page(browser, small.url, view)
        page.until(lambda: page.find(f"#view-{view}").is_displayed())
        page.until(lambda: page.find(f"#view-{view}").get_attribute("aria-busy") != "true")
        loaded = dict(page.script(LOADED))
        assert page.script("return document.documentElement.lang") == "de"
    finally:
        browser.execute_cdp_cmd("Emulation.setUserAgentOverride", {"userAgent": ""})
    assert {"/", "/app.js", "/style.css", "/lang/de.json"} <= loaded.keys()
    assert min(loaded.values()) > 0
    assert sum(loaded.values()) <= MOST_BYTES, loaded
    others = [name for name in loaded if "/lang/" in name and "de" not in name]
    assert not others


@needs_browser
def test_a_phone_names_what_it_sees_and_enrolls_by_one_tap(
    site: Client, phone: Any, cat: Image
) -> None:
    page = Page(phone, site.url)
    page.until_running()
    page.find('#enroll-form a[href="#phone"]').click()
    page.until(lambda: page.find("#phone-start").is_displayed())
    page.find("#phone-start").click()
    page.until(lambda: page.text("#phone-name") == "unknown")
    assert page.text("#phone-detail") == "Nothing is enrolled yet."
    width = "return document.getElementById('phone-view').videoWidth"
    assert page.script(width) == 640
    assert page.script("return document.documentElement.scrollWidth") <= PHONE[0]
    page.find("#phone-label").send_keys("the cat")
    page.find("#phone-form button").click()
    page.until(lambda: page.text("#phone-message") == "the cat was enrolled.")
    page.until(lambda: page.text("#phone-name") == "the cat")
    assert page.text("#phone-detail").endswith("% sure")
    page.find("#phone-undo").click()
    page.until(lambda: page.text("#phone-name") == "unknown")
    assert site.ask("GET", "/api/labels").json()["labels"] == []
    page.find("#phone-start").click()
    page.until(lambda: not page.find("#phone-view").is_displayed())
    assert page.script("return document.getElementById('phone-view').srcObject") is None


@needs_browser
def test_a_clip_from_a_file_is_recognized_with_the_frames_that_it_took(
    site: Client, phone: Any, film: Path, cat: Image, tmp_path: Path
) -> None:
    page = Page(phone, f"http://{NAME}:{site.port}", "phone")  # needs no encryption
    page.until(lambda: page.text("#phone-why"))  # the view's modules have begun
    page.find("#query-file").send_keys(str(film))
    page.until(lambda: page.text("#query-name") == "unknown")
    assert page.text("#query-detail") == "Nothing is enrolled yet."
    assert page.text("#query-frames").startswith("It looked at ")
    site.ask("POST", "/api/labels/the%20cat", encoded(cat), **{"Content-Type": "image/jpeg"})
    page.find("#query-file").send_keys(str(film))
    page.until(lambda: page.text("#query-name") == "the cat")
    assert page.text("#query-detail").endswith("% sure")
    used = site.ask("POST", "/api/query", film.read_bytes(), **{"Content-Type": "video/mp4"}).json()
    assert used["frames"] >= 1 and f" {used['frames']} frame" in page.text("#query-frames")
    assert page.script("return document.documentElement.scrollWidth") <= PHONE[0]
    photo, broken = tmp_path / "cat.jpg", tmp_path / "broken.mp4"
    photo.write_bytes(encoded(cat))
    broken.write_bytes(film.read_bytes()[:64])
    page.find("#query-file").send_keys(str(broken))
    page.until(lambda: "error" in (page.find("#query-message").get_attribute("class") or ""))
    assert not page.find("#query-sight").is_displayed()
    page.find("#query-file").send_keys(str(photo))
    page.until(lambda: page.text("#query-name") == "the cat")
    assert page.text("#query-frames") == "" and page.text("#query-message") == ""
    site.ask("DELETE", "/api/labels/the%20cat")


@needs_browser
def test_without_encryption_the_page_says_why_there_is_no_camera(site: Client, phone: Any) -> None:
    page = Page(phone, f"http://{NAME}:{site.port}", "phone")
    page.until(lambda: page.find("#view-phone").is_displayed())
    assert "only to an encrypted page" in page.text("#phone-why")
    assert not page.find("#phone-start").is_enabled()


@pytest.mark.slow
@needs_browser
def test_the_page_opens_without_the_board_and_says_so(
    tmp_path: Path, film: Path, phone: Any
) -> None:
    process = start_cameras(tmp_path, {"desk": film})
    client = Client(process)
    client.until_ready()
    page = Page(phone, client.url)
    page.until_running()
    files = [file for file in STATIC.glob("*.js") if file.name != "worker.js"]
    kept = (
        "const done = arguments[0]; caches.open('page').then((each) => each.keys())"
        ".then((keys) => done(keys.map((key) => new URL(key.url).pathname)))"
    )
    wanted = {"/", "/style.css", *(f"/{file.name}" for file in files)}
    page.until(lambda: wanted <= set(phone.execute_async_script(kept)))
    manifest = phone.execute_cdp_cmd("Page.getAppManifest", {})
    assert manifest["errors"] == []
    assert client.ask("GET", "/app.webmanifest").json()["icons"]
    process.end()
    page = Page(phone, client.url)
    page.until(lambda: "The board does not answer" in page.text("#alerts"))
    assert page.text("#state") == "no connection"
    assert not any(path.startswith("/api/") for path in phone.execute_async_script(kept))

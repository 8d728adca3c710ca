"""The gallery's view in a real browser: search, selection, pictures, payload, files."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.engine import open_engine
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.image import Image
from tests.support.web import HTML, Client, encoded, start
from tests.web.browser import DESKTOP, PHONE, Page, needs_browser

pytestmark = needs_browser


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, film: Path) -> Iterator[Client]:
    process = start(
        tmp_path_factory.mktemp("site"), film, http="port = 0\nrequests_per_minute = 100000"
    )
    client = Client(process)
    client.until_ready()
    yield client
    process.end()


@pytest.fixture
def site(running: Client, noise: Callable[[int], Image]) -> Client:
    """Two pictures of a red cup, one of a Café, and one of a label that is HTML."""
    labels = [each["label"] for each in running.ask("GET", "/api/labels").json()["labels"]]
    if labels:
        running.ask("POST", "/api/gallery/remove", json.dumps({"labels": labels}).encode())
    for seed, label in enumerate(("red cup", "red cup", "Caf\u00e9", HTML.replace("/", "|"))):
        path = f"/api/labels/{urllib.parse.quote(label, safe='')}"
        answer = running.ask("POST", path, encoded(noise(seed)), Content_Type="image/jpeg")
        assert answer.status == 201
    return running


def _open(site: Client, browser: Any, labels: int = 3) -> Page:
    page = Page(browser, site.url, "gallery")
    page.until_running()
    page.until(lambda: len(page.all("#labels li")) == labels)
    return page


def _shown(page: Page) -> list[str]:
    return [each.get_attribute("data-label") for each in page.all("#labels li:not([hidden])")]


def _confirm(page: Page, text: str) -> None:
    page.until(lambda: page.find("#confirm").is_displayed())
    assert text in page.text("#confirm-text")
    page.find("#confirm-yes").click()


def _click(page: Page, label: str) -> None:
    page.find(f'#labels li[data-label="{label}"] .open').click()
    page.until(lambda: page.find("#label-dialog").is_displayed())


def test_search_select_and_remove_with_undo(site: Client, browser: Any) -> None:
    page = _open(site, browser)
    assert page.text("#gallery-count") == "3 labels, 4 photos"
    page.find("#label-search").send_keys("CAFE")
    assert _shown(page) == ["Caf\u00e9"]
    assert page.text("#gallery-count") == "1 of 3 labels"
    page.find("#label-search").clear()
    page.find("#label-search").send_keys("c")
    page.find("#select-all").click()
    page.until(lambda: page.text("#selection-count") == "3 selected")  # HTML has a c, too
    page.find('#labels li[data-label^="<"] input').click()
    assert page.text("#selection-count") == "2 selected"
    page.find("#remove-selected").click()
    _confirm(page, "Remove 2 labels with all their photos")
    page.until(lambda: len(page.all("#labels li")) == 1)
    assert "2 labels were removed." in page.text("#gallery-message")
    assert not page.all("img[src=x]")
    page.find("#gallery-message button").click()
    page.until(lambda: len(page.all("#labels li")) == 3)
    assert page.text("#gallery-message") == "The photos are back."
    assert page.find("#remove-selected").get_attribute("disabled")


def test_a_picture_is_removed_and_put_back(site: Client, browser: Any) -> None:
    page = _open(site, browser)
    _click(page, "red cup")
    wide = "return [...document.querySelectorAll('#label-pictures img')].map(e => e.naturalWidth)"
    page.until(lambda: (found := page.script(wide)) and len(found) == 2 and min(found) > 100)
    assert page.text("#label-count") == "2 photos"
    page.find("#label-pictures button").click()
    page.until(lambda: len(page.all("#label-pictures li")) == 1)
    page.until(lambda: page.all("#label-message button"))
    page.find("#label-message button").click()
    page.until(lambda: len(page.all("#label-pictures li")) == 2)
    page.find("#label-close").click()
    # The last picture takes the label with it.
    _click(page, "Caf\u00e9")
    page.until(lambda: page.all("#label-pictures button"))
    page.find("#label-pictures button").click()
    page.until(lambda: not page.find("#label-dialog").is_displayed())
    page.until(lambda: len(page.all("#labels li")) == 2)
    page.until(lambda: page.all("#gallery-message button"))
    page.find("#gallery-message button").click()
    page.until(lambda: len(page.all("#labels li")) == 3)


def test_rename_merge_and_payload(site: Client, browser: Any) -> None:
    page = _open(site, browser)

    def rename(text: str) -> None:
        page.find("#label-name").clear()
        page.find("#label-name").send_keys(text)
        page.find("#rename-form button").click()

    _click(page, "Caf\u00e9")
    rename("a/b")
    page.until(lambda: "must not contain" in page.text("#label-message"))
    rename("Bar")
    page.until(lambda: page.text("#label-message").startswith("The label was renamed."))
    assert page.text("#label-title") == "Bar"
    page.find("summary").click()
    page.find("#label-payload").send_keys("{")
    page.find("#payload-form button").click()
    page.until(lambda: "not valid JSON" in page.text("#label-message"))
    page.find("#label-payload").send_keys('"floor": 3}')
    page.find("#payload-form button").click()
    page.until(lambda: page.text("#label-message") == "The data was stored.")
    assert site.ask("GET", "/api/labels/Bar/payload").json()["payload"] == '{"floor": 3}'
    rename("red cup")
    _confirm(page, "red cup exists already. Merge Bar into it?")
    page.until(lambda: page.text("#label-message").startswith("The labels were merged."))
    page.until(lambda: page.text("#label-count") == "3 photos")
    page.until(lambda: page.all("#label-message button"))
    page.find("#label-message button").click()
    page.until(lambda: page.text("#label-message") == "The labels are apart again.")
    page.until(lambda: page.text("#label-title") == "Bar")
    page.until(lambda: page.text("#label-count") == "1 photo")
    assert site.ask("GET", "/api/labels/Bar/payload").json()["payload"] == '{"floor": 3}'
    rename("red cup")
    _confirm(page, "red cup exists already. Merge Bar into it?")
    page.until(lambda: page.text("#label-count") == "3 photos")
    page.find("#label-remove").click()
    _confirm(page, "Remove red cup with all its photos?")
    page.until(lambda: len(page.all("#labels li")) == 1)


def test_advice_is_on_the_cards(site: Client, browser: Any) -> None:
    page = _open(site, browser)  # without a click on "Check the gallery"
    page.until(lambda: "1 more photo needed" in page.text('#labels li[data-label="red cup"]'))
    assert "2 more photos needed" in page.text('#labels li[data-label="Caf\u00e9"]')
    _click(page, "red cup")
    assert "1 more photo needed" in page.text("#label-notes")


def test_backup_restore_and_undo(
    site: Client, browser: Any, tmp_path: Path, noise: Callable[[int], Image]
) -> None:
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    page = _open(site, browser)
    page.find('#gallery-files a[href$="backup"]').click()
    page.until(lambda: list(tmp_path.glob("gallery-*.sqlite")))
    (copy,) = tmp_path.glob("gallery-*.sqlite")
    page.find('#gallery-files a[href$="export"]').click()
    page.until(lambda: list(tmp_path.glob("gallery-*.jsonl")))
    bad = tmp_path / "bad.sqlite"
    bad.write_bytes(b"not a gallery")
    page.find("#restore-file").send_keys(str(bad))
    _confirm(page, "Replace the whole gallery by bad.sqlite")
    page.until(lambda: "cannot take the place" in page.text("#files-message"))
    site.ask("POST", "/api/labels/later", encoded(noise(9)), Content_Type="image/jpeg")
    page.find("#restore-file").send_keys(str(copy))
    _confirm(page, copy.name)
    page.until(lambda: page.text("#files-message") == "The gallery has 3 labels and 4 photos now.")
    page.until(lambda: page.find("#restore-undo").is_displayed())
    page.find("#restore-undo").click()
    _confirm(page, "Go back")
    page.until(lambda: page.text("#files-message") == "The gallery has 4 labels and 5 photos now.")
    page.until(lambda: len(page.all("#labels li")) == 4)


def test_by_keyboard_and_on_a_phone(site: Client, browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    metrics = {"width": PHONE[0], "height": PHONE[1], "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page = _open(site, browser)
        assert page.script("return document.documentElement.scrollWidth") <= PHONE[0]
        page.find("#label-search").click()
        for _ in range(30):
            ActionChains(browser).send_keys(Keys.TAB).perform()
            if page.script("return document.activeElement.matches('.open')"):
                break
        ActionChains(browser).send_keys(Keys.ENTER).perform()
        page.until(lambda: page.find("#label-dialog").is_displayed())
        box = page.find("#label-dialog").rect
        assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE[0]
        page.until(lambda: page.all("#label-pictures button"))
        for button in page.all("#label-dialog button, #gallery-files .button, #remove-selected"):
            assert not button.is_displayed() or button.size["height"] >= 44, button.text
        ActionChains(browser).send_keys(Keys.ESCAPE).perform()
        page.until(lambda: not page.find("#label-dialog").is_displayed())
        for selector in ("#gallery-count", "#remove-selected", "#gallery-files .button"):
            if page.script("return !document.querySelector(arguments[0]).disabled", selector):
                assert page.contrast(selector) >= 4.5, selector
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert browser.get_window_size()["width"] == DESKTOP[0]


@pytest.mark.slow
def test_five_hundred_labels(tmp_path: Path, film: Path, browser: Any) -> None:
    model = open_engine(None).model
    codes = np.random.default_rng(1).integers(0, 2**64, (500, 1), np.uint64)
    with Gallery(tmp_path / "g.sqlite", model, create=True) as gallery:
        gallery.enroll(LabeledCode(f"thing {n:03}", code) for n, code in enumerate(codes))
    process = start(tmp_path, film)
    try:
        client = Client(process)
        browser.get_log("performance")
        page = _open(client, browser, 500)
        assert page.text("#gallery-count") == "500 labels, 500 photos"
        page.find("#label-search").send_keys("49")
        assert _shown(page) == [f"thing {n:03}" for n in (49, 149, 249, 349, 449, *range(490, 500))]
        asked = [
            message["params"]["request"]["url"]
            for entry in browser.get_log("performance")
            if (message := json.loads(entry["message"])["message"])["method"]
            == "Network.requestWillBeSent"
        ]
        thumbnails = [url for url in asked if "/photo" in url]
        assert len(thumbnails) < 400  # only those that are near the visible part
        page.find("#select-all").click()
        page.find("#remove-selected").click()
        _confirm(page, "Remove 15 labels")
        page.until(lambda: len(page.all("#labels li")) == 485)
    finally:
        process.end()

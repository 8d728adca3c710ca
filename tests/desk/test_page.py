"""The page of the fleet in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.desk.folder import Desk
from edge_runtime.desk.intake import take_status
from tests.support.fleet import picture
from tests.support.fleet.desk import new_desk, propose, status
from tests.support.fleet.running import DeskProcess
from tests.support.web import HTML, write_secret
from tests.web.browser import DESKTOP, PHONE, Page, emulate, needs_browser, open_browser

pytestmark = needs_browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    driver = open_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return new_desk(tmp_path, picture("cat", 1))


@pytest.fixture
def url(desk: Desk) -> Iterator[str]:
    process = DeskProcess(desk.path, "--port", 0)
    yield process.url()
    process.stop()


def _open(browser: Any, url: str) -> Page:
    browser.get("about:blank")
    browser.get(url)
    page = Page.__new__(Page)
    page.browser = browser
    return page


def test_proposals_are_decided_by_click(desk: Desk, url: str, browser: Any) -> None:
    propose(desk, "north", picture("dog", 2), picture("hen", 3))
    page = _open(browser, url)
    page.until(lambda: len(page.all("#proposals tbody tr")) == 2)
    label = page.find("[aria-label='Label of dog']")
    label.clear()
    label.send_keys("wolf")
    page.find("[aria-label='Accept dog of north']").click()
    page.until(lambda: page.text("#proposals-message") == "wolf was accepted.")
    page.find("[aria-label='Reject hen of north']").click()
    page.until(lambda: page.text("#proposals-message") == "hen was rejected.")
    page.until(lambda: not page.all("#proposals tbody tr"))
    page.find("#publish").click()
    page.until(lambda: page.text("#publish-message") == "Version 2 is published.")
    page.until(lambda: page.text("#version") == "2")
    with desk.gallery(read_only=True) as gallery:
        assert sorted(gallery.labels()) == ["cat", "wolf"]


def test_boards_are_shown_as_text(desk: Desk, url: str, browser: Any) -> None:
    reports = [
        ("north", status("north", 1, ready=True), False),
        ("south", status("south", 0, error=HTML), False),
    ]
    take_status(desk.store, reports)
    page = _open(browser, url)
    page.until(lambda: len(page.all("#boards tbody tr")) == 2)
    rows = [row.text for row in page.all("#boards tbody tr")]
    assert rows[0].startswith("north 1 0")
    assert HTML in rows[1]
    assert not page.all("#boards img")
    assert page.text("#state") == "1 behind"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_the_page_fits_and_can_be_read(
    desk: Desk, url: str, browser: Any, scheme: str, size: tuple[int, int]
) -> None:
    emulate(browser, size, scheme)
    take_status(desk.store, [("south", status("south", 0, error="disk full"), False)])
    page = _open(browser, url)
    page.until(lambda: page.all("#boards tbody tr.failing"))
    for selector in ("#version-title", "#boards th", "tr.failing td.state", "#publish"):
        assert page.contrast(selector) >= 4.5, selector
    assert page.script("return document.documentElement.scrollWidth <= innerWidth")
    assert page.script("return document.querySelectorAll('th:not([scope])').length") == 0


def test_the_token_opens_the_page(desk: Desk, tmp_path: Path, browser: Any) -> None:
    write_secret(tmp_path / "token", "a-token-of-the-desk-1234")
    process = DeskProcess(desk.path, "--port", 0, "--token-file", tmp_path / "token")
    try:
        page = _open(browser, process.url())
        page.until(lambda: page.find("#login").is_displayed())
        page.find("#token").send_keys("a-token-of-the-desk-1234\n")
        page.until(lambda: page.find("#content").is_displayed())
        assert page.text("#version") == "1"
    finally:
        process.stop()

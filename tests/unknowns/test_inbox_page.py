"""The inbox in a real browser: select, name, join, dismiss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.web import HTML, Client, start
from tests.unknowns.things import AT_ONCE, LIMIT_S, groups, showing, write_film
from tests.web.browser import DESKTOP, PHONE, Page, needs_browser, open_browser

pytestmark = needs_browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("site")
    film = write_film(folder / "wall.mp4", ("", "chelsea.png", "coffee.png"), 2.6)
    process = start(folder, film, AT_ONCE)
    yield Client(process)
    process.end()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    driver = open_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


def _select(page: Page, group: dict[str, Any]) -> str:
    """Select a group; return the selector of its item."""
    item = f'#unknowns [data-group="{group["id"]}"]'
    page.until(lambda: page.all(item))
    page.find(f"{item} [data-kind=groups]").click()
    page.until(lambda: page.find("#unknown-form").is_displayed())
    return item


def _pictures(site: Client) -> int:
    """Return the number of pictures of the only label."""
    (label,) = site.ask("GET", "/api/labels").json()["labels"]
    return int(label["pictures"])


def test_name_join_and_dismiss_by_click(site: Client, browser: Any) -> None:
    find = {photo: showing(site, photo) for photo in ("chelsea.png", "coffee.png", "")}
    cat, cup, wall = (site.process.until(each, LIMIT_S) for each in find.values())
    page = Page(browser, site.url)
    page.until(lambda: page.text("#inbox-count") == str(len(groups(site))))
    page.show("inbox")
    item = _select(page, cat)
    assert page.text("#chosen") == "1 thing selected"
    width = "return document.querySelector(arguments[0]).naturalWidth"
    page.until(lambda: page.script(width, f"{item} img") == 427)
    page.find("#unknown-label").send_keys(HTML)
    page.find("#unknown-form button").click()
    page.until(lambda: f"{HTML} has learned" in page.text("#inbox-message"))
    assert not page.all(item) and not page.all("img[src=x]")
    site.process.until_event("enter", HTML)
    assert page.find("#inbox-undo").is_displayed()
    # The cup joins the label, which the field offers.
    options = "return [...document.getElementById('known-labels').options].map((one) => one.value)"
    page.until(lambda: page.script(options) == [HTML])
    _select(page, cup)
    page.find("#unknown-label").send_keys(HTML)
    page.find("#unknown-form button").click()
    page.until(lambda: _pictures(site) == len(cat["pictures"]) + len(cup["pictures"]))
    page.until(lambda: page.find("#inbox-undo").is_enabled())
    page.find("#inbox-undo").click()
    page.until(lambda: _pictures(site) == len(cat["pictures"]))
    item = _select(page, wall)
    page.find("#unknown-dismiss").click()
    page.until(lambda: page.find("#confirm").is_displayed())
    page.find("#confirm-yes").click()
    page.until(lambda: not page.all(item))
    assert wall["id"] not in [group["id"] for group in groups(site)]
    assert not page.find("#unknown-form").is_displayed()


def test_a_thing_like_a_known_one_is_joined_by_one_click(site: Client, browser: Any) -> None:
    """What the answer suggests is a button. The answer is replaced, to be sure of a suggestion."""
    page = Page(browser, site.url)
    page.until(lambda: page.all('#views a[href="#inbox"]'))
    site.process.until(lambda: groups(site), LIMIT_S)
    page.script(
        """
        const ask = window.fetch;
        window.fetch = async (path, options) => {
          if (path !== "/api/unknowns") return ask(path, options);
          const body = await (await ask(path, options)).json();
          for (const group of body.groups) group.nearest = { label: "mug", similarity: 0.5 };
          return new Response(JSON.stringify(body));
        };
        """
    )
    page.until(lambda: page.find('#views a[href="#inbox"]').is_displayed())
    page.show("inbox")
    page.until(lambda: page.all("#unknowns .same"))
    assert page.text("#unknowns .same") == "Same as mug?"
    page.find("#unknowns .same").click()

    def labels() -> list[str]:
        return [one["label"] for one in site.ask("GET", "/api/labels").json()["labels"]]

    page.until(lambda: "mug" in labels())
    site.ask("DELETE", "/api/labels/mug")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_any_screen_light_and_dark(
    site: Client, browser: Any, scheme: str, size: tuple[int, int]
) -> None:
    (group, *_) = site.process.until(lambda: groups(site), LIMIT_S)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        browser.get_log("browser")
        page = Page(browser, site.url, "inbox")
        page.until(lambda: page.find("#view-inbox").is_displayed())
        _select(page, group)
        assert page.script("return document.documentElement.scrollWidth") <= size[0]
        for selector in (
            "#view-inbox > .quiet",
            ".facts strong",
            ".ago",
            "#chosen",
            "#inbox-count",
        ):
            assert page.contrast(selector) >= 4.5, selector
        for button in page.all("#view-inbox button"):
            assert not button.is_displayed() or button.size["height"] >= 44, button.text
        tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        for node in tree:
            if node.get("role", {}).get("value") in ("checkbox", "button", "textbox", "combobox"):
                assert node.get("ignored") or node.get("name", {}).get("value"), node
        assert [one for one in browser.get_log("browser") if one["level"] == "SEVERE"] == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

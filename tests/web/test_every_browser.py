"""Every view in Chromium and Firefox, at three widths, in light and dark; checked by axe."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT
from tests.support.web import Client
from tests.web.browser import DESKTOP, PHONE, TABLET, emulate, needs_browser, screenshot
from tests.web.firefox import Firefox, needs_firefox
from tests.web.showcase import SHOWN, VIEWS, open_showcase

pytestmark = pytest.mark.slow
SHOTS = ROOT / "build" / "screenshots"
"""Kept for review."""
SIZES = {"phone": PHONE, "tablet": TABLET, "desktop": DESKTOP}
SCHEMES = ("light", "dark")
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
AXE = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = open_showcase(tmp_path_factory.mktemp("showcase"))
    yield client
    client.process.end()


def _keep(name: str, png: bytes) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    (SHOTS / f"{name}.png").write_bytes(png)


@needs_firefox
@pytest.mark.parametrize("scheme", SCHEMES)
def test_firefox(site: Client, tmp_path: Path, scheme: str) -> None:
    with Firefox(tmp_path / "profile", dark=scheme == "dark") as firefox:
        for size, (width, height) in SIZES.items():
            firefox.resize(width, height)
            for view in VIEWS:
                firefox.get("about:blank")
                firefox.get(f"{site.url}/#{view}")
                firefox.until(SHOWN.replace("NAME", view))
                _keep(f"firefox-{view}-{size}-{scheme}", firefox.screenshot())
                assert firefox.script(SIDEWAYS) <= 0, (view, size)
        firefox.get("about:blank")
        firefox.get(f"{site.url}/#live")
        firefox.until("document.querySelector('#state').textContent === 'running'")
        firefox.script(
            "(document.querySelector('#label').value = 'wall', "
            "document.querySelector('#enroll-frame').click())"
        )
        firefox.until("document.querySelector('#enroll-message').textContent.includes('wall')")


@needs_firefox
@pytest.mark.parametrize(("language", "gallery"), [("de-AT", "Galerie"), ("es", "Galería")])
def test_languages(site: Client, tmp_path: Path, language: str, gallery: str) -> None:
    with Firefox(tmp_path / "profile", language=language) as firefox:
        firefox.resize(*DESKTOP)
        firefox.get(f"{site.url}/#gallery")
        firefox.until(SHOWN.replace("NAME", "gallery"))
        firefox.until(f"document.querySelector('#gallery-title').textContent === '{gallery}'")
        assert firefox.script("document.documentElement.lang") == language[:2]
        _keep(f"firefox-gallery-desktop-{language}", firefox.screenshot())


@needs_browser
@pytest.mark.parametrize("scheme", SCHEMES)
def test_chromium(site: Client, browser: Any, scheme: str) -> None:
    """Axe finds no violation of WCAG 2.2 AA in any view."""
    from selenium.webdriver.support.ui import WebDriverWait

    found = find_spec("axe_playwright_python")
    assert found is not None and found.origin is not None, "run: make test"
    axe = (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")
    violations = []
    for size, pixels in SIZES.items():
        emulate(browser, pixels, scheme)
        for view in VIEWS:
            browser.get("about:blank")
            browser.get(f"{site.url}/#{view}")
            shown = SHOWN.replace("NAME", view)
            WebDriverWait(browser, 60, 0.1).until(
                lambda one, shown=shown: one.execute_script(f"return {shown}")
            )
            _keep(f"chromium-{view}-{size}-{scheme}", screenshot(browser))
            assert browser.execute_script(f"return {SIDEWAYS}") <= 0, (view, size)
            browser.execute_script(axe)
            result = browser.execute_async_script(
                "const [rules, done] = arguments; axe.run(document, {runOnly: rules})"
                ".then(done, (error) => done({error: `${error}`}))",
                AXE,
            )
            assert "error" not in result, result
            violations += [
                (
                    view,
                    size,
                    each["id"],
                    each["nodes"][0]["html"][:120],
                    each["nodes"][0].get("failureSummary", "")[:200],
                )
                for each in result["violations"]
            ]
    assert violations == []

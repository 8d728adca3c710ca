"""Take the screenshots of the documentation from a running daemon.

python -m tests.web.screenshots [--out docs/images]
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import click
import cv2
import numpy as np

from tests.support.processes import ROOT
from tests.web.browser import DESKTOP, PHONE, emulate, open_browser, screenshot
from tests.web.showcase import SHOWN, open_showcase

SHOTS = {
    "live": ("live", DESKTOP, "light"),
    "live-phone": ("live", PHONE, "light"),
    "inbox": ("inbox", DESKTOP, "light"),
    "gallery": ("gallery", DESKTOP, "light"),
    "history": ("history", DESKTOP, "light"),
    "settings": ("settings", DESKTOP, "light"),
}
QUALITY = 82
SETTLE_S = 4.0
"""Time for pictures and lists that arrive after the view."""


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "docs" / "images"
)
def command(out: Path) -> None:
    """Start a daemon with two films as cameras, and write one JPEG per view."""
    from selenium.webdriver.support.ui import WebDriverWait

    out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.gettempdir()) / "board"  # the page shows this path
    folder.mkdir()
    try:
        site = open_showcase(folder)
        browser = open_browser(folder / "profile")
        try:
            for shot, (view, size, scheme) in SHOTS.items():
                emulate(browser, size, scheme)
                browser.get("about:blank")
                browser.get(f"{site.url}/#{view}")
                shown = SHOWN.replace("NAME", view)
                WebDriverWait(browser, 60, 0.1).until(
                    lambda one, shown=shown: one.execute_script(f"return {shown}")
                )
                time.sleep(SETTLE_S)
                picture = cv2.imdecode(np.frombuffer(screenshot(browser), np.uint8), 1)
                assert picture is not None
                cv2.imwrite(str(out / f"{shot}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
                click.echo(out / f"{shot}.jpg")
        finally:
            browser.quit()
            site.process.end()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    command()

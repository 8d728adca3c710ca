"""A headless Firefox, spoken to over WebDriver BiDi, which it has built in."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

FIREFOX = shutil.which("firefox") or shutil.which("firefox-esr")
needs_firefox = pytest.mark.skipif(not FIREFOX, reason="no Firefox: apt install firefox-esr")
ANSWER_S = 60
_LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
_PREFERENCES = {
    "layout.css.prefers-color-scheme.content-override": 1,  # light; 0 is dark
    "app.normandy.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}


class Firefox:
    """One window. Use it as a context manager."""

    def __init__(self, profile: Path, *, dark: bool = False, language: str = "en") -> None:
        import websocket

        preferences = {
            **_PREFERENCES,
            "layout.css.prefers-color-scheme.content-override": 0 if dark else 1,
            "intl.accept_languages": language,
        }
        profile.mkdir(parents=True)
        (profile / "user.js").write_text(
            "".join(
                f'user_pref("{key}", {json.dumps(each)});\n' for key, each in preferences.items()
            )
        )
        self._process = subprocess.Popen(
            [
                *(str(FIREFOX), "--headless", "--no-remote", "--profile", str(profile)),
                *("--remote-debugging-port=0", "about:blank"),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr
        address = next(
            found[1] for line in self._process.stderr if (found := _LISTENING.search(line))
        )
        self._line = websocket.create_connection(
            f"{address}/session", timeout=ANSWER_S, suppress_origin=True
        )
        self._numbers = itertools.count(1)
        self._call("session.new", capabilities={})
        tree = self._call("browsingContext.getTree")
        self._window = tree["contexts"][0]["context"]

    def __enter__(self) -> Firefox:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._call("browser.close")
        finally:
            self._line.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            assert self._process.stderr
            self._process.stderr.close()

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page."""
        size = {"width": width, "height": height}
        self._call("browsingContext.setViewport", context=self._window, viewport=size)

    def get(self, url: str) -> None:
        """Load a page."""
        self._call("browsingContext.navigate", context=self._window, url=url, wait="complete")

    def script(self, text: str) -> Any:
        """Return the value of the JavaScript expression `text`, which JSON can hold."""
        answer = self._call(
            "script.evaluate",
            expression=f"Promise.resolve({text}).then((value) => JSON.stringify(value ?? null))",
            target={"context": self._window},
            awaitPromise=True,
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])

    def until(self, text: str, limit_s: float = 60.0) -> Any:
        """Wait until the expression `text` is true; return its value."""
        end_s = time.monotonic() + limit_s
        while not (value := self.script(text)):
            assert time.monotonic() < end_s, (text, self.script("document.body.innerText"))
            time.sleep(0.1)
        return value

    def screenshot(self) -> bytes:
        """Return what the window shows, as a PNG."""
        answer = self._call("browsingContext.captureScreenshot", context=self._window)
        return base64.b64decode(answer["data"])

    def _call(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        self._line.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._line.recv())
            if message.get("id") == number:
                assert message["type"] == "success", message
                return message["result"]

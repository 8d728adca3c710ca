"""Take the picture of docs/HOME_ASSISTANT.md: the real Home Assistant with a real board.

HOME_ASSISTANT_PYTHON="command" python -m tests.web.home.screenshots [--out docs/images]

The command runs a Python with the packages homeassistant, paho-mqtt, home-assistant-frontend,
hassil, home-assistant-intents, mutagen, fnv-hash-fast, psutil-home-assistant, numpy, PyTurboJPEG,
av, ha-ffmpeg, pymicro-vad and pyspeex-noise, in the versions that the manifests of homeassistant's
components name. Needs mosquitto and Chromium.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from tests.daemon.broker import Broker, free_port, until
from tests.support.processes import ROOT
from tests.support.service import Process
from tests.unknowns.things import write_film
from tests.web.browser import emulate, open_browser, screenshot

SIZE = (1180, 860)
QUALITY = 80
LIMIT_S = 240.0
SETTLE_S = 3.0
"""Time for pictures and graphs that arrive after the text."""
RUN = """
import pathlib, sys, tempfile
from homeassistant.__main__ import main
folder = tempfile.mkdtemp()
pathlib.Path(folder, "configuration.yaml").write_text(
    "http:\\n  server_host: 127.0.0.1\\n  server_port: " + sys.argv[1]
    + "\\nfrontend:\\nconfig:\\nonboarding:\\nhistory:\\nlogbook:\\n"
)
sys.argv = ["hass", "--config", folder, "--skip-pip"]
sys.exit(main())
"""
CLIENT = "http://127.0.0.1:{port}/"
BOARD = """\
gallery.path = "g.sqlite"
gallery.keep_pictures = true
output.format = "none"
[board]
name = "hall"
[cameras.door]
source = "{film}"
loop = true
real_time = true
[mqtt]
host = "127.0.0.1"
port = {port}
discovery = true
images = true
commands = true
[http]
port = 0
"""
TEXT = """
const seen = [];
(function walk(root) {
    for (const each of root.querySelectorAll("*")) {
        if (each.shadowRoot) walk(each.shadowRoot);
        for (const node of each.childNodes) if (node.nodeType === 3) seen.push(node.textContent);
    }
})(document);
return seen.join(" ");
"""
"""JavaScript: the text of a page of nested web components."""


class HomeAssistant:
    """The real core with its user interface, a user, and its MQTT integration."""

    def __init__(self, broker: int) -> None:
        command = os.environ.get("HOME_ASSISTANT_PYTHON")
        if not command:
            raise click.UsageError("set HOME_ASSISTANT_PYTHON")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._token = ""
        self.child = subprocess.Popen([*shlex.split(command), "-c", RUN, str(self.port)])
        until(self._answers, LIMIT_S)
        self.tokens = self._begin()
        self._connect(broker)

    def _answers(self) -> bool:
        assert self.child.poll() is None
        try:
            urllib.request.urlopen(self.url, timeout=5).close()
        except OSError:
            time.sleep(0.5)
            return False
        return True

    def ask(self, path: str, value: Any = None, form: dict[str, str] | None = None) -> Any:
        """Return the JSON of an answer."""
        body = urllib.parse.urlencode(form).encode() if form else json.dumps(value).encode()
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        request = urllib.request.Request(
            self.url + path,
            body if form or value is not None else None,
            {"Content-Type": kind, "Authorization": f"Bearer {self._token}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def _begin(self) -> dict[str, Any]:
        """Answer the questions of the first start; return the tokens of a session."""
        client = CLIENT.format(port=self.port)
        user = {"name": "Owner", "username": "owner", "password": "password", "language": "en"}
        code = self.ask("/api/onboarding/users", user | {"client_id": client})["auth_code"]
        form = {"grant_type": "authorization_code", "code": code, "client_id": client}
        tokens: dict[str, Any] = self.ask("/auth/token", form=form)
        self._token = tokens["access_token"]
        for step in ("core_config", "analytics"):
            self.ask(f"/api/onboarding/{step}", {})
        self.ask("/api/onboarding/integration", {"client_id": client, "redirect_uri": client})
        return tokens | {
            "hassUrl": self.url,
            "clientId": client,
            "expires": (time.time() + tokens["expires_in"]) * 1000,
        }

    def _connect(self, broker: int) -> None:
        """Set the MQTT integration up, as its dialog does."""
        path = "/api/config/config_entries/flow"
        flow = self.ask(path, {"handler": "mqtt", "show_advanced_options": False})
        done = self.ask(f"{path}/{flow['flow_id']}", {"broker": "127.0.0.1", "port": broker})
        assert done["type"] == "create_entry", done

    def states(self) -> dict[str, str]:
        return {each["entity_id"]: each["state"] for each in self.ask("/api/states")}

    def close(self) -> None:
        self.child.terminate()
        self.child.wait(60)


@contextmanager
def _board(folder: Path, broker: int) -> Iterator[None]:
    """Run a daemon whose camera sees an enrolled thing, nothing, and another thing in turn."""
    from tests.support.web import Client
    from tests.web.showcase import enroll_things

    film = write_film(folder / "door.mp4", ["chelsea.png", "", "coffee.png", ""], 5.0)
    config = folder / "edge.toml"
    config.write_text(BOARD.format(film=film, port=broker))
    process = Process("--config", config)
    try:
        client = Client(process)
        client.until_ready()
        enroll_things(client)
        yield
    finally:
        process.end()


def _save(browser: Any, path: Path) -> None:
    picture = cv2.imdecode(np.frombuffer(screenshot(browser), np.uint8), 1)
    assert picture is not None
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    click.echo(path)


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "docs" / "images"
)
def command(out: Path) -> None:
    """Start a broker, a board and Home Assistant, and write the picture of the board's page."""
    folder = Path(tempfile.mkdtemp(prefix="edge-home-"))
    broker = Broker(folder)
    broker.start()
    home = None
    try:
        with _board(folder, broker.port):
            home = HomeAssistant(broker.port)
            until(lambda: home.states().get("sensor.hall_label") == "cat", LIMIT_S)
            browser = open_browser(folder / "profile")
            try:
                _shoot(browser, home, out)
            finally:
                browser.quit()
    finally:
        if home is not None:
            home.close()
        broker.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _shoot(browser: Any, home: HomeAssistant, out: Path) -> None:
    emulate(browser, SIZE, "light")
    browser.get(f"{home.url}/manifest.json")
    browser.execute_script(
        "localStorage.hassTokens = arguments[0]; localStorage.dockedSidebar = '\"always_hidden\"';",
        json.dumps(home.tokens),
    )
    browser.get(f"{home.url}/config/devices/dashboard")

    def until_shown(text: str) -> None:
        until(lambda: text in browser.execute_script(TEXT), LIMIT_S)

    until_shown("hall")
    script = (
        "const done = arguments[0]; document.querySelector('home-assistant').hass"
        ".callWS({type: 'config/device_registry/list'}).then(done)"
    )
    devices = browser.execute_async_script(script)
    (device,) = [each["id"] for each in devices if each["name"] == "hall"]
    browser.get(f"{home.url}/config/devices/device/{device}")
    until_shown("Last event")
    until(lambda: home.states().get("sensor.hall_label") == "cat", LIMIT_S)
    time.sleep(SETTLE_S)
    _save(browser, out / "home-assistant-device.jpg")


if __name__ == "__main__":
    command()

"""`edge-runtime desk run` as a real process, and a client of its page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.daemon.broker import until
from tests.support.processes import ROOT


class DeskProcess:
    """A running desk. Its log is kept."""

    def __init__(self, folder: Path, *options: object) -> None:
        command = [sys.executable, "-m", "edge_runtime", "desk", "run", "--desk", str(folder)]
        self.log = ""
        self.child = subprocess.Popen(
            [*command, *map(str, options)], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.child.stderr
        for line in self.child.stderr:
            self.log += line

    def until_logged(self, text: str) -> None:
        until(lambda: text in self.log or self.child.poll() is not None, 60)
        assert text in self.log, self.log

    def url(self) -> str:
        self.until_logged("the page is at ")
        found = re.search(r"the page is at (\S+)/\n", self.log)
        assert found
        return found[1]

    def kill(self) -> None:
        self.child.kill()
        self.stop()

    def stop(self) -> int:
        self.child.terminate()
        code = self.child.wait(60)
        self._reader.join()
        assert self.child.stderr
        self.child.stderr.close()
        return code


def ask(url: str, value: object | None = None, **headers: str) -> tuple[int, Any]:
    """Return the status and the JSON or text of an answer; with `value`, it is sent as JSON."""
    body = None if value is None else json.dumps(value).encode()
    names = {name.replace("_", "-"): text for name, text in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, names), timeout=30) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, text = error.code, error.read()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text.decode()

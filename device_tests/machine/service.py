"""The daemon on the emulated board, seen as its user sees it: systemctl, its API, its journal."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from device_tests.devices.base import ROOT
from device_tests.machine.qemu import HOST, Machine
from edge_runtime.errors import BoardLostError

UNIT = "edge-runtime"
ASK = """\
import sys, urllib.request as r
q = r.Request("http://localhost:8080" + sys.argv[2], b"" if sys.argv[1] == "POST" else None)
print(r.urlopen(q, timeout=120).read().decode())
"""


def deploy(machine: Machine, bundle: Path, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """`make deploy` out of the checkout `root`, waiting as long as an emulated board needs."""
    variables = {
        "SSH": machine.ssh,
        "BUNDLE": str(bundle),
        "BOARD_ENV": "READY_S=600",
    }
    done = subprocess.run(
        ["make", "--no-print-directory", "deploy", "TARGET=rpi4", f"HOST={HOST}"],
        cwd=root,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
    )
    done.returncode = {2: _code_of(done.stderr)}.get(done.returncode, done.returncode)
    return done


def _code_of(said: str) -> int:
    """The exit code of the recipe, as make tells it: "make: *** [...] Error 9"."""
    with contextlib.suppress(ValueError, IndexError):
        return int(said.rsplit("Error ", 1)[1].split()[0])
    return 2


def configure(machine: Machine, config: str) -> None:
    """Write the service's configuration."""
    text = config.replace("\n", "\\n")
    machine.run(
        "sudo mkdir -p /etc/edge-runtime && "
        f"printf '{text}' | sudo tee /etc/edge-runtime/edge.toml >/dev/null"
    )


def enrol_the_frame(machine: Machine, label: str) -> Any:
    """Enrol what the camera sees now; what the API says of it."""
    place = f"/api/labels/{label.replace(' ', '%20')}/frame"
    # Six views, seconds each: an API that cannot do it in time says so, and is asked anew.
    return until("enrolled", lambda: ask(machine, place, "POST"), 900)


def ask(machine: Machine, path: str, method: str = "GET") -> Any:
    """The API's answer, as somebody on the board gets it."""
    done = machine.run(f"python3 -c '{ASK}' {method} '{path}'", check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def shown(machine: Machine, *names: str) -> dict[str, str]:
    """What systemd says of the unit."""
    lines = machine.run(f"systemctl show {UNIT} -p {','.join(names)}").stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


def until(what: str, condition: Callable[[], Any], limit_s: float) -> Any:
    """Wait for `condition`; gives what it gave. Raises `BoardLostError`."""
    end_s = time.monotonic() + limit_s
    while not (found := condition()):
        if time.monotonic() > end_s:
            raise BoardLostError(f"never happened: {what}", where=HOST)
        time.sleep(1)
    return found


def until_recognised(machine: Machine, label: str | None, limit_s: float = 600) -> dict[str, Any]:
    """Wait until the daemon holds `label` (None: nothing) to be in view; its status then."""

    def held() -> Any:
        status = ask(machine, "/api/status")
        found = status and status["ready"] and (status["recognition"] or {"label": None})
        return found and found["label"] == label and status

    return dict(until(f"{label or 'nothing'} is recognised", held, limit_s))


def until_camera(
    machine: Machine, state: str, restarts: int = 0, *, named: str = "", limit_s: float = 600
) -> Any:
    """Wait until the camera (`named` so) is in `state` and was opened again at least so often."""

    def so() -> Any:
        status = ask(machine, "/api/status")
        camera = status and status["camera"]
        so_far = camera and camera["state"] == state and camera["restarts"] >= restarts
        return so_far and camera["name"] == (named or camera["name"]) and camera

    return until(f"the camera is {state}", so, limit_s)


def faulty_checkout(folder: Path) -> Path:
    """This checkout with a fault that only shows when the daemon starts."""
    for name in ("edge_runtime", "deploy", "requirements"):
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("Makefile", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    loop = folder / "edge_runtime" / "daemon" / "service.py"
    with loop.open("a", encoding="utf-8") as file:
        file.write('\nraise RuntimeError("a release with a fault")\n')
    return folder

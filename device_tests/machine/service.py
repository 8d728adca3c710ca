"""The daemon on the emulated board as its user sees it: systemctl, HTTP API, journal."""

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
from device_tests.machine.ssh import HOST, SshBoard
from edge_runtime.errors import BoardLostError

UNIT = "edge-runtime"
REQUEST = """\
import sys, urllib.request as r
q = r.Request("http://localhost:8080" + sys.argv[2], b"" if sys.argv[1] == "POST" else None)
print(r.urlopen(q, timeout=120).read().decode())
"""


def deploy(
    machine: SshBoard, bundle: Path, root: Path = ROOT, *, target: str = "rpi4", ready_s: int = 600
) -> subprocess.CompletedProcess[str]:
    """Run `make deploy` in the checkout `root`, by default with limits for an emulated board."""
    variables = {
        "SSH": machine.ssh,
        "BUNDLE": str(bundle),
        "BOARD_ENV": f"READY_S={ready_s}",
    }
    done = subprocess.run(
        ["make", "--no-print-directory", "deploy", f"TARGET={target}", f"HOST={HOST}"],
        cwd=root,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
    )
    done.returncode = {2: _exit_code(done.stderr)}.get(done.returncode, done.returncode)
    return done


def _exit_code(stderr: str) -> int:
    """Return the exit code of the recipe from make's message: "make: *** [...] Error 9"."""
    with contextlib.suppress(ValueError, IndexError):
        return int(stderr.rsplit("Error ", 1)[1].split()[0])
    return 2


def configure(machine: SshBoard, config: str) -> None:
    """Write the configuration file of the service."""
    text = config.replace("\n", "\\n")
    machine.run(
        "sudo mkdir -p /etc/edge-runtime && "
        f"printf '{text}' | sudo tee /etc/edge-runtime/edge.toml >/dev/null"
    )


def enroll_frame(machine: SshBoard, label: str) -> Any:
    """Enroll the current camera frame and return the answer of the API."""
    path = f"/api/labels/{label.replace(' ', '%20')}/frame"
    # Six views take seconds each. An API that runs into its time limit reports that; try again.
    return wait_until("enrolled", lambda: request(machine, path, "POST"), 900)


def request(machine: SshBoard, path: str, method: str = "GET") -> Any:
    """Return the answer of the API to a request from the board itself, or None."""
    done = machine.run(f"python3 -c '{REQUEST}' {method} '{path}'", check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def unit_properties(machine: SshBoard, *names: str) -> dict[str, str]:
    """Return properties of the systemd unit."""
    lines = machine.run(f"systemctl show {UNIT} -p {','.join(names)}").stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


def wait_until(what: str, condition: Callable[[], Any], limit_s: float) -> Any:
    """Wait for `condition` and return its value; raises `BoardLostError` after `limit_s`."""
    end_s = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > end_s:
            raise BoardLostError(f"timed out waiting: {what}", where=HOST)
        time.sleep(1)
    return value


def wait_until_recognized(
    machine: SshBoard, label: str | None, limit_s: float = 600
) -> dict[str, Any]:
    """Wait until the daemon recognizes `label` (None: nothing) and return its status."""

    def recognized() -> Any:
        status = request(machine, "/api/status")
        return status and status["ready"] and recognized_label(status) == label and status

    return dict(wait_until(f"{label or 'nothing'} is recognized", recognized, limit_s))


def recognized_label(status: dict[str, Any]) -> str | None:
    """Return the label that the first camera sees."""
    recognition = status["cameras"][0]["regions"][0]["recognition"]
    return recognition and str(recognition["label"])


def wait_until_camera(
    machine: SshBoard, state: str, restarts: int = 0, *, named: str = "", limit_s: float = 600
) -> Any:
    """Wait until the camera is in `state` after at least `restarts` restarts; return its status.

    `named`: the source that the camera must have.
    """

    def in_state() -> Any:
        status = request(machine, "/api/status")
        camera = status and status["cameras"][0]
        matches = camera and camera["state"] == state and camera["restarts"] >= restarts
        return matches and camera["source"] == (named or camera["source"]) and camera

    return wait_until(f"the camera is {state}", in_state, limit_s)


def faulty_checkout(folder: Path) -> Path:
    """Copy this checkout to `folder` and add a fault that shows only when the daemon starts."""
    for name in ("edge_runtime", "deploy", "mk", "requirements"):
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("Makefile", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    loop = folder / "edge_runtime" / "daemon" / "service.py"
    with loop.open("a", encoding="utf-8") as file:
        file.write('\nraise RuntimeError("a release with a fault")\n')
    return folder

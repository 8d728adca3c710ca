"""Runs inside the emulated machine as its only task: the daemon on a V4L2 camera of the kernel's.

The camera is `vivid`, the kernel's virtual video device: a real driver behind a real /dev/video
node, which can be unplugged by its own control and comes back under another number. What is done
and seen goes to the console, a line each; the last line is PASS or FAIL.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LINK = Path("/dev/v4l/by-id/usb-Virtual_Camera-video-index0")
"""What udev would make; there is no udev here, so `plug` does."""
VIDIOC_S_CTRL = 0xC008561C
DISCONNECT = 0x00F0F000 + 65
CONFIG = f"""\
gallery.path = "/tmp/g.sqlite"
output.format = "json"
[model]
threads = 4
[camera]
source = "{LINK}"
fps = 5
first_frame_s = 60
next_frame_s = 8
retry_longest_s = 2
retry_budget = 1000
[decision]
window = 3
"""
BEGAN_S = time.monotonic()


def say(text: str) -> None:
    """A line on the console, with the seconds since the start."""
    sys.stdout.write(f"[{time.monotonic() - BEGAN_S:7.1f}] {text}\n")
    sys.stdout.flush()


def plug(number: int) -> None:
    """Plug the camera in as /dev/video`number`."""
    run("modprobe", "vivid", "n_devs=1", "node_types=0x1", f"vid_cap_nr={number}", "no_error_inj=0")
    device = Path(f"/dev/video{number}")
    until(device.exists, 30)
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.unlink(missing_ok=True)
    LINK.symlink_to(device)
    say(f"plugged in: {device}")


def disconnect(number: int) -> None:
    """Tell the driver to behave as if its cable had been pulled."""
    node = os.open(f"/dev/video{number}", os.O_RDWR)
    try:
        fcntl.ioctl(node, VIDIOC_S_CTRL, struct.pack("Ii", DISCONNECT, 1))
    finally:
        os.close(node)
    say("the cable is pulled")


def unplug() -> None:
    """The device goes, with its node and its link."""
    LINK.unlink()

    def gone() -> bool:
        return subprocess.run(["rmmod", "vivid"], capture_output=True, check=False).returncode == 0

    until(gone, 60)
    say("the device is gone")


def run(*command: str) -> str:
    """Run a program; its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


def until(condition: Callable[[], Any], limit_s: float) -> Any:
    """Wait for `condition`; gives what it gave."""
    end_s = time.monotonic() + limit_s
    while not (found := condition()):
        if time.monotonic() > end_s:
            raise SystemExit("it never happened")
        time.sleep(0.1)
    return found


class Daemon:
    """The daemon and all that it has said."""

    def __init__(self) -> None:
        Path("/tmp/edge.toml").write_text(CONFIG)
        self.events: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.child = subprocess.Popen(
            [sys.executable, "-m", "edge_runtime", "run", "--config", "/tmp/edge.toml"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._threads = [threading.Thread(target=self._events), threading.Thread(target=self._talk)]
        for thread in self._threads:
            thread.start()

    def _events(self) -> None:
        assert self.child.stdout
        for line in self.child.stdout:
            say(f"event: {line.strip()[:300]}")
            self.events.append(json.loads(line))

    def _talk(self) -> None:
        assert self.child.stderr
        for line in self.child.stderr:
            say(line.strip())
            self.said.append(line)

    def until_state(self, state: str, times: int, limit_s: float = 180) -> None:
        """Wait until it has entered `state` so many times."""
        until(lambda: sum(f": {state} after" in line for line in self.said) >= times, limit_s)

    def end(self) -> None:
        """SIGTERM, and a clean end."""
        began_s = time.monotonic()
        self.child.send_signal(signal.SIGTERM)
        code = self.child.wait(60)
        for thread in self._threads:
            thread.join()
        say(f"ended with exit code {code} in {time.monotonic() - began_s:.1f} s (emulated)")
        if code:
            raise SystemExit("not a clean end")


def main() -> None:
    """All of it, in order."""
    machine = Path("/proc/device-tree/model")
    say(f"machine: {machine.read_text() if machine.exists() else 'virt'}, {os.uname().release}")
    plug(0)
    command = [sys.executable, "-m", "edge_runtime"]
    say(
        run(*command, "doctor", "--gallery", "/tmp/none.sqlite", "--camera", "0")
        if "--doctor" in sys.argv
        else "enrolling what the camera sees"
    )
    gallery = ("--gallery", "/tmp/g.sqlite")
    run(
        *command,
        "enroll",
        *gallery,
        "--label",
        "test card",
        "--camera",
        "0",
        "--count",
        "1",
        "--no-views",
        "--threads",
        "4",
    )
    say("enrolled")
    daemon = Daemon()
    try:
        until(lambda: [e for e in daemon.events if e.get("label") == "test card"], 240)
        say("RECOGNISED the enrolled scene")
        disconnect(0)
        daemon.until_state("DEGRADED", 1)
        daemon.until_state("RUNNING", 2)
        say("SURVIVED a pulled cable")
        disconnect(0)
        unplug()
        daemon.until_state("DEGRADED", 2)
        time.sleep(3)
        plug(2)
        daemon.until_state("RUNNING", 3)
        say("SURVIVED an unplug, and a return under another number")
        daemon.end()
        say("PASS")
    finally:
        if daemon.child.poll() is None:
            daemon.child.kill()


if __name__ == "__main__":
    try:
        main()
    except SystemExit as error:
        say(f"FAIL: {error}")

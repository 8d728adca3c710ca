"""Runs on the board for as long as a test does, and cleans up after it, however it ends.

    python3 -c SOURCE keep RUN SILENCE_S      python3 -c SOURCE sweep

`keep` makes one folder, says in one line of JSON what the board is, and waits: while somebody at
the other end of its standard input says something now and then, all is well. When that ends or
falls silent (Ctrl-C, a killed pytest, a broken line), it ends every process of the run and removes
the folder. The folder's lease is a lock, which ends with this process: what a power cut or kill -9
has left behind has no owner, and the next run, or `sweep`, takes it away. Nothing outside `HOME` is
touched, and only folders of that shape in it. Standard library alone; any Python from 3.8 on.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import select
import shutil
import signal
import sys
import time
from pathlib import Path

HOME = Path.home() / ".edge-runtime-device-test"
MARK = "EDGE_DEVICE_TEST"
"""A variable that every process of a run carries."""
PREFIX = "run-"
LEASE = "lease"


def keep(run: str, silence_s: float) -> None:
    """Hold the folder of `run` until the other end falls silent."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))
    swept = sweep()
    folder = HOME / (PREFIX + run)
    folder.mkdir(parents=True, mode=0o700)
    try:
        with (folder / LEASE).open("w") as lease:
            fcntl.flock(lease, fcntl.LOCK_EX)
            (folder / "tmp").mkdir()
            sys.stdout.write(json.dumps({**about(folder), "swept": swept}) + "\n")
            sys.stdout.flush()
            while select.select([0], [], [], silence_s)[0] and os.read(0, 4096):
                pass
    finally:
        remove(folder)
        with contextlib.suppress(OSError):  # something is kept there, or somebody else is at work
            HOME.rmdir()


def sweep() -> list[str]:
    """Remove what runs without an owner left; their names."""
    swept = []
    for folder in sorted(HOME.glob(PREFIX + "*")):
        try:
            lease = (folder / LEASE).open("a")
        except OSError:  # only just being made, or removed
            continue
        with lease:
            try:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            remove(folder)
            swept.append(folder.name)
    return swept


def remove(folder: Path) -> None:
    """A run's processes and its folder."""
    run = folder.name[len(PREFIX) :]
    for number, wait_s in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)):
        end_s = time.monotonic() + wait_s
        for process in processes(run):
            with contextlib.suppress(OSError):
                os.kill(process, number)
        while processes(run) and time.monotonic() < end_s:
            time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


def processes(run: str) -> list[int]:
    """All that carry the mark of `run`."""
    mark, found = f"{MARK}={run}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # ended meanwhile, or somebody else's
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def about(folder: Path) -> dict[str, object]:
    """What the board is."""
    lines = [line.partition(":") for line in _read("/proc/cpuinfo").splitlines()]
    entries = {name.strip(): value.strip() for name, _, value in lines}
    model = _read("/proc/device-tree/model") or _read("/sys/class/dmi/id/product_name")
    return {
        "folder": str(folder),
        "boot": _read("/proc/sys/kernel/random/boot_id").strip(),
        "free_bytes": shutil.disk_usage(folder).free,
        "model": model.strip("\0\n ") or entries.get("model name", "unknown"),
        "machine": platform.machine(),
        "emulated": _emulated(),
        "features": (entries.get("Features") or entries.get("flags") or "").split(),
        "cores": os.cpu_count() or 1,
        "system": platform.platform(),
        "python": platform.python_version(),
        "cameras": [
            str(node)
            for node in sorted(Path("/dev").glob("video*"))
            if os.access(node, os.R_OK | os.W_OK)
        ],
    }


def _emulated() -> bool:
    """Whether an emulator runs the whole machine: its firmware says so."""
    says = _read("/proc/device-tree/compatible"), _read("/sys/class/dmi/id/sys_vendor")
    return platform.machine() == "aarch64" and ("dummy-virt" in says[0] or "QEMU" in says[1])


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    if sys.argv[1] == "keep":
        keep(sys.argv[2], float(sys.argv[3]))
    else:
        sweep()

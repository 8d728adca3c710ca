"""Runs on the board for the duration of a test run and cleans up after it, however it ends.

    python3 -c SOURCE hold RUN SILENCE_S      python3 -c SOURCE sweep

`hold` creates a folder for the run, prints one line of JSON that describes the board, and then
reads from its standard input. When the input ends, or stays silent for SILENCE_S seconds (Ctrl-C,
a killed pytest, a broken connection), it ends every process of the run and removes the folder.

The lease on the folder is a file lock, which the kernel releases when this process ends. A folder
left by a power cut or kill -9 therefore has no owner, and the next run, or `sweep`, removes it.
Only folders of this name pattern below `HOME` are touched. The script needs nothing but the
standard library of Python 3.8 or newer.
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
"""Environment variable that identifies every process of a run."""
PREFIX = "run-"
LEASE = "lease"


def hold(run: str, silence_s: float) -> None:
    """Hold the folder of `run` until the other end closes the input or falls silent."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))
    swept = sweep()
    folder = HOME / (PREFIX + run)
    folder.mkdir(parents=True, mode=0o700)
    try:
        with (folder / LEASE).open("w") as lease:
            fcntl.flock(lease, fcntl.LOCK_EX)
            (folder / "tmp").mkdir()
            sys.stdout.write(json.dumps({**describe(folder), "swept": swept}) + "\n")
            sys.stdout.flush()
            while select.select([0], [], [], silence_s)[0] and os.read(0, 4096):
                pass
    finally:
        remove(folder)
        with contextlib.suppress(OSError):  # installed packages remain, or another run is active
            HOME.rmdir()


def sweep() -> list[str]:
    """Remove the folders of runs that have no owner any more and return their names."""
    swept = []
    for folder in sorted(HOME.glob(PREFIX + "*")):
        try:
            lease = (folder / LEASE).open("a")
        except OSError:  # being created or removed by another process
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
    """End the processes of a run and remove its folder."""
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
    """Return the ids of all processes that carry the mark of `run`."""
    mark, ids = f"{MARK}={run}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # the process has ended or belongs to another user
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    ids.append(int(entry.name))
    return ids


def describe(folder: Path) -> dict[str, object]:
    """Return the facts about the board that the workstation needs."""
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
    """Return whether the firmware shows that the whole machine is emulated."""
    compatible = _read("/proc/device-tree/compatible")
    vendor = _read("/sys/class/dmi/id/sys_vendor")
    return platform.machine() == "aarch64" and ("dummy-virt" in compatible or "QEMU" in vendor)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        hold(sys.argv[2], float(sys.argv[3]))
    else:
        sweep()

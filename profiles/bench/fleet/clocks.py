"""Dates that differ between the processes of one machine, and that jump while they run.

A time namespace of Linux moves only the monotonic clocks. A preloaded library, skewed_clock.c,
moves the date that the C library gives to one process: to Python, SQLite and mosquitto.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("skewed_clock.c")
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
_OFFSET = struct.Struct("=q")


class Clock:
    """The date of one process and of those that replace it."""

    def __init__(self, library: Path | None, file: Path) -> None:
        """`library` is what `build_library` made; None leaves the date alone."""
        self.environment: dict[str, str] = {}
        self.offset_s = 0.0
        self._offset: mmap.mmap | None = None
        if library is not None:
            file.write_bytes(_OFFSET.pack(0))
            with file.open("r+b") as opened:
                self._offset = mmap.mmap(opened.fileno(), _OFFSET.size)
            self.environment = {"LD_PRELOAD": str(library), "SKEWED_CLOCK": str(file)}

    def set(self, offset_s: float) -> None:
        """Let the process see a date that is `offset_s` seconds later than it is; at once."""
        if self._offset is not None:
            self.offset_s = offset_s
            self._offset[:] = _OFFSET.pack(round(offset_s * 1e9))


def build_library(folder: Path) -> tuple[Path | None, str]:
    """Compile the library into `folder`, and see whether it works here.

    Returns its path and an empty text, or None and the reason.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        return None, "no C compiler"
    library = folder / "skewed_clock.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        return None, f"the compiler failed: {done.stderr[-200:].strip()}"
    clock = Clock(library, folder / "probe.clock")
    clock.set(-400 * DAY_S)
    ask = "import time; print(int(time.time()), end='')"
    asked = [
        subprocess.run(
            [sys.executable, "-c", ask], env=environment, capture_output=True, check=False
        ).stdout
        for environment in (clock.environment, {})
    ]
    moved_s = int(asked[0] or 0) - int(asked[1] or 0)
    if abs(moved_s + 400 * DAY_S) > HOUR_S:
        return None, "a preloaded library does not move the clock here"
    return library, ""

"""How much memory this process takes, bytes."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

import psutil


def rss_bytes() -> int:
    """Resident set size now."""
    return int(psutil.Process().memory_info().rss)


def uss_bytes() -> int:
    """Unique set size now: what ending this process would free."""
    return int(psutil.Process().memory_full_info().uss)


def peak_rss_bytes() -> int:
    """The largest resident set size since the program started.

    Linux says it in /proc; getrusage begins with what the parent had when it forked.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
        peak = int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return max(peak, rss_bytes())  # the kernel brings its peak up to date only now and then


def release_unused() -> None:
    """Give memory that was freed back to the system, where the C library can.

    ONNX Runtime parses a model into copies that it frees again, and glibc would keep them.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

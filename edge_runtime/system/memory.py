"""Memory use of this process in bytes."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

import psutil


def rss_bytes() -> int:
    """Return the current resident set size, or the largest one without a free descriptor."""
    try:
        return int(psutil.Process().memory_info().rss)
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def uss_bytes() -> int:
    """Return the current unique set size: the memory that ending the process would free."""
    return int(psutil.Process().memory_full_info().uss)


def peak_rss_bytes() -> int:
    """Return the largest resident set size since the program started.

    Linux reports it in /proc. getrusage starts with the parent's size at the fork.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
        peak = int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return max(peak, rss_bytes())  # the kernel updates its peak only occasionally


def release_unused() -> None:
    """Return freed memory to the system, if the C library supports it.

    ONNX Runtime parses a model into copies and frees them again. glibc would retain that memory.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

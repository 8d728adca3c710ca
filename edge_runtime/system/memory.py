"""Memory use of this process in bytes."""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path

import psutil

_ARENA_MAX = -8
"""M_ARENA_MAX of glibc's mallopt."""


def rss_bytes() -> int:
    """Return the current resident set size; the largest one without /proc or a free descriptor."""
    try:
        return int(psutil.Process().memory_info().rss)
    except (OSError, psutil.Error):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def total_bytes() -> int:
    """Return the memory of the machine."""
    try:
        return int(psutil.virtual_memory().total)
    except OSError:  # no /proc
        return _pages("SC_PHYS_PAGES")


def available_bytes() -> int:
    """Return the memory that programs can take without swapping."""
    try:
        return int(psutil.virtual_memory().available)
    except OSError:  # no /proc
        return _pages("SC_AVPHYS_PAGES")


def _pages(name: str) -> int:
    return max(0, os.sysconf(name)) * resource.getpagesize()


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


def share_heap() -> None:
    """Let all threads allocate from one heap, if the C library is glibc; call it before they start.

    glibc gives threads heaps of their own. A picture that one thread allocates and another one
    frees stays in the first one's heap, so with many threads the memory grows for minutes.
    """
    setting = getattr(ctypes.CDLL(None), "mallopt", None)
    if setting is not None:
        setting(_ARENA_MAX, 1)

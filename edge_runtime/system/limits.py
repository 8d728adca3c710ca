"""Hard limits on the memory and the CPU time of this process, for children that decode files."""

from __future__ import annotations

import resource
from pathlib import Path


def limit_memory(more: int) -> None:
    """Limit the address space of this process to `more` bytes beyond the present use."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + more)


def limit_cpu(seconds: int) -> None:
    """Limit the CPU time of this process to `seconds` beyond the present use."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime) + seconds + 1)


def _lower(limit: int, value: int) -> None:
    hard = resource.getrlimit(limit)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, hard))

"""What this CPU is and can do. Light: an engine asks before it loads anything."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

_HWCAPS = {
    0: "fp", 1: "asimd", 3: "aes", 4: "pmull", 5: "sha1", 6: "sha2", 7: "crc32", 8: "atomics",
    9: "fphp", 10: "asimdhp", 12: "asimdrdm", 15: "lrcpc", 20: "asimddp", 23: "asimdfhm",
}  # fmt: skip
"""Bits of the auxiliary vector's AT_HWCAP on aarch64 (Linux, asm/hwcap.h)."""


def cpu_features() -> frozenset[str]:
    """What this CPU can do, in the words of /proc/cpuinfo.

    On ARM the kernel's own answer, AT_HWCAP: an emulated process sees there what its CPU can do,
    but in /proc/cpuinfo the CPU that it is emulated on.
    """
    if platform.machine() == "aarch64":
        getauxval = ctypes.CDLL(None).getauxval
        getauxval.restype, getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
        bits = getauxval(16)
        return frozenset(name for bit, name in _HWCAPS.items() if bits >> bit & 1)
    return frozenset(cpuinfo().get("flags", "").split())


def cpuinfo() -> dict[str, str]:
    """/proc/cpuinfo of the last core; empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}

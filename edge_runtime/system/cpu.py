"""CPU identification and features. Imports little: engines use it before loading anything."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

_HWCAPS = {
    0: "fp", 1: "asimd", 3: "aes", 4: "pmull", 5: "sha1", 6: "sha2", 7: "crc32", 8: "atomics",
    9: "fphp", 10: "asimdhp", 12: "asimdrdm", 15: "lrcpc", 20: "asimddp", 23: "asimdfhm",
}  # fmt: skip
"""Bits of AT_HWCAP in the auxiliary vector on aarch64 (Linux, asm/hwcap.h)."""


def cpu_features() -> frozenset[str]:
    """Return the features of this CPU, named as in /proc/cpuinfo.

    On ARM they come from the kernel's AT_HWCAP. In an emulated process, AT_HWCAP describes the
    emulated CPU, while /proc/cpuinfo describes the host.
    """
    if platform.machine() == "aarch64":
        getauxval = ctypes.CDLL(None).getauxval
        getauxval.restype, getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
        bits = getauxval(16)
        return frozenset(name for bit, name in _HWCAPS.items() if bits >> bit & 1)
    return frozenset(cpuinfo().get("flags", "").split())


def cpuinfo() -> dict[str, str]:
    """Return /proc/cpuinfo of the last core; empty if it cannot be read."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}

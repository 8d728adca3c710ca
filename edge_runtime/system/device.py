"""What this machine is: read from the system, never changed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from edge_runtime.system.cpu import cpuinfo

_THROTTLE_BITS = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
    16: "under-voltage has occurred",
    17: "frequency capping has occurred",
    18: "throttling has occurred",
    19: "soft temperature limit has occurred",
}


@dataclass(frozen=True)
class Device:
    """A machine as a report names it. None: this machine does not say."""

    model: str | None
    soc: str | None
    """The chip, as the device tree names it: brcm,bcm2711."""
    machine: str
    """Architecture: x86_64, aarch64."""
    cpu: str | None
    cores: int
    memory_bytes: int
    system: str
    python: str
    governor: str | None
    temperature_c: float | None
    throttling: list[str] | None
    """What a Raspberry Pi's firmware reports; empty: nothing, None: no such firmware."""
    emulated: bool
    """True: an emulator runs this process, so that its times mean nothing."""


def read_device() -> Device:
    """The machine as it is now."""
    return Device(
        model=_read("/proc/device-tree/model") or _read("/sys/class/dmi/id/product_name"),
        soc=(_read("/proc/device-tree/compatible") or "").split("\0")[-1] or None,
        machine=platform.machine(),
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        memory_bytes=int(psutil.virtual_memory().total),
        system=platform.platform(),
        python=platform.python_version(),
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        temperature_c=temperature_c(),
        throttling=throttling(),
        emulated=_emulated(),
    )


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def _cpu_name() -> str | None:
    info = cpuinfo()
    if "CPU part" in info:
        return f"ARM implementer {info.get('CPU implementer')} part {info['CPU part']}"
    return info.get("model name")


def _emulated() -> bool:
    """Whether an emulator runs this process, or the whole machine.

    In user mode QEMU answers for /proc/self/exe, but not for the same file under another name; the
    kernel's own answer there is the emulator. A machine that QEMU emulates says so in its firmware.
    """
    try:
        if "qemu" in Path("/proc/thread-self/exe").readlink().name:
            return True
    except OSError:
        pass
    if platform.machine() != "aarch64":
        return False
    names = (_read("/proc/device-tree/compatible"), _read("/sys/class/dmi/id/sys_vendor"))
    return any("dummy-virt" in name or "QEMU" in name for name in names if name) or (
        "CPU part" not in cpuinfo()
    )


def temperature_c() -> float | None:
    """Degrees Celsius of the hottest thermal zone."""
    zones = [
        float(text) / 1000
        for zone in Path("/sys/class/thermal").glob("thermal_zone*/temp")
        if (text := _read(str(zone))) and text.lstrip("-").isdecimal()
    ]
    return max(zones, default=None)


def clock_mhz() -> tuple[float | None, float | None]:
    """The cores' clock now, and the highest that the kernel may choose."""
    try:
        clock = psutil.cpu_freq()
    except (OSError, ValueError, NotImplementedError):  # a kernel that tells only half of it
        return None, None
    return (clock.current or None, clock.max or None) if clock else (None, None)


def throttling() -> list[str] | None:
    """What a Raspberry Pi's firmware reports, now and since boot; None: no such firmware."""
    tool = shutil.which("vcgencmd")
    if not tool:
        return None
    try:
        output = subprocess.run(
            [tool, "get_throttled"], capture_output=True, text=True, timeout=5, check=True
        ).stdout
        word = int(output.partition("=")[2], 16)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return [meaning for bit, meaning in _THROTTLE_BITS.items() if word >> bit & 1]

"""Properties of this machine, read from the system. Nothing is changed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from edge_runtime.system.cpu import cpuinfo
from edge_runtime.system.memory import total_bytes

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
    """The machine as described in reports. None marks values that the machine does not provide."""

    model: str | None
    soc: str | None
    """The chip, as named in the device tree, such as brcm,bcm2711."""
    machine: str
    """Architecture, such as x86_64 or aarch64."""
    cpu: str | None
    cores: int
    memory_bytes: int
    system: str
    python: str
    governor: str | None
    temperature_c: float | None
    throttling: list[str] | None
    """Conditions reported by a Raspberry Pi's firmware; None on other machines."""
    emulated: bool
    """Whether an emulator runs this process; measured times are then meaningless."""


def read_device() -> Device:
    """Return the current state of the machine."""
    return Device(
        model=_read("/proc/device-tree/model") or _read("/sys/class/dmi/id/product_name"),
        soc=(_read("/proc/device-tree/compatible") or "").split("\0")[-1] or None,
        machine=platform.machine(),
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        memory_bytes=total_bytes(),
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
    """Return whether an emulator runs this process or the whole machine.

    In user mode, QEMU intercepts /proc/self/exe but not /proc/thread-self/exe, which names the
    emulator. A machine emulated by QEMU is identified by its firmware.
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
    """Return the temperature of the hottest thermal zone in degrees Celsius, or None."""
    zones = [
        float(text) / 1000
        for zone in Path("/sys/class/thermal").glob("thermal_zone*/temp")
        if (text := _read(str(zone))) and text.lstrip("-").isdecimal()
    ]
    return max(zones, default=None)


def clock_mhz() -> tuple[float | None, float | None]:
    """Return the current clock and the highest clock that the kernel may select, MHz."""
    try:
        clock = psutil.cpu_freq()
    except (OSError, ValueError, NotImplementedError):  # a kernel that reports only some values
        return None, None
    return (clock.current or None, clock.max or None) if clock else (None, None)


def throttling() -> list[str] | None:
    """Return a Raspberry Pi's throttling conditions, current and since boot; None elsewhere."""
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

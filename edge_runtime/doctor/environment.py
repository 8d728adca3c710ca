"""Findings about what surrounds the program: heat, power, clock, and the cameras' permissions."""

from __future__ import annotations

import ctypes
import grp
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.system.device import Device

HOT_C = 75.0
BUILT_S = 1_760_000_000
"""Seconds since 1970 when this was written (October 2025): no clock can be earlier."""
CONTROLLERS = Path("/sys/fs/cgroup/cgroup.controllers")
_TIME_ERROR = 5
"""What adjtimex(2) answers while the clock is not synchronised."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    status: str
    """"ok", "warn" (it works, with a drawback) or "fail"."""
    detail: str
    remedy: str = ""


def climate(device: Device) -> Iterator[Finding]:
    """Governor, temperature and throttling, where the machine tells."""
    if device.governor is not None:
        steady = device.governor == "performance"
        yield Finding(
            "governor",
            "ok" if steady else "warn",
            device.governor,
            ""
            if steady
            else "for steady latency: echo performance | sudo tee "
            "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        )
    if device.temperature_c is not None:
        hot = device.temperature_c >= HOT_C
        yield Finding(
            "temperature",
            "warn" if hot else "ok",
            f"{device.temperature_c:.0f} C",
            "add a heat sink or a fan" if hot else "",
        )
    if device.throttling is not None:
        yield Finding(
            "throttling",
            "warn" if device.throttling else "ok",
            ", ".join(device.throttling) or "none since boot",
            "use the board's own power supply, and cool it" if device.throttling else "",
        )


def memory_limit(controllers: Path = CONTROLLERS) -> Iterator[Finding]:
    """Whether `MemoryMax` of a service is enforced: Raspberry Pi OS starts its kernel without."""
    try:
        known = controllers.read_text(encoding="utf-8").split()
    except OSError:  # no control groups, or not where systemd has them
        return
    if known and "memory" not in known:
        yield Finding(
            "memory limit",
            "warn",
            "this kernel does not limit memory: the service's MemoryMax has no effect",
            "append cgroup_enable=memory to the line in /boot/firmware/cmdline.txt, and reboot",
        )


def clock(now_s: float | None = None, synchronised: bool | None = None) -> Finding:
    """Whether the time of events can be believed. A Raspberry Pi has no clock that runs on."""
    now_s = time.time() if now_s is None else now_s
    synchronised = _synchronised() if synchronised is None else synchronised
    text = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now_s))
    if now_s < BUILT_S:
        return Finding(
            "clock", "fail", f"{text} is long past", "set it: sudo timedatectl set-ntp on"
        )
    if not synchronised:
        return Finding(
            "clock",
            "warn",
            f"{text}, not synchronised",
            "sudo timedatectl set-ntp on, or add an RTC",
        )
    return Finding("clock", "ok", f"{text}, synchronised")


def _synchronised() -> bool:
    library = ctypes.CDLL(None, use_errno=True)
    return bool(library.adjtimex(ctypes.create_string_buffer(512)) not in (_TIME_ERROR, -1))


def cameras(devices: Path = Path("/dev")) -> Iterator[Finding]:
    """The V4L2 devices that are there, and whether we may use them."""
    nodes = sorted(devices.glob("video*"))
    barred = [node.name for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if barred:
        yield Finding(
            "permissions",
            "fail",
            f"may not use {', '.join(barred)}: not in the group {_owner(devices / barred[0])}",
            f"sudo usermod -aG {_owner(devices / barred[0])} $USER, then log in anew",
        )
    program = shutil.which("rpicam-vid") or shutil.which("libcamera-vid")
    names = [node.name for node in nodes] + ([Path(program).name] if program else [])
    yield Finding(
        "cameras",
        "ok" if names else "warn",
        ", ".join(names) or "no V4L2 device and no rpicam-vid",
        "" if names else "plug one in, use a network camera, or sudo apt install rpicam-apps-lite",
    )


def _owner(node: Path) -> str:
    try:
        return grp.getgrgid(node.stat().st_gid).gr_name
    except (OSError, KeyError):
        return "video"

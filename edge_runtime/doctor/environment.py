"""Checks of the environment: temperature, memory limit, keys, clock and cameras."""

from __future__ import annotations

import ctypes
import grp
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import TrustStoreError
from edge_runtime.system.device import Device
from edge_runtime.trust.store import installed_keys

HOT_C = 75.0
BUILT_S = 1_760_000_000
"""October 2025, when this was written, in seconds since 1970. An earlier clock is wrong."""
CONTROLLERS = Path("/sys/fs/cgroup/cgroup.controllers")
_TIME_ERROR = 5
"""Return value of adjtimex(2) while the clock is not synchronized (TIME_ERROR)."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    status: str
    """"ok", "warn" (works, with a drawback) or "fail"."""
    detail: str
    remedy: str = ""


def thermal(device: Device) -> Iterator[Finding]:
    """Check governor, temperature and throttling, as far as the machine reports them."""
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
            "use the board's own power supply, and cool the board" if device.throttling else "",
        )


def memory_limit(controllers: Path = CONTROLLERS) -> Iterator[Finding]:
    """Check that `MemoryMax` of a service is enforced; by default Raspberry Pi OS disables it."""
    try:
        known = controllers.read_text(encoding="utf-8").split()
    except OSError:  # no control groups, or not at the path that systemd uses
        return
    if known and "memory" not in known:
        yield Finding(
            "memory limit",
            "warn",
            "this kernel does not limit memory: the service's MemoryMax has no effect",
            "append cgroup_enable=memory to the line in /boot/firmware/cmdline.txt, and reboot",
        )


def signatures() -> Finding:
    """Say whether models need a signature, and by which keys."""
    try:
        store = installed_keys()
    except TrustStoreError as error:
        return Finding("signatures", "fail", f"{error.where}: {error.what}", error.remedy)
    if store is None:
        return Finding("signatures", "ok", "not required: no key is installed")
    if not shutil.which("ssh-keygen"):
        return Finding(
            "signatures",
            "fail",
            "required, but ssh-keygen is missing",
            "sudo apt install openssh-client",
        )
    valid = [key for key in store.keys if key.fingerprint not in store.revoked_keys]
    detail = ", ".join(f"{key.name} {key.fingerprint[:15]}" for key in valid)
    if revoked := len(store.revoked_keys):
        detail += f"; {revoked} revoked"
    if not valid:
        return Finding(
            "signatures",
            "fail",
            "required, but no key is trusted",
            f"add your key to {store.path}",
        )
    return Finding("signatures", "ok", f"required, by {detail}")


def clock(now_s: float | None = None, synchronized: bool | None = None) -> Finding:
    """Check the clock, on which the times of events depend.

    A Raspberry Pi has no battery-backed clock.
    """
    now_s = time.time() if now_s is None else now_s
    synchronized = _synchronized() if synchronized is None else synchronized
    text = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now_s))
    if now_s < BUILT_S:
        return Finding(
            "clock", "fail", f"{text} is in the past", "set it: sudo timedatectl set-ntp on"
        )
    if not synchronized:
        return Finding(
            "clock",
            "warn",
            f"{text}, not synchronized",
            "sudo timedatectl set-ntp on, or add a real-time clock",
        )
    return Finding("clock", "ok", f"{text}, synchronized")


def _synchronized() -> bool:
    library = ctypes.CDLL(None, use_errno=True)
    return bool(library.adjtimex(ctypes.create_string_buffer(512)) not in (_TIME_ERROR, -1))


def cameras(devices: Path = Path("/dev")) -> Iterator[Finding]:
    """List the V4L2 devices, and check that this user may open them."""
    nodes = sorted(devices.glob("video*"))
    denied = [node.name for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if denied:
        yield Finding(
            "permissions",
            "fail",
            f"no access to {', '.join(denied)}: not in the group {_owner(devices / denied[0])}",
            f"sudo usermod -aG {_owner(devices / denied[0])} $USER, then log in again",
        )
    program = shutil.which("rpicam-vid") or shutil.which("libcamera-vid")
    names = [node.name for node in nodes] + ([Path(program).name] if program else [])
    yield Finding(
        "cameras",
        "ok" if names else "warn",
        ", ".join(names) or "no V4L2 device and no rpicam-vid",
        "" if names else "connect one, use a network camera, or sudo apt install rpicam-apps-lite",
    )


def _owner(node: Path) -> str:
    try:
        return grp.getgrgid(node.stat().st_gid).gr_name
    except (OSError, KeyError):
        return "video"

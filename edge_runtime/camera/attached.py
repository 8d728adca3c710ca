"""Which cameras are attached to this board."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import struct
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.camera.pipe import PROGRAMS

DEVICES = Path("/dev")
CLASS = Path("/sys/class/video4linux")
LIST_S = 5.0
"""Limit for the program that lists CSI cameras."""
_QUERY_CAPABILITIES = 0x80685600
"""VIDIOC_QUERYCAP, see linux/videodev2.h."""
_CAPABILITIES = struct.Struct("16s32s32sIII12x")
_CAPTURES = 0x00000001 | 0x00001000
"""V4L2_CAP_VIDEO_CAPTURE and its variant with several planes."""
_TRANSFORMS = 0x00008000 | 0x00004000
"""V4L2_CAP_VIDEO_M2M and its variant: an encoder, not a camera."""
_HAS_DEVICE_CAPABILITIES = 0x80000000
_CSI_LINE = re.compile(r"(\d) : (\S+)(?: \[(\d+x\d+)[^\]]*\])?")


@dataclass(frozen=True)
class AttachedCamera:
    """One camera of this board."""

    source: str
    """For `camera.source`; the persistent name of a USB camera, if it has one."""
    name: str
    """As the hardware calls itself."""
    fault: str = ""
    """Why it cannot be used; empty if nothing is known."""


def attached_cameras() -> list[AttachedCamera]:
    """Return the CSI cameras, if rpicam is installed, and the V4L2 cameras.

    Takes up to `LIST_S`.
    """
    return [*_csi_cameras(), *_v4l2_cameras()]


def _v4l2_cameras() -> list[AttachedCamera]:
    names: dict[Path, str] = {}
    for folder in ("by-path", "by-id"):  # the second is better: it survives another connector
        with suppress(OSError):
            links = sorted((DEVICES / "v4l" / folder).iterdir())
            names |= {link.resolve(): str(link) for link in reversed(links)}
    found = []
    with suppress(OSError):
        nodes = [each.name for each in CLASS.iterdir() if re.fullmatch(r"video\d+", each.name)]
        for node in sorted(nodes, key=lambda name: int(name[5:])):
            path = DEVICES / node
            fault = _fault_of(path)
            if fault is not None:
                source = names.get(path.resolve(), str(path))
                found.append(AttachedCamera(source, _name_of(node), fault))
    return found


def _name_of(node: str) -> str:
    try:
        text = (CLASS / node / "name").read_text(errors="replace")
    except OSError:
        return node
    return "".join(each for each in text if each.isprintable())[:64].strip() or node


def _fault_of(path: Path) -> str | None:
    """Return what is wrong with a camera, or ""; None for any other device."""
    try:
        device = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        return "permission denied: sudo usermod -aG video $USER, then log in again"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    try:
        answer = fcntl.ioctl(device, _QUERY_CAPABILITIES, bytes(_CAPABILITIES.size))
    except OSError:
        return None
    finally:
        os.close(device)
    *_, everything, own = _CAPABILITIES.unpack(answer)
    capabilities = own if everything & _HAS_DEVICE_CAPABILITIES else everything
    return "" if capabilities & _CAPTURES and not capabilities & _TRANSFORMS else None


def _csi_cameras() -> list[AttachedCamera]:
    """Ask `rpicam-hello`, which opens no camera."""
    if not any(map(shutil.which, PROGRAMS)):
        return []
    names = [program.replace("-vid", "-hello") for program in PROGRAMS]
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        return [AttachedCamera("rpicam", "CSI camera")]
    try:
        listed = subprocess.run(
            [program, "--list-cameras"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIST_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return [AttachedCamera("rpicam", "CSI camera", f"{program} does not answer")]
    except OSError as error:
        return [AttachedCamera("rpicam", "CSI camera", (error.strerror or str(error)).lower())]
    matches = (_CSI_LINE.match(line) for line in (listed.stdout + listed.stderr).splitlines())
    return [
        AttachedCamera(f"rpicam:{each[1]}", f"{each[2]} ({each[3]})" if each[3] else each[2])
        for each in matches
        if each
    ]

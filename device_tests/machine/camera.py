"""The emulated board's cameras: `vivid`, the kernel's virtual video device, and a USB webcam.

The first is a real driver behind a real /dev/video node. A control of the driver unplugs it, and it
can return under another number. The second is driven by `uvcvideo`, as any webcam is.
"""

from __future__ import annotations

import shlex

from device_tests.machine.qemu import WORKSTATION, Machine
from device_tests.machine.usbip import BUS_ID, Port
from device_tests.machine.webcam import LINK

PULL = """\
import fcntl, os, struct
VIDIOC_S_CTRL, DISCONNECT = 0xC008561C, 0x00F0F000 + 65
fcntl.ioctl(os.open("/dev/video%d", os.O_RDWR), VIDIOC_S_CTRL, struct.pack("Ii", DISCONNECT, 1))
"""


def plug(machine: Machine, number: int) -> None:
    """Plug in the virtual camera as /dev/video`number`."""
    options = f"n_devs=1 node_types=0x1 vid_cap_nr={number} no_error_inj=0"
    machine.run(f"sudo modprobe vivid {options} && sudo udevadm settle && ls /dev/video{number}")


def pull_cable(machine: Machine, number: int) -> None:
    """Make the driver behave as if the cable had been pulled. Opening the device again works."""
    machine.run(f"sudo python3 -c {shlex.quote(PULL % number)}")


def forget_drivers(machine: Machine) -> None:
    """Unload all camera drivers, as on a board that has never had a camera."""
    modules = "lsmod | cut -d' ' -f1 | grep -E '^(vivid|video|v4l2|mc$|cec)'"
    once = f"for m in $({modules}); do sudo rmmod $m 2>/dev/null; done"
    machine.run(f"for i in 1 2 3 4 5 6; do {once}; done; ! grep -q video4linux /proc/devices")


def unplug(machine: Machine) -> None:
    """Remove the device with its node and link as soon as no process has it open."""
    machine.run(
        "for i in $(seq 600); do sudo rmmod vivid 2>/dev/null && exit; sleep 0.1; done; exit 1"
    )


def plug_usb(machine: Machine, port: Port) -> None:
    """Plug in the webcam at `port` and wait for its persistent name."""
    attach = f"sudo usbip --tcp-port {port.number} attach --remote {WORKSTATION} --busid {BUS_ID}"
    wait_for_link = f"for i in $(seq 600); do [ -e {LINK} ] && exit; sleep 0.1; done; exit 1"
    machine.run(
        f"sudo modprobe -a vhci_hcd uvcvideo && {attach} && ({wait_for_link}); ls -l {LINK}"
    )

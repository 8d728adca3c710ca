"""Create the emulated board's disk: unpacked Debian packages and a minimal configuration.

Running the set-up scripts of every package would take half an hour under emulation. Only users,
login, network and time zone matter here; systemd does the rest at first boot.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from compile.emulation.userland import Userland
from compile.target.toolchain import run
from device_tests.machine.initrd import copy_modules, write_initrd
from edge_runtime.errors import ToolchainError

RELEASE = "trixie"
"""The Debian release that Raspberry Pi OS has been based on since 2025."""
PACKAGES = (
    *("?essential", "linux-image-arm64", "busybox-static", "kmod", "udev", "systemd-sysv", "dbus"),
    *("openssh-server", "sudo", "passwd", "login", "libpam-modules", "iproute2", "procps"),
    *("ca-certificates", "rsync", "python3-venv", "usbip"),
)
MODULES = ("virtio_net", "vivid", "vhci_hcd", "uvcvideo", "rtc_pl031", "af_packet")
USER = "pi"
LINK = "/dev/v4l/by-id/usb-Virtual_Camera-video-index0"
DISK = "6G"
UNIT = "etc/systemd/system/edge-runtime.service.d/emulated.conf"
"""Under emulation, a start takes a minute and a frame takes seconds. The watchdog is unchanged."""

FILES = {
    "etc/hostname": "board\n",
    "etc/hosts": "127.0.0.1 localhost board\n",
    "etc/fstab": "/dev/vda / ext4 noatime 0 1\n",
    "etc/resolv.conf": "nameserver 10.0.2.3\n",
    "etc/machine-id": "uninitialized\n",
    "etc/locale.conf": "LANG=C.UTF-8\n",
    "etc/systemd/network/wired.network": "[Match]\nName=e*\n[Network]\nDHCP=ipv4\n",
    "etc/ssh/sshd_config": (
        "AuthorizedKeysFile /etc/ssh/authorized_keys\nPasswordAuthentication no\nUsePAM no\n"
        "UseDNS no\nSubsystem sftp internal-sftp\n"
    ),
    f"etc/sudoers.d/{USER}": f"{USER} ALL=(ALL) NOPASSWD: ALL\n",
    "etc/pam.d/common-auth": "auth required pam_permit.so\n",
    "etc/pam.d/common-account": "account required pam_permit.so\n",
    "etc/pam.d/common-password": "password required pam_deny.so\n",
    "etc/pam.d/common-session": "session required pam_permit.so\n",
    "etc/pam.d/common-session-noninteractive": "session required pam_permit.so\n",
    f"etc/tmpfiles.d/{USER}.conf": f"d /home/{USER} 0755 {USER} {USER}\n",
    "etc/udev/rules.d/70-camera.rules": (  # the kind of name that a USB camera gets
        'SUBSYSTEM=="video4linux", ATTR{name}=="vivid*", '
        f'SYMLINK+="{LINK.removeprefix("/dev/")}"\n'
    ),
    "etc/pip.conf": "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\nprogress-bar = off\n",
    UNIT: "[Service]\nTimeoutStartSec=600\nTimeoutStopSec=60\n",
}
LINKS = {
    "usr/bin/awk": "mawk",
    "etc/systemd/system/default.target": "/usr/lib/systemd/system/multi-user.target",
    "etc/systemd/system/multi-user.target.wants/ssh.service": "/usr/lib/systemd/system/ssh.service",
    "etc/systemd/system/multi-user.target.wants/systemd-networkd.service": (
        "/usr/lib/systemd/system/systemd-networkd.service"
    ),
}
TOOLS = {
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-img": "qemu-utils",
    "mke2fs": "e2fsprogs",
    "depmod": "kmod",
    "ssh-keygen": "openssh-client",
    "rsync": "rsync",
    **({} if os.geteuid() == 0 else {"fakeroot": "fakeroot"}),
}


@dataclass(frozen=True)
class Image:
    """The files that a board boots from. The disk is never written to."""

    kernel: Path
    initrd: Path
    disk: Path
    key: Path
    """The private key with which `USER` can log in."""


def make_image(folder: Path) -> Image:
    """Create the image in `folder`, or return the one that is there; raises `ToolchainError`.

    Creating it takes some minutes and downloads packages from Debian's archive.
    """
    check_tools()
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    done, system = folder / "done", Userland(folder / "system", PACKAGES, RELEASE)
    image = Image(folder / "kernel", folder / "initrd", folder / "disk.qcow2", folder / "key")
    if done.exists() and done.read_text(encoding="utf-8") == recipe:
        return image
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    system.unpack()
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(image.key)], folder)
    (version,) = [path.name for path in (system.root / "usr/lib/modules").iterdir()]
    shutil.move(system.root / "boot" / f"vmlinuz-{version}", image.kernel)
    run(["depmod", "-b", str(system.root), version], folder)
    write_initrd(system.root, image.initrd)
    _remove_other_modules(system.root / "usr/lib/modules" / version)
    set_up(system.root, image.key.with_suffix(".pub").read_text(encoding="utf-8"))
    _compile_python(system.root)
    _write_disk(system.root, folder, image.disk)
    shutil.rmtree(system.root)
    done.write_text(recipe, encoding="utf-8")
    return image


def check_tools() -> None:
    """Raise `ToolchainError` if a required program is missing."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = {
        tool: package for tool, package in TOOLS.items() if not shutil.which(tool, path=path)
    }
    if missing:
        raise ToolchainError(
            f"{' and '.join(missing)} missing",
            remedy=f"apt install {' '.join(sorted(set(missing.values())))} (Debian)",
        )


def set_up(root: Path, key: str) -> None:
    """Configure unpacked packages as a system that boots and accepts logins with `key`."""
    for name in ("proc", "sys", "dev", "run", "tmp", "root", "home", "var/tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / f"etc/sudoers.d/{USER}").chmod(0o440)
    (root / "etc/ssh/authorized_keys").write_text(key, encoding="utf-8")
    for name, target in LINKS.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    _add_users(root)
    for kind in ("rsa", "ed25519"):
        place = root / f"etc/ssh/ssh_host_{kind}_key"
        run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "board", "-f", str(place)], root)
    # A proxy in front of the package index may sign with a key of its own, so the board trusts the
    # certificates that this machine trusts.
    trusted = ssl.get_default_verify_paths().cafile
    if trusted:
        shutil.copy(trusted, root / "etc/ssl/certs/ca-certificates.crt")


def _add_users(root: Path) -> None:
    """Add Debian's own users and `USER`. systemd adds the users of its services."""
    masters = root / "usr/share/base-passwd"
    users = (masters / "passwd.master").read_text(encoding="utf-8").replace(":*:", ":x:")
    groups = (masters / "group.master").read_text(encoding="utf-8").replace(":*:", ":x:")
    names = [line.split(":")[0] for line in users.splitlines()] + [USER]
    groups = groups.replace("sudo:x:27:", f"sudo:x:27:{USER}").replace(
        "video:x:44:", f"video:x:44:{USER}"
    )
    _write(root / "etc/passwd", f"{users}{USER}:x:1000:1000::/home/{USER}:/bin/bash\n")
    _write(root / "etc/group", f"{groups}{USER}:x:1000:\n")
    _write(root / "etc/shadow", "".join(f"{name}:*:20000:0:99999:7:::\n" for name in names), 0o600)
    _write(root / "etc/gshadow", "", 0o600)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _compile_python(root: Path) -> None:
    """Compile the standard library, as Debian does at installation.

    This needs a Python of the same version on this machine. Without it, the board compiles each
    module at its first import, which takes minutes.
    """
    (library,) = (root / "usr/lib").glob("python3.*")
    if python := shutil.which(library.name):
        folders = [str(library), str(root / "usr/lib/python3/dist-packages")]
        command = [python, "-m", "compileall", "-q", "-s", str(root), "-p", "/", *folders]
        subprocess.run(command, check=False, capture_output=True)


def _remove_other_modules(modules: Path) -> None:
    """Remove all kernel modules except `MODULES` and their dependencies."""
    selected = modules.with_name("selected")
    copy_modules(modules, MODULES, selected)
    shutil.rmtree(modules)
    selected.rename(modules)
    run(["depmod", "-b", str(modules.parents[3]), modules.name], modules.parent)


def _write_disk(root: Path, folder: Path, disk: Path) -> None:
    raw = folder / "disk.raw"
    make = ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(raw), DISK]
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    prefix = [] if os.geteuid() == 0 else ["fakeroot"]  # all files must belong to root
    subprocess.run([*prefix, *make], check=True, env=environment)
    run(["qemu-img", "convert", "-O", "qcow2", str(raw), str(disk)], folder)
    raw.unlink()

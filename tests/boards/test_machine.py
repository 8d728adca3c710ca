"""The parts of the emulated board that can be tested without booting it (`make machine-test`)."""

from __future__ import annotations

import lzma
import stat
import subprocess
from pathlib import Path

import pytest

from device_tests.machine import image, initrd, steps
from device_tests.machine.service import _exit_code, faulty_checkout
from edge_runtime.settings.read import parse_settings

PASSWD = "root:*:0:0:root:/root:/bin/bash\nnobody:*:65534:65534:nobody:/nonexistent:/none\n"
GROUP = "root:*:0:\nsudo:*:27:\nvideo:*:44:\n"


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A folder of kernel modules, in which ext4 depends on mbcache."""
    folder = tmp_path / "system/usr/lib/modules/6.12"
    for name in ("fs/mbcache", "fs/ext4", "block/virtio_blk", "media/vivid"):
        path = folder / "kernel" / f"{name}.ko.xz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.compress(name.encode()))
    (folder / "modules.dep").write_text(
        "kernel/fs/mbcache.ko.xz:\nkernel/fs/ext4.ko.xz: kernel/fs/mbcache.ko.xz\n"
        "kernel/block/virtio_blk.ko.xz:\nkernel/media/vivid.ko.xz:\n"
    )
    (folder / "modules.builtin").write_text("kernel/lib/crc16.ko\n")
    return folder


def test_modules_are_copied_with_their_dependencies(modules: Path, tmp_path: Path) -> None:
    to = tmp_path / "selected"
    initrd.copy_modules(modules, ("ext4", "not_a_module"), to)
    assert sorted(path.name for path in to.rglob("*.xz")) == ["ext4.ko.xz", "mbcache.ko.xz"]
    assert (to / "modules.builtin").exists()
    initrd.copy_modules(modules, ("ext4",), tmp_path / "plain", unpack=True)
    assert (tmp_path / "plain/kernel/fs/ext4.ko").read_bytes() == b"fs/ext4"


def test_the_initrd_is_a_complete_cpio_archive(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initrd, "run", lambda *_: "")  # depmod
    root = modules.parents[3]
    (root / "usr/bin").mkdir()
    (root / "usr/bin/busybox").write_bytes(b"busybox")
    initrd.write_initrd(root, tmp_path / "initrd")
    entries = _entries((tmp_path / "initrd").read_bytes())
    assert stat.S_IMODE(entries["init"][0]) == 0o755
    assert b"switch_root /root /sbin/init" in entries["init"][1]
    assert entries["bin/busybox"][1] == b"busybox"
    assert entries["lib/modules/6.12/kernel/fs/ext4.ko"][1] == b"fs/ext4"
    folders = [name for name, (mode, _) in entries.items() if stat.S_ISDIR(mode)]
    assert all(Path(name).parent.as_posix() in (".", *folders) for name in entries)


def _entries(archive: bytes) -> dict[str, tuple[int, bytes]]:
    entries: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        size, length = fields[6], fields[11]
        name = archive[at + 110 : at + 109 + length].decode()
        at += (110 + length + 3) // 4 * 4
        if name == "TRAILER!!!":
            return entries
        entries[name] = (fields[1], archive[at : at + size])
        at += (size + 3) // 4 * 4


def test_unpacked_packages_become_a_system_that_accepts_logins(tmp_path: Path) -> None:
    masters = tmp_path / "usr/share/base-passwd"
    masters.mkdir(parents=True)
    (masters / "passwd.master").write_text(PASSWD)
    (masters / "group.master").write_text(GROUP)
    (tmp_path / "etc/ssl/certs").mkdir(parents=True)
    image.set_up(tmp_path, "ssh-ed25519 AAAA somebody\n")
    assert "pi:x:1000:1000::/home/pi:/bin/bash\n" in (tmp_path / "etc/passwd").read_text()
    assert "video:x:44:pi\n" in (tmp_path / "etc/group").read_text()
    assert stat.S_IMODE((tmp_path / "etc/shadow").stat().st_mode) == 0o600
    assert "root:*:" in (tmp_path / "etc/shadow").read_text()  # no user has a password
    assert stat.S_IMODE((tmp_path / "etc/sudoers.d/pi").stat().st_mode) == 0o440
    assert (tmp_path / "etc/ssh/ssh_host_ed25519_key").exists()
    assert "AAAA" in (tmp_path / "etc/ssh/authorized_keys").read_text()
    assert "PasswordAuthentication no" in (tmp_path / "etc/ssh/sshd_config").read_text()


def test_its_configuration_is_valid() -> None:
    settings = parse_settings(steps.CONFIG)
    assert settings.camera.source == image.LINK
    assert settings.http is not None


def test_what_make_says_of_the_exit_exit_code_a_deployment() -> None:
    assert _exit_code("deploy: no\nmake: *** [Makefile:166: deploy] Error 9\n") == 9
    assert _exit_code("make: *** no rule") == 2


def test_the_faulty_release_fails_only_when_it_is_started(tmp_path: Path) -> None:
    checkout = faulty_checkout(tmp_path)
    service = (checkout / "edge_runtime/daemon/service.py").read_text()
    assert service.endswith('raise RuntimeError("a release with a fault")\n')
    done = subprocess.run(
        ["make", "-n", "deploy", "TARGET=rpi4", "HOST=board"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "deploy/push.sh rpi4 board" in done.stdout


def test_every_step_has_a_unique_name_and_a_docstring() -> None:
    names = [step.__name__ for step in steps.ALL]
    assert len(set(names)) == len(names)
    assert names[0] == "boot"
    assert all(step.__doc__ for step in steps.ALL)

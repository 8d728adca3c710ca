"""A board with a key runs nothing of a release that the key did not sign."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from device_tests.devices.sshd import MISSING, Sshd
from tests.support.keys import install, make_key, needs_ssh_keygen, public
from tests.support.processes import ROOT

pytestmark = needs_ssh_keygen
needs_ssh = pytest.mark.skipif(
    bool(MISSING) or not shutil.which("rsync"),
    reason="no ssh server and rsync: apt install openssh-server rsync",
)
DEPLOY = ROOT / "deploy"


@dataclass
class Staging:
    """The files of a release on a board, as deploy/push.sh sends them."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> Path:
        return self.folder / "opt" / "staging"

    def seal(self, key: Path | None) -> str:
        """Write the list, and its signature by `key`; return the name of the release."""
        subprocess.run(["sh", DEPLOY / "list.sh", self.files], check=True)
        if key:
            command = ["ssh-keygen", "-q", "-Y", "sign", "-n", "edge-runtime-release"]
            subprocess.run([*command, "-f", key, self.files / "files.sha256"], check=True)
        return self.name()

    def name(self) -> str:
        return hashlib.sha256((self.files / "files.sha256").read_bytes()).hexdigest()[:12]

    def verify(self, release: str = "") -> subprocess.CompletedProcess[str]:
        with (DEPLOY / "verify.sh").open() as text:
            return subprocess.run(
                ["sh", "-s", release or self.name()],
                stdin=text,
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "PREFIX": str(self.folder / "opt"), **self.environment},
            )


@pytest.fixture
def owner(tmp_path: Path) -> Path:
    return make_key(tmp_path, "owner")


@pytest.fixture
def staging(tmp_path: Path, owner: Path) -> Staging:
    """Return a board that trusts the owner, with a release that the owner signed."""
    trust = install(tmp_path / "trust", owner)
    staging = Staging(tmp_path, {"EDGE_RUNTIME_TRUST": str(trust)})
    (staging.files / "source").mkdir(parents=True)
    (staging.files / "board.sh").write_text("echo installed\n")
    (staging.files / "source" / "a file.py").write_text("x = 1\n")
    staging.seal(owner)
    return staging


def refused(done: subprocess.CompletedProcess[str], what: str) -> None:
    assert done.returncode == 14, done.stderr
    assert re.search(what, done.stderr.splitlines()[-1]), done.stderr


def test_a_signed_release_is_accepted_and_closed(staging: Staging) -> None:
    (staging.files / "board.sh").chmod(0o777)
    done = staging.verify()
    assert done.returncode == 0, done.stderr
    assert 'Good "edge-runtime-release" signature' in done.stderr
    for path in (staging.files, *staging.files.rglob("*")):  # nobody changes it after the check
        assert not path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        assert path.stat().st_uid == os.geteuid()


def test_an_unsigned_release_needs_a_board_without_keys(staging: Staging, tmp_path: Path) -> None:
    staging.seal(None)
    refused(staging.verify(), "is not signed, and this board accepts only signed ones")
    staging.environment["EDGE_RUNTIME_TRUST"] = str(tmp_path / "none")
    assert staging.verify().returncode == 0


def test_a_changed_release_is_refused(staging: Staging, tmp_path: Path) -> None:
    program = staging.files / "source" / "a file.py"
    program.write_text("x = 2\n")
    done = staging.verify()
    assert done.returncode == 1 and "a file.py: FAILED" in done.stderr
    subprocess.run(["cp", "-r", staging.files, tmp_path / "copy"], check=True)
    signature = (staging.files / "files.sha256.sig").read_bytes()
    staging.seal(None)  # whoever changes a file can change the list, too
    (staging.files / "files.sha256.sig").write_bytes(signature)
    refused(staging.verify(), "incorrect signature|Could not verify")


def test_files_outside_the_list_are_refused(staging: Staging) -> None:
    """`setup.cfg` beside setup.py would run at installation."""
    extra = staging.files / "source" / "setup.cfg"
    extra.write_text("[build]\n")
    refused(staging.verify(), "other files than its list")
    extra.unlink()
    extra.symlink_to("/etc/passwd")
    refused(staging.verify(), "links or devices")
    extra.unlink()
    assert staging.verify().returncode == 0
    refused(staging.verify("0123456789ab"), "not that of release 0123456789ab")


def test_keys_of_boards_rotate_and_are_revoked(
    staging: Staging, owner: Path, tmp_path: Path
) -> None:
    other = make_key(tmp_path, "other")
    release = staging.seal(other)
    refused(staging.verify(release), "not signed by a key that this board trusts")
    install(tmp_path / "trust", owner, other)
    assert staging.verify(release).returncode == 0
    install(tmp_path / "trust", owner, other, revoked=(other,))
    refused(staging.verify(release), "not signed by a key that this board trusts")
    staging.seal(owner)
    assert staging.verify(release).returncode == 0


def test_keys_that_others_can_change_accept_no_release(staging: Staging, tmp_path: Path) -> None:
    for name in ("", "trusted_keys"):
        path = tmp_path / "trust" / name
        before = path.stat().st_mode
        path.chmod(before | stat.S_IWGRP)
        refused(staging.verify(), "other users can change")
        path.chmod(before)
    assert staging.verify().returncode == 0


@pytest.mark.slow
@needs_ssh
def test_deploy_signs_and_the_board_verifies(tmp_path: Path, owner: Path) -> None:
    """`make trust`, `make deploy` and `make revoke`, with a release that only says that it runs."""
    checkout, trust = tmp_path / "checkout", tmp_path / "board-trust"
    (checkout / "edge_runtime").mkdir(parents=True)
    shutil.copytree(DEPLOY, checkout / "deploy")
    shutil.copytree(ROOT / "requirements", checkout / "requirements")
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        (checkout / name).touch()
    (checkout / "deploy" / "board.sh").write_text("echo the release runs >&2\n")
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "manifest.json").write_text(json.dumps({"format": 1}))
    server_folder = tmp_path / "server"
    server_folder.mkdir()
    with Sshd(server_folder) as server:
        variables = {
            **os.environ,
            "SSH": server.ssh,
            "NO_SUDO": "1",
            "HOME": str(tmp_path),
            "PREFIX": str(tmp_path / "opt"),
            "BUNDLE": str(bundle),
            "TRUST": str(trust),
            "BOARD_ENV": f"EDGE_RUNTIME_TRUST={trust}",
        }
        variables.pop("KEY", None)

        def run(*command: object, **more: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                ["sh", *map(str, command)],
                capture_output=True,
                text=True,
                check=False,
                cwd=checkout,
                env={**variables, **more},
            )

        def deploy(**more: str) -> subprocess.CompletedProcess[str]:
            return run("deploy/push.sh", "test", server.host, **more)

        assert "the release runs" in deploy().stderr  # the board has no key yet
        for _ in range(2):
            done = run("deploy/trust.sh", server.host, owner, "trusted_keys")
            assert done.returncode == 0, done.stderr
        assert (trust / "trusted_keys").read_text() == f"edge-runtime {public(owner)}"
        done = deploy()
        refused(done, "is not signed, and this board accepts only signed ones")
        assert "the release runs" not in done.stderr
        done = deploy(KEY=str(owner))
        assert done.returncode == 0 and "the release runs" in done.stderr, done.stderr
        assert (tmp_path / "opt" / "staging" / "model" / "manifest.json.sig").is_file()
        done = run("deploy/trust.sh", server.host, owner, "revoked_keys")
        assert done.returncode == 0, done.stderr
        assert (trust / "revoked_keys").read_text() == public(owner)
        done = deploy(KEY=str(owner))
        refused(done, "not signed by a key that this board trusts")
        assert "the release runs" not in done.stderr
        done = deploy(KEY=str(tmp_path / "none"))
        assert done.returncode == 2 and "make keys" in done.stderr
        done = run("deploy/trust.sh", server.host, tmp_path / "none", "trusted_keys")
        assert done.returncode == 2 and "make keys" in done.stderr

"""What whoever controls a fleet's files can try, on a file server and on a stick.

Each attack is refused with one line, the version stays, and recognition goes on (see `refused`).
docs/FLEET.md has the table.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Timestamp

from edge_runtime.errors import FleetSignatureError, FleetUnreachableError
from edge_runtime.fleet.follower import Follower, board_state
from profiles.bench.fleet.clocks import DAY_S, Clock, build_library
from tests.support.fleet import picture
from tests.support.fleet.following import begin_answer, join, publish, recognizing, refused
from tests.support.fleet.model import Model
from tests.support.fleet.repository import COMPACT, SignedFolder, in_days
from tests.support.fleet.serving import Server
from tests.support.processes import ROOT

CATS = (picture("cat", 1), picture("cat", 2))


@pytest.fixture(params=["folder", "http"])
def victim(
    request: pytest.FixtureRequest, followed: Path, signed: SignedFolder, server: Server
) -> Path:
    """A board at version 2, whose files come from a folder or a server."""
    if request.param == "http":
        join(followed, server.url, signed)
        Follower(followed).poll()
        assert server.requests
    return followed


def _replace(signed: SignedFolder, other: Path) -> None:
    """Let the board find the files of `other`."""
    shutil.rmtree(signed.folder)
    shutil.copytree(other, signed.folder)


# -- old files -------------------------------------------------------------------------------------


def test_an_older_state_is_refused(victim: Path, signed: SignedFolder, tmp_path: Path) -> None:
    old = shutil.copytree(signed.folder, tmp_path / "old")
    publish(signed, Model(), *CATS)
    Follower(victim).poll()
    _replace(signed, old)
    refused(victim, "is older than what this board has seen")


def test_an_older_timestamp_is_refused(victim: Path, signed: SignedFolder) -> None:
    """All other files are the newest."""
    timestamp = signed.folder / "metadata" / "timestamp.json"
    old = timestamp.read_bytes()
    publish(signed, Model(), *CATS)
    Follower(victim).poll()
    timestamp.write_bytes(old)
    refused(victim, "is older than what this board has seen")


def test_files_of_two_states_are_refused(victim: Path, signed: SignedFolder) -> None:
    """The newest snapshot is replaced by an older one that was signed, too."""
    old = (signed.folder / "metadata" / f"{signed.snapshot.version}.snapshot.json").read_bytes()
    publish(signed, Model(), *CATS)
    newest = signed.folder / "metadata" / f"{signed.snapshot.version}.snapshot.json"
    newest.write_bytes(old)
    refused(victim, "is older than what this board has seen, or does not fit")


def test_a_frozen_state_is_refused_when_it_expires(victim: Path, signed: SignedFolder) -> None:
    signed.timestamp.expires = in_days(-0.1)
    signed.stamp()
    refused(victim, "is expired: nobody has signed newer files")


def test_a_server_that_never_changes_is_noticed_after_days(victim: Path, tmp_path: Path) -> None:
    """The files are those that the board has accepted. Only the date of the board moves on."""
    library, reason = build_library(tmp_path)
    if library is None:
        pytest.skip(reason)
    clock = Clock(library, tmp_path / "board.clock")

    def follow() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edge_runtime", "fleet", "follow", "--once"]
        return subprocess.run(
            [*command, "--gallery", str(victim)],
            env={**os.environ, **clock.environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    clock.set(2 * DAY_S)
    assert (follow().returncode, board_state(victim).version) == (0, 2)
    clock.set(4 * DAY_S)
    with recognizing(victim):
        done = follow()
    assert (done.returncode, board_state(victim).version) == (15, 2)
    assert "is expired: nobody has signed newer files, or the clock is ahead" in done.stderr
    assert done.stderr.count("\n") == 1


# -- changed files ---------------------------------------------------------------------------------


def test_flipped_bits_are_refused(victim: Path, signed: SignedFolder) -> None:
    publish(signed, Model(), *CATS)
    names = [
        f"metadata/{signed.snapshot.version}.snapshot.json",
        f"metadata/{signed.targets.version}.targets.json",
        "metadata/timestamp.json",
        *[
            str(path.relative_to(signed.folder))
            for path in (signed.folder / "targets/gallery/delta").glob("*000003*")
        ],
    ]
    assert len(names) == 4
    with recognizing(victim):
        for name in names:
            _flip_bits(victim, signed.folder / name)
    Follower(victim).poll()
    assert board_state(victim).version == 3


def _flip_bits(board: Path, path: Path) -> None:
    data = path.read_bytes()
    for place in range(3, len(data), max(1, len(data) // 9)):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        try:
            Follower(board).poll()
        except (FleetSignatureError, FleetUnreachableError) as error:
            assert "\n" not in str(error)
            assert board_state(board).version == 2
        else:  # whitespace, or the case of a key that nothing reads
            assert path.parent.name == "metadata"
    path.write_bytes(data)


@dataclass(frozen=True)
class _Endless:
    """Makes the file whose name ends so longer than any disk."""

    signed: SignedFolder
    server: Server
    sent: list[int]

    def on_the_server(self, name: str) -> None:
        def answer(handler: SimpleHTTPRequestHandler) -> bool:
            if not handler.path.endswith(name):
                return False
            begin_answer(handler, None)
            try:
                while True:
                    self.sent[0] += handler.wfile.write(bytes(1 << 16))
            except OSError:
                return True

        self.server.answer = answer

    def in_the_folder(self, name: str) -> None:
        (path,) = self.signed.folder.rglob(f"*{name}")
        with path.open("r+b") as file:
            file.truncate(1 << 40)  # a hole, which takes no room


@pytest.mark.parametrize("name", ["timestamp.json", "3.snapshot.json", "000003.jsonl.gz"])
def test_endless_data_is_refused(
    victim: Path, signed: SignedFolder, server: Server, name: str
) -> None:
    publish(signed, Model(), *CATS)
    endless = _Endless(signed, server, [0])
    if server.requests:
        endless.on_the_server(name)
    else:
        endless.in_the_folder(name)
    refused(victim, "is longer than it may be")
    assert endless.sent[0] < 1 << 26


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_stick_with_something_else_than_files_is_left(
    followed: Path, signed: SignedFolder, make: Callable[[Path], None]
) -> None:
    """A FIFO would be waited for, and a device read, forever."""
    path = signed.folder / "metadata" / "timestamp.json"
    path.unlink()
    make(path)
    refused(followed, "cannot be fetched: .*not a regular file", FleetUnreachableError)


# -- other keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_metadata_signed_with_another_key_is_refused(
    victim: Path, signed: SignedFolder, tmp_path: Path, role: str
) -> None:
    signed.keys[role] = SignedFolder(tmp_path / "other").keys[role]
    signed.sign()
    refused(victim, "is not signed by the fleet's keys")


def test_another_repository_is_refused(victim: Path, signed: SignedFolder, tmp_path: Path) -> None:
    other = SignedFolder(tmp_path / "other")
    for number in range(5):
        other.publish([picture("cat", number)])
    _replace(signed, other.folder)
    refused(victim, "is not signed by the fleet's keys")


def test_another_fleet_with_the_same_keys_is_refused(victim: Path, signed: SignedFolder) -> None:
    signed.fleet = "other"
    signed.publish([])
    refused(victim, "these are the files of the fleet 'other', not of 'test'")


def test_stolen_online_keys_cannot_replace_the_root(victim: Path, signed: SignedFolder) -> None:
    signed.root.version += 1
    metadata = Metadata(signed.root)
    for role in ("targets", "snapshot", "timestamp"):
        metadata.sign(signed.keys[role], append=True)
    metadata.to_file(str(signed.folder / "metadata" / "2.root.json"), COMPACT)
    refused(victim, "is not signed by the fleet's keys")


def test_the_root_keys_replace_stolen_online_keys(victim: Path, signed: SignedFolder) -> None:
    stolen = signed.keys["timestamp"]
    for role in ("targets", "snapshot", "timestamp"):
        signed.root.revoke_key(signed.keys[role].public_key.keyid, role)
        signed.keys[role] = type(stolen).generate_ed25519()
        signed.root.add_key(signed.keys[role].public_key, role)
    signed.root.version += 1
    signed.sign_root()
    publish(signed, Model(), *CATS)
    Follower(victim).poll()
    assert board_state(victim).version == signed.version
    metadata = Metadata[Timestamp].from_file(str(signed.folder / "metadata" / "timestamp.json"))
    metadata.signed.version += 1
    metadata.sign(stolen)
    metadata.to_file(str(signed.folder / "metadata" / "timestamp.json"), COMPACT)
    refused(victim, "is not signed by the fleet's keys")

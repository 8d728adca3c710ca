"""The signed files of a fleet: a repository of TUF that any static file server can serve.

`metadata/timestamp.json` is the only file that is ever replaced. It names a snapshot, which names
the targets, which name each file with its digest. So a version exists from the moment when the
timestamp is renamed into its place: before it, no file refers to what was written. A number is
never used for two different files, even if the process was killed between them.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from edge_runtime.desk import signed
from edge_runtime.desk.signed import Lifetimes, S
from edge_runtime.desk.signing.keys import (
    ONLINE_ROLES,
    discard_online_keys,
    key_id,
    read_online_keys,
)
from edge_runtime.errors import DeskError, storage_error
from edge_runtime.system.durable import make_folder, write_file

KEPT_VERSIONS = 8
"""Versions of the metadata that stay, for clients that are just reading them."""
RENEW_AT = 0.5
"""A signature is renewed when this share of its lifetime has passed."""
CLOCK_TOLERANCE = timedelta(minutes=10)
_CONSISTENT_DIGEST = "sha256"


@dataclass(frozen=True)
class NewFile:
    """A file to publish."""

    name: str
    """Such as `gallery/delta/000007.jsonl.gz`."""
    data: bytes
    custom: Mapping[str, Any]
    """What its signature states beside its digest and length."""


class Repository:
    """The repository in one folder, opened to sign. One process uses it at a time."""

    def __init__(
        self,
        folder: Path,
        keys: Path,
        trusted_root: Path,
        lifetimes: Lifetimes | None = None,
        clock: Callable[[], datetime] = signed.now,
    ) -> None:
        """Read and verify the metadata; raises `DeskError` or `StorageError`.

        `trusted_root` is a file outside of the folder that is served.
        """
        self.folder = folder
        self.keys = keys
        self.trusted_root = trusted_root
        self.lifetimes = lifetimes or Lifetimes()
        self._clock = clock
        self._metadata = folder / "metadata"
        self._load()

    def _load(self) -> None:
        chain = signed.read_roots(self._metadata, self.trusted_root)
        self.root: Metadata[Root] = chain[-1]
        # After a kill in the middle of a rotation, the earlier keys signed what is here.
        valid = [each.signed for each in reversed(chain)]
        earlier = self._metadata / f"{chain[0].signed.version - 1}.root.json"
        if earlier.exists():
            valid.append(signed.read_metadata(earlier, Root).signed)
        self.timestamp: Metadata[Timestamp] = Metadata(Timestamp())
        self.snapshot: Metadata[Snapshot] = Metadata(Snapshot())
        self.targets: Metadata[Targets] = Metadata(Targets())
        path = self._metadata / "timestamp.json"
        if not path.exists() and not any(signed.numbers(self._metadata, "snapshot")):
            return  # a new repository, which has nothing yet
        self.timestamp = signed.read_metadata(path, Timestamp)
        signed.check_signed(path, self.timestamp, valid)
        path = self._path("snapshot", self.timestamp.signed.snapshot_meta.version)
        self.snapshot = signed.read_metadata(path, Snapshot)
        signed.check_signed(path, self.snapshot, valid)
        path = self._path("targets", self.snapshot.signed.meta["targets.json"].version)
        self.targets = signed.read_metadata(path, Targets)
        signed.check_signed(path, self.targets, valid)

    @property
    def files(self) -> Mapping[str, TargetFile]:
        """The files that are published, by name."""
        return self.targets.signed.targets

    def custom(self, name: str) -> Mapping[str, Any]:
        """Return what the signature of a file states beside its digest; empty if there is none."""
        found = self.files.get(name)
        return {} if found is None else dict(found.custom or {})

    def path_of(self, name: str) -> Path:
        """Return where the content of the published file `name` is; raises `KeyError`."""
        return self._target_path(name, self.files[name].hashes[_CONSISTENT_DIGEST])

    def read(self, name: str) -> bytes:
        """Return the content of a published file, verified; raises `DeskError`."""
        path = self.path_of(name)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise storage_error(error, path) or error from error
        if hashlib.sha256(data).hexdigest() != self.files[name].hashes[_CONSISTENT_DIGEST]:
            raise DeskError(
                "its content is not what was signed",
                where=path,
                remedy="restore the folder public from a backup or from the file server",
            )
        return data

    def publish(self, new: Iterable[NewFile], drop: Collection[str] = ()) -> None:
        """Sign the present files with those of `new` and without those of `drop`, durably.

        Raises `StorageError` or `TrustStoreError`. After a kill at any moment, clients see all of
        this or none of it.
        """
        online = self._online_keys()
        files = {name: file for name, file in self.files.items() if name not in drop}
        for each in new:
            target = TargetFile.from_data(each.name, each.data, [_CONSISTENT_DIGEST])
            target.unrecognized_fields["custom"] = dict(each.custom)
            self._write_target(
                self._target_path(each.name, target.hashes[_CONSISTENT_DIGEST]), each.data
            )
            files[each.name] = target
        targets = copy.deepcopy(self.targets)
        targets.signed.targets = files
        self._commit(targets, online)

    def renew_if_due(self) -> list[str]:
        """Sign again what is soon to expire; return the names of these roles.

        Raises as `publish` does.
        """
        due = [role for role in ONLINE_ROLES if self._is_due(role)]
        if due == ["timestamp"]:
            self._sign_timestamp(self._online_keys()["timestamp"], self.snapshot.signed.version)
        elif due:
            self._commit(copy.deepcopy(self.targets), self._online_keys())
        return due

    def replace_root(self, root: Metadata[Root]) -> None:
        """Publish a new root, and sign everything with the keys that it names; see `publish`."""
        signed.write_metadata(self._path("root", root.signed.version), root)
        signed.write_metadata(self.trusted_root, root)
        self.root = root
        online = self._online_keys()
        self._commit(copy.deepcopy(self.targets), online)
        with suppress(OSError):  # they sign nothing that a client accepts any more
            discard_online_keys(self.keys, {role: key_id(key) for role, key in online.items()})

    def now(self) -> datetime:
        """Return the time by the clock that signs."""
        return self._clock()

    def check_online_keys(self) -> None:
        """Raise `TrustStoreError` unless the online keys that the root names are present."""
        self._online_keys()

    def online_key_ids(self) -> dict[str, str]:
        """Return the ids of the online keys that the root names, by role."""
        return {role: self.root.signed.roles[role].keyids[0] for role in ONLINE_ROLES}

    # -- internals ------------------------------------------------------------------------------

    def _online_keys(self) -> dict[str, CryptoSigner]:
        self._check_clock()
        return read_online_keys(self.keys, self.online_key_ids())

    def _is_due(self, role: str) -> bool:
        metadata: Metadata[Any] = getattr(self, role)
        left = metadata.signed.expires - self._clock()
        return not signed.is_signed(metadata, self.root.signed) or left < RENEW_AT * (
            self.lifetimes.of(role)
        )

    def _check_clock(self) -> None:
        """Raise `DeskError` if the clock shows a time before the last signature.

        What replaced keys have signed does not count: if the clock was wrong then, only new keys
        bring the boards back.
        """
        if not signed.is_signed(self.timestamp, self.root.signed):
            return
        before = signed.signed_at(self.timestamp)
        if before is not None and self._clock() + CLOCK_TOLERANCE < before:
            raise DeskError(
                f"the clock shows {self._clock():%Y-%m-%d %H:%M}, but the last signature is of "
                f"{before:%Y-%m-%d %H:%M} (UTC)",
                where=self.folder,
                remedy="set the clock of this machine. If it was wrong at that signature, "
                "replace the keys: edge-runtime desk rotate",
            )

    def _commit(self, targets: Metadata[Targets], online: Mapping[str, CryptoSigner]) -> None:
        """Sign all roles; the timestamp at last, which makes the others valid."""
        self._sign(targets, online["targets"], self._next("targets"))
        signed.write_metadata(self._path("targets", targets.signed.version), targets)
        snapshot = copy.deepcopy(self.snapshot)
        snapshot.signed.meta["targets.json"] = MetaFile(targets.signed.version)
        self._sign(snapshot, online["snapshot"], self._next("snapshot"))
        signed.write_metadata(self._path("snapshot", snapshot.signed.version), snapshot)
        self._sign_timestamp(online["timestamp"], snapshot.signed.version)
        self.targets, self.snapshot = targets, snapshot
        with suppress(OSError, DeskError):  # what stays is only old
            self._prune()

    def _sign_timestamp(self, key: CryptoSigner, snapshot_version: int) -> None:
        timestamp = copy.deepcopy(self.timestamp)
        timestamp.signed.snapshot_meta = MetaFile(snapshot_version)
        is_new = not (self._metadata / "timestamp.json").exists()
        self._sign(timestamp, key, 1 if is_new else timestamp.signed.version + 1)
        signed.write_metadata(self._metadata / "timestamp.json", timestamp)
        self.timestamp = timestamp

    def _sign(self, metadata: Metadata[S], key: CryptoSigner, version: int) -> None:
        metadata.signed.version = version
        metadata.signed.expires = self._clock() + self.lifetimes.of(
            signed.ROLES[type(metadata.signed)]
        )
        metadata.signed.unrecognized_fields[signed.SIGNED_AT] = (
            f"{self._clock():%Y-%m-%dT%H:%M:%SZ}"
        )
        metadata.sign(key)

    def _next(self, role: str) -> int:
        """Return a number that no file has had: one may have been copied before a kill."""
        return 1 + max(signed.numbers(self._metadata, role), default=0)

    def _path(self, role: str, version: int) -> Path:
        return self._metadata / f"{version}.{role}.json"

    def _target_path(self, name: str, digest: str) -> Path:
        place = PurePosixPath(name)
        return self.folder / "targets" / place.parent / f"{digest}.{place.name}"

    def _write_target(self, path: Path, data: bytes) -> None:
        try:
            make_folder(path.parent)
            write_file(path, data)
        except OSError as error:
            raise storage_error(error, path) or error from error

    def _prune(self) -> None:
        """Remove what neither the present metadata nor that of the last versions names."""
        kept: set[Path] = set()
        current = self.targets.signed.version
        for number in sorted(signed.numbers(self._metadata, "targets")):
            path = self._path("targets", number)
            if number <= current - KEPT_VERSIONS:
                path.unlink()
            else:
                for name, file in signed.read_metadata(path, Targets).signed.targets.items():
                    kept.add(self._target_path(name, file.hashes[_CONSISTENT_DIGEST]))
        for number in signed.numbers(self._metadata, "snapshot"):
            if number <= self.snapshot.signed.version - KEPT_VERSIONS:
                self._path("snapshot", number).unlink()
        for path in (self.folder / "targets").rglob("*"):
            if path.is_file() and path not in kept:
                path.unlink()
        for path in self._metadata.glob("*.tmp"):
            path.unlink()


def create(
    folder: Path,
    keys: Path,
    trusted_root: Path,
    root: Metadata[Root],
    files: Sequence[NewFile],
    lifetimes: Lifetimes | None = None,
) -> Repository:
    """Write a new repository with its first files; raises `DeskError` or `StorageError`.

    The online keys that `root` names are in the folder `keys`.
    """
    if any(signed.numbers(folder / "metadata", "root")):
        raise DeskError("a repository exists here already", where=folder)
    try:
        make_folder(folder / "metadata")
        make_folder(folder / "targets")
    except OSError as error:
        raise storage_error(error, folder) or error from error
    signed.write_metadata(folder / "metadata" / "1.root.json", root)
    signed.write_metadata(trusted_root, root)
    repository = Repository(folder, keys, trusted_root, lifetimes)
    repository.publish(files)
    return repository

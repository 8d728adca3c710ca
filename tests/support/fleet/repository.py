"""A small repository of signed files, written with python-tuf as a desk does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from edge_runtime.fleet.following.repository import SIGNED_AT
from edge_runtime.fleet.operations import Add, Label, Operation
from tests.support.fleet import head, packed
from tests.support.fleet.model import Model

COMPACT = JSONSerializer(compact=True)
ROLES = ("root", "targets", "snapshot", "timestamp")


def in_days(days: float) -> datetime:
    return (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)


class SignedFolder:
    """Signs with two root keys of two, and one key for each other role."""

    def __init__(
        self, folder: Path, *, fleet: str = "test", mqtt: dict[str, Any] | None = None
    ) -> None:
        self.folder, self.fleet, self.mqtt = folder, fleet, mqtt
        (folder / "metadata").mkdir(parents=True)
        (folder / "targets").mkdir()
        self.keys = {role: CryptoSigner.generate_ed25519() for role in ROLES}
        self.second = CryptoSigner.generate_ed25519()
        self.root = Root(expires=in_days(365), consistent_snapshot=True)
        for role in ROLES:
            self.root.add_key(self.keys[role].public_key, role)
        self.root.add_key(self.second.public_key, "root")
        self.root.roles["root"].threshold = 2
        self.targets = Targets(expires=in_days(90))
        self.snapshot = Snapshot(expires=in_days(30))
        self.timestamp = Timestamp(expires=in_days(3))
        for signed in (self.targets, self.snapshot, self.timestamp):
            signed.version = 0
        self.version = 0
        self.sign_root()
        self.publish([])

    @property
    def trust(self) -> Path:
        """The root of trust that a board is given."""
        return self.folder / "metadata" / "1.root.json"

    def sign_root(self) -> None:
        metadata = Metadata(self.root)
        for signer in (self.keys["root"], self.second):
            metadata.sign(signer, append=True)
        metadata.to_file(str(self.folder / "metadata" / f"{self.root.version}.root.json"), COMPACT)

    def put(self, name: str, data: bytes, custom: dict[str, Any]) -> Path:
        target = TargetFile.from_data(name, data, ["sha256"])
        target.unrecognized_fields["custom"] = custom
        self.targets.targets[name] = target
        path = self.folder / "targets" / name
        path = path.with_name(f"{hashlib.sha256(data).hexdigest()}.{path.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def sign(self, *, now: datetime | None = None) -> None:
        """Sign what was put, as a new state of the repository."""
        signed_at = now or datetime.now(UTC)
        self.targets.version += 1
        self._write(f"{self.targets.version}.targets.json", self.targets, "targets")
        self.snapshot.meta["targets.json"] = MetaFile(self.targets.version)
        self.snapshot.version += 1
        self._write(f"{self.snapshot.version}.snapshot.json", self.snapshot, "snapshot")
        self.timestamp.snapshot_meta = MetaFile(self.snapshot.version)
        self.stamp(signed_at)

    def stamp(self, signed_at: datetime | None = None) -> None:
        time = signed_at or datetime.now(UTC)
        self.timestamp.unrecognized_fields[SIGNED_AT] = time.isoformat(timespec="seconds")
        self.timestamp.version += 1
        self._write("timestamp.json", self.timestamp, "timestamp")

    def _write(self, name: str, signed: Any, role: str) -> None:
        metadata = Metadata(signed)
        metadata.sign(self.keys[role])
        metadata.to_file(str(self.folder / "metadata" / name), COMPACT)

    def publish(
        self,
        operations: Sequence[Operation],
        model: Model | None = None,
        *,
        full: bool = False,
        content: tuple[Iterable[Add], Iterable[Label]] | None = None,
        delta: bool = True,
    ) -> int:
        """Publish the next version with these operations, after which a board has `model`."""
        model = model or Model()
        self.version += 1
        number = self.version
        pictures, labels = content or (model.pictures(), model.shared_labels())
        pictures, labels = list(pictures), list(labels)
        base = number - 1
        first = head(number, base, pictures, labels)
        custom = {"version": number, "content": first.content, "model_id": first.model_id}
        if base and delta:
            name = f"gallery/delta/{number:06d}.jsonl.gz"
            self.put(name, packed(first, operations), {**custom, "base": base})
        if full or number == 1:
            whole = head(number, None, pictures, labels)
            name = f"gallery/full/{number:06d}.jsonl.gz"
            self.put(name, packed(whole, [*model.pictures(), *model.shared_labels()]), custom)
        info = {"fleet": self.fleet, "version": number, "mqtt": self.mqtt}
        self.put("fleet.json", json.dumps(info).encode(), {})
        self.sign()
        return number

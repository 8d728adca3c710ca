"""Signed metadata as files: reading it with bounds, and verifying who signed it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Signed, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from edge_runtime.errors import DeskError, storage_error
from edge_runtime.system.durable import write_file
from edge_runtime.system.files import open_regular

SIGNED_AT = "x-edge-runtime-signed-at"
"""When it was signed (UTC, ISO 8601). A board whose clock shows an earlier time has no clock."""
MOST_METADATA_BYTES = 1 << 26
ROLES: dict[type[Signed], str] = {
    Root: "root",
    Targets: "targets",
    Snapshot: "snapshot",
    Timestamp: "timestamp",
}
S = TypeVar("S", Root, Targets, Snapshot, Timestamp)
_COMPACT = JSONSerializer(compact=True)
_NUMBERED = re.compile(r"([1-9]\d{0,17})\.(root|targets|snapshot)\.json")
_RESTORE = "restore the folder public from a backup or from the file server"


@dataclass(frozen=True)
class Lifetimes:
    """How long a signature is valid, in days."""

    root: float = 365.0
    targets: float = 90.0
    snapshot: float = 30.0
    timestamp: float = 3.0

    def of(self, role: str) -> timedelta:
        """Return the lifetime of signatures of `role`."""
        return timedelta(days=float(getattr(self, role)))


def now() -> datetime:
    """Return the time in whole seconds, as metadata states it."""
    return datetime.now(UTC).replace(microsecond=0)


def numbers(folder: Path, role: str) -> Iterator[int]:
    """Yield the version numbers of the files of `role` in `folder`."""
    for path in folder.glob(f"*.{role}.json"):
        if match := _NUMBERED.fullmatch(path.name):
            yield int(match[1])


def read_metadata(path: Path, kind: type[S]) -> Metadata[S]:
    """Read a metadata file without verifying it; raises `DeskError` or `StorageError`."""
    try:
        with open_regular(path) as file:
            data = file.read(MOST_METADATA_BYTES)
        found: Metadata[Any] = Metadata.from_bytes(data)
    except FileNotFoundError as error:
        raise DeskError("the file is missing", where=path, remedy=_RESTORE) from error
    except OSError as error:
        raise storage_error(error, path) or error from error
    except (DeserializationError, RecursionError) as error:
        raise DeskError("damaged, not signed metadata", where=path, remedy=_RESTORE) from error
    if not isinstance(found.signed, kind):
        raise DeskError(f"not the metadata of {ROLES[kind]}", where=path, remedy=_RESTORE)
    return found


def write_metadata(path: Path, metadata: Metadata[S]) -> None:
    """Write a metadata file durably; raises `StorageError`."""
    try:
        write_file(path, metadata.to_bytes(_COMPACT))
    except OSError as error:
        raise storage_error(error, path) or error from error


def is_signed(metadata: Metadata[S], root: Root) -> bool:
    """Return whether the keys that `root` names signed `metadata`."""
    try:
        root.verify_delegate(
            ROLES[type(metadata.signed)], metadata.signed_bytes, metadata.signatures
        )
    except (RepositoryError, ValueError):
        return False
    return True


def signed_at(metadata: Metadata[S]) -> datetime | None:
    """Return when `metadata` was signed, as far as it says so."""
    try:
        return datetime.fromisoformat(metadata.signed.unrecognized_fields[SIGNED_AT])
    except (KeyError, TypeError, ValueError):
        return None


def check_signed(path: Path, metadata: Metadata[S], roots: list[Root]) -> None:
    """Raise `DeskError` unless the keys of one of `roots` signed `metadata`."""
    if not any(is_signed(metadata, root) for root in roots):
        raise DeskError("its signature is not valid", where=path, remedy=_RESTORE)


def read_roots(folder: Path, trusted: Path) -> list[Metadata[Root]]:
    """Return the root that the file `trusted` names and all that follow it, verified as a chain.

    Raises `DeskError`.
    """
    chain = [read_metadata(trusted, Root)]
    check_signed(trusted, chain[0], [chain[0].signed])
    while (path := folder / f"{chain[-1].signed.version + 1}.root.json").exists():
        following = read_metadata(path, Root)
        check_signed(path, following, [chain[-1].signed])
        check_signed(path, following, [following.signed])
        if following.signed.version != chain[-1].signed.version + 1:
            raise DeskError("its version is not the one in its name", where=path, remedy=_RESTORE)
        chain.append(following)
    return chain

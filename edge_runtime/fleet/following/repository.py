"""The fleet's signed files, as this board sees them (TUF, by python-tuf).

Metadata that was accepted is kept in a folder, so that nothing older is accepted later.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edge_runtime.errors import (
    ClockError,
    EdgeRuntimeError,
    FleetSignatureError,
    FleetUnreachableError,
    storage_error,
)
from edge_runtime.fleet.following.clock import check_clock
from edge_runtime.fleet.following.fetching import (  # first: it reports a missing extra
    PART,
    Fetcher,
    base_of,
)
from edge_runtime.redaction import redact
from edge_runtime.system.durable import make_folder, sync_tree

from tuf.api import exceptions as tuf  # isort: skip
from tuf.api.metadata import Metadata, TargetFile, Targets  # isort: skip
from tuf.ngclient import Updater, UpdaterConfig  # isort: skip

SIGNED_AT = "x-edge-runtime-signed-at"
"""The key of the time of a signature, in signed metadata."""
ROLES = ("root", "timestamp", "snapshot", "targets")
MOST_TIMESTAMP_BYTES = 16_384
MOST_SNAPSHOT_BYTES = 200_000
MOST_TARGETS_BYTES = 2_000_000
MOST_TARGET_BYTES = 1 << 32
_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (tuf.ExpiredMetadataError, "is expired: nobody has signed newer files, or the clock is ahead"),
    (tuf.BadVersionNumberError, "is older than what this board has seen, or does not fit the rest"),
    (tuf.UnsignedMetadataError, "is not signed by the fleet's keys"),
    (tuf.LengthOrHashMismatchError, "was changed after it was signed"),
    (tuf.DownloadLengthMismatchError, "is longer than it may be"),
    (tuf.RepositoryError, "cannot be believed"),
)


@dataclass(frozen=True)
class Target:
    """A signed file."""

    name: str
    length: int
    sha256: str
    custom: dict[str, Any]


class Repository:
    """The files of the fleet at one address."""

    def __init__(self, url: str, folder: Path, root: bytes) -> None:
        """Keep metadata and downloads below `folder`; `root` is the root of trust.

        Raises `InputError`, `FleetSignatureError` or `StorageError`.
        """
        self.url = redact(url)
        self._base, self._root = base_of(url), root
        self._metadata, self._downloads = folder / "metadata", folder / "targets"
        with self._translated("root.json"):
            make_folder(self._metadata)
            make_folder(self._downloads)
            self._fetcher = Fetcher(self._downloads)
            self._updater = self._new_updater()
        self._targets: dict[str, Target] = {}
        self._fresh_until: datetime | None = None
        """When the first metadata expires; None before they were checked in this process."""

    @property
    def targets(self) -> dict[str, Target]:
        """The signed files by name, of the last `refresh`."""
        return self._targets

    def refresh(self) -> bool:
        """Fetch and check what is new; return whether the signed files may have changed.

        Usually it is one request for a small file. Raises `ClockError`, `FleetSignatureError`,
        `FleetUnreachableError` or `StorageError`; what was accepted before stays.
        """
        check_clock()
        fault = None
        try:
            check_clock(self.signed_at())
        except ClockError as error:  # or who stole keys that were replaced since signed a lie
            fault = error
        if fault is None and self._fresh_until is not None and self._unchanged():
            return False
        self._fresh_until = None
        with self._translated("metadata"):
            updater = self._new_updater()
            try:
                updater.refresh()
            except Exception:
                if fault is not None:
                    raise fault from None
                raise
            sync_tree(self._metadata)
            check_clock(self.signed_at())
            self._updater = updater
            self._targets = dict(self._read_targets())
            self._fresh_until = min(self._expiries())
            self._tidy()
        return True

    def fetch(self, name: str) -> Path:
        """Return the path of a signed file, fetched and checked; `discard` deletes it.

        Raises `FleetSignatureError`, `FleetUnreachableError` or `StorageError`.
        """
        target = self._targets.get(name)
        if target is None:
            raise FleetUnreachableError(f"the fleet has no file {name} now", where=self.url)
        if target.length > MOST_TARGET_BYTES:
            raise FleetSignatureError(f"{name} has more than {MOST_TARGET_BYTES} bytes")
        with self._translated(name):
            info = self._updater.get_targetinfo(name)
            assert info is not None
            cached = self._updater.find_cached_target(info)
            return Path(cached or self._updater.download_target(info))

    def path_of(self, name: str) -> Path:
        """Return where `fetch` puts a file, which may not exist."""
        return self._downloads / quote(name, "")

    def _tidy(self) -> None:
        """Delete what a kill left: files that are not signed any more."""
        signed = {self.path_of(name) for name in self._targets}
        signed |= {self._downloads / (each.sha256 + PART) for each in self._targets.values()}
        for path in self._downloads.iterdir():
            if path not in signed:
                self.discard(path)

    def discard(self, path: Path) -> None:
        """Delete a file that `fetch` returned."""
        with suppress(OSError):
            path.unlink()

    def signed_at(self) -> datetime | None:
        """Return when the newest accepted metadata was signed; None if it does not say."""
        try:
            signed = json.loads((self._metadata / "timestamp.json").read_bytes())["signed"]
            time = datetime.fromisoformat(signed[SIGNED_AT])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return time if time.tzinfo else time.replace(tzinfo=UTC)

    # -- internals ----------------------------------------------------------------------------

    def _new_updater(self) -> Updater:
        """Return an updater: each checks new metadata once."""
        return Updater(
            str(self._metadata),
            self._base + "metadata/",
            str(self._downloads),
            self._base + "targets/",
            self._fetcher,
            UpdaterConfig(
                timestamp_max_length=MOST_TIMESTAMP_BYTES,
                snapshot_max_length=MOST_SNAPSHOT_BYTES,
                targets_max_length=MOST_TARGETS_BYTES,
            ),
            bootstrap=self._root,
        )

    def _unchanged(self) -> bool:
        """Return whether the newest signed list is the accepted one, and not expired."""
        if self._fresh_until is None or datetime.now(UTC) >= self._fresh_until:
            return False
        with self._translated("timestamp.json"):
            url = self._base + "metadata/timestamp.json"
            data = self._fetcher.download_bytes(url, MOST_TIMESTAMP_BYTES)
            return data == (self._metadata / "timestamp.json").read_bytes()

    def _read_targets(self) -> Iterator[tuple[str, Target]]:
        """Yield the files of the list that was just checked."""
        metadata = Metadata[Targets].from_bytes((self._metadata / "targets.json").read_bytes())
        for name, info in metadata.signed.targets.items():
            yield name, Target(name, info.length, info.hashes.get("sha256", ""), _custom(info))

    def _expiries(self) -> Iterator[datetime]:
        for role in ROLES:
            data = (self._metadata / f"{role}.json").read_bytes()
            yield Metadata.from_bytes(data).signed.expires

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        """Translate errors of python-tuf and the system inside the block."""
        try:
            yield
        except EdgeRuntimeError:
            raise
        except (tuf.RepositoryError, tuf.DownloadLengthMismatchError) as error:
            what = next(text for kind, text in _CAUSES if isinstance(error, kind))
            raise FleetSignatureError(
                f"{name} {what} ({error})",
                where=self.url,
                remedy="the present version stays in use; ask the owner of the desk",
            ) from error
        except tuf.DownloadError as error:
            cause = error.__cause__ or error
            # urllib3's own text repeats the address, whose path may hold a token.
            reason = getattr(cause, "reason", None) or cause
            raise FleetUnreachableError(
                f"{name} cannot be fetched: {reason}",
                where=self.url,
                remedy="the board continues with what it has, and tries again",
            ) from error
        except OSError as error:
            raise storage_error(error, self._metadata.parent) or error from error


def _custom(info: TargetFile) -> dict[str, Any]:
    custom = info.unrecognized_fields.get("custom")
    return custom if isinstance(custom, dict) else {}

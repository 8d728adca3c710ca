"""Apply versions to a gallery: each time as one transaction that ends at the signed content.

The picture of an operation is the one with its label and its digest. Shared pictures follow the
versions. A pending picture stays until a version names its digest: as accepted, under its label or
another one, or as rejected.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from edge_runtime.errors import FleetContentError, FleetModelError
from edge_runtime.fleet.changes import Changes, Counts
from edge_runtime.fleet.content import shared_digest
from edge_runtime.fleet.kinds import Head, Operation
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.rows import Meta
from edge_runtime.gallery.shared import (
    FleetState,
    count_pending,
    forget_fleet,
    read_fleet,
    write_fleet,
)

Version = tuple[Head, Iterable[Operation]]


@dataclass(frozen=True)
class Applied:
    """The outcome."""

    version: int
    """That the gallery has now."""
    changed: bool
    """False if the gallery had this version, or a version changed nothing."""
    counts: Counts
    pending: int
    """Pictures that no version has named."""


def apply_version(gallery: Gallery, head: Head, operations: Iterable[Operation]) -> Applied:
    """Apply one version; see `apply_versions`."""
    return apply_versions(gallery, [(head, operations)])


def apply_versions(gallery: Gallery, versions: Iterable[Version]) -> Applied:
    """Apply a full file or a delta, and the deltas that follow it, as one transaction.

    A delta whose version the gallery has is skipped. Versions are read one operation at a time.
    Raises `FleetModelError` for codes of another model, `FleetContentError` if a version does not
    follow the gallery's or does not lead to its content, and `FleetFormatError`. The gallery is
    then unchanged.
    """
    meta = Meta(gallery.model_id, gallery.bits)
    with gallery.writing() as connection:
        state = read_fleet(connection)
        changes = Changes(connection, gallery.path, meta)
        last = None
        for head, operations in versions:
            _check_model(gallery, head)
            version = last.version if last else state.version if state else 0
            if head.base is not None and head.version == version:
                continue
            _check_order(gallery, head, version)
            changes.apply(operations, full=head.base is None)
            last = head
        if last is not None:
            _check_newer(gallery, last, state)
            changes.finish()
            content = shared_digest(connection, gallery.path, meta)
            if content != last.content:
                raise FleetContentError(
                    f"version {last.version} leads to the content {content[:12]}, "
                    f"not to {last.content[:12]}",
                    where=gallery.path,
                    remedy="the full file repairs it",
                )
            details = {"applied_at": datetime.now(UTC).isoformat(timespec="seconds")}
            write_fleet(connection, FleetState(last.version, content, details))
            version = last.version
        else:
            version = state.version if state else 0
        pending = count_pending(connection)
    return Applied(version, changes.changed, changes.counts, pending)


def leave(gallery: Gallery) -> None:
    """Forget the fleet. Shared pictures become the gallery's own."""
    with gallery.writing() as connection:
        forget_fleet(connection)


def _check_model(gallery: Gallery, head: Head) -> None:
    if (head.model_id, head.bits) != (gallery.model_id, gallery.bits):
        raise FleetModelError(
            f"version {head.version} is for galleries of model {head.model_id[:12]}, "
            f"this one belongs to {gallery.model_id[:12]}",
            where=gallery.path,
            remedy="the board needs the fleet's model: see docs/FLEET.md",
        )


def _check_order(gallery: Gallery, head: Head, version: int) -> None:
    if head.base is not None and head.base != version:
        raise FleetContentError(
            f"version {head.version} follows {head.base}, but the gallery has {version}",
            where=gallery.path,
            remedy="the full file repairs it",
        )


def _check_newer(gallery: Gallery, head: Head, state: FleetState | None) -> None:
    """Refuse to end at an older version; a full file may begin at one."""
    if state is not None and head.version < state.version:
        raise FleetContentError(
            f"version {head.version} is older than version {state.version}, which it has",
            where=gallery.path,
            remedy="fetch the newest version",
        )

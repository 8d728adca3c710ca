"""Publish the gallery as the next version, and return to an earlier one.

The order makes each version whole: first the desk's own copy, then the signed files, whose
timestamp is the moment of the publication, and then the decisions. After a kill in between, the
next command completes what was signed, and repeats what was not.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from edge_runtime.desk.difference import Content, content_of, difference, rejects
from edge_runtime.desk.folder import Desk
from edge_runtime.desk.record import Record
from edge_runtime.desk.repository import NewFile, Repository
from edge_runtime.desk.store import ACCEPTED, PENDING, REJECTED, Version
from edge_runtime.fleet.content import ALL, content_digest, every_label, read_pictures
from edge_runtime.fleet.operations import (
    Add,
    Head,
    Label,
    Operation,
    Reject,
    write_version,
)
from edge_runtime.gallery.rows import Meta

FLEET = "fleet.json"
DELTA, FULL = "gallery/delta", "gallery/full"
FULL_AT = 0.5
"""A full file follows when the deltas since the last one exceed this share of its size."""


@dataclass(frozen=True)
class _Named:
    """Pictures that the next version names because boards wait for a decision."""

    added: frozenset[bytes]
    rejected: frozenset[bytes]
    reopened: frozenset[bytes]
    """Accepted and removed since; they wait for a new decision."""

    def __bool__(self) -> bool:
        return bool(self.added or self.rejected)


def publish(desk: Desk, note: str = "") -> Version | None:
    """Publish the gallery and the decisions; None if nothing has changed since the last version.

    Raises `EdgeRuntimeError`; whatever happens, boards see the old version or the new one.
    """
    with desk.signing() as repository:
        return publish_with(desk, repository, note)


def signed_version(repository: Repository) -> int:
    """Return the number of the version that boards see; 0 before the first one."""
    return int(json.loads(repository.read(FLEET))["version"])


def catch_up(desk: Desk, repository: Repository) -> int:
    """Record versions that were signed before a kill; return the number of the last one."""
    version, record = signed_version(repository), Record(desk.published)
    for number in range(desk.store.last_version() + 1, version + 1):
        _record(desk, record, number, "")
    return version


def publish_with(desk: Desk, repository: Repository, note: str = "") -> Version | None:
    """See `publish`; `repository` comes from `Desk.signing`."""
    version, record = catch_up(desk, repository), Record(desk.published)
    with desk.gallery(read_only=True) as gallery:
        labels = list(every_label(gallery))
        with gallery.reading() as connection:
            meta = Meta(gallery.model_id, gallery.bits)

            def pictures() -> Iterator[Add]:
                return read_pictures(connection, gallery.path, meta, ALL)

            new = content_of(pictures(), labels)
            labels = [each for each in labels if each.label in new.pictures]
            named = _waiting(desk, new)
            built = _Built.of(record, version, meta, new, named, pictures, labels)
    if built is None:
        _reopen(desk, named.reopened)
        return None
    _write(desk, repository, record, built)
    _reopen(desk, named.reopened)
    return _record(desk, record, built.head.version, note)


@dataclass(frozen=True)
class _Built:
    """The files of a version."""

    head: Head
    delta: bytes
    """Empty if boards must read a full file: at the first version, and for another model."""
    full: bytes
    """Empty if the deltas are still small."""

    @classmethod
    def of(
        cls,
        record: Record,
        version: int,
        meta: Meta,
        new: Content,
        named: _Named,
        pictures: Callable[[], Iterator[Add]],
        labels: list[Label],
    ) -> _Built | None:
        last = record.head(version) if version else None
        same_model = last is not None and (last.model_id, last.bits) == (meta.model_id, meta.bits)
        change = difference(record.content(version) if same_model else content_of(), new)
        if same_model and not change and not named:
            return None
        again = {
            (label, digest)
            for label, known in new.pictures.items()
            for digest in named.added & known.keys()
        }
        change = replace(change, added=change.added | again)
        content = content_digest(pictures(), labels)
        head = Head(version + 1, version, meta.model_id, meta.bits, content)
        delta = b""
        if same_model:
            delta = _packed(
                head, (*change.operations(pictures(), labels), *rejects(named.rejected))
            )
        full = b""
        if not same_model or _is_due(record, version, len(delta)):
            refused = rejects(named.rejected)
            full = _packed(replace(head, base=None), _all(pictures(), labels, refused))
        return cls(head, delta, full)


def _all(
    pictures: Iterable[Add], labels: Iterable[Label], more: Iterable[Operation]
) -> Iterator[Operation]:
    yield from pictures
    yield from labels
    yield from more


def _packed(head: Head, operations: Iterable[Operation]) -> bytes:
    file = io.BytesIO()
    write_version(file, head, operations)
    return file.getvalue()


def _is_due(record: Record, version: int, more: int) -> bool:
    """Return whether a full file is due when a delta of `more` bytes follows `version`."""
    full, *deltas = record.files_to(version)
    return more + sum(path.stat().st_size for path in deltas) > FULL_AT * full.stat().st_size


def _waiting(desk: Desk, new: Content) -> _Named:
    """Return the decisions that the next version of this content must name."""
    present = new.digests()
    added, rejected, reopened = set(), set(), set()
    with desk.store.reading() as connection:
        rows = connection.execute(
            "SELECT digest, state, version FROM proposal WHERE version IS NULL OR again"
        )
        for digest, state, version in rows:
            if digest in present:
                added.add(digest)
            elif state == REJECTED or (state == ACCEPTED and version is None):
                rejected.add(digest)
            elif state == ACCEPTED:
                reopened.add(digest)
    return _Named(frozenset(added), frozenset(rejected), frozenset(reopened))


def _reopen(desk: Desk, digests: Iterable[bytes]) -> None:
    if not digests:
        return
    with desk.store.changing() as connection:
        connection.executemany(
            "UPDATE proposal SET state = ?, decided_as = '', version = NULL, again = 0 "
            "WHERE digest = ? AND again",
            [(PENDING, digest) for digest in digests],
        )


def _write(desk: Desk, repository: Repository, record: Record, built: _Built) -> None:
    """Write the files of a version: the desk's copy first, then the signed ones."""
    number = built.head.version
    shared = {
        "version": number,
        "content": built.head.content,
        "model_id": built.head.model_id,
    }
    new = [
        NewFile(FLEET, json.dumps(desk.settings.advertised(number), sort_keys=True).encode(), {})
    ]
    for path, name, data, base in (
        (record.delta(number), DELTA, built.delta, {"base": number - 1}),
        (record.full(number), FULL, built.full, {}),
    ):
        if data:
            record.write(path, data)
            new.append(NewFile(f"{name}/{number:06d}.jsonl.gz", data, shared | base))
        else:
            record.discard(path)
    repository.publish(new, _outdated(repository) if built.full else ())


def _outdated(repository: Repository) -> set[str]:
    """Return the files that no board needs once another full file is published."""
    numbers = {
        name: int(file.custom["version"])
        for name, file in repository.files.items()
        if name.startswith((f"{DELTA}/", f"{FULL}/")) and file.custom
    }
    last = max((n for name, n in numbers.items() if name.startswith(FULL)), default=0)
    return {
        name
        for name, number in numbers.items()
        if number < last or (number == last and name.startswith(DELTA))
    }


def _record(desk: Desk, record: Record, number: int, note: str) -> Version:
    """Record a signed version and the decisions that it names."""
    added: dict[bytes, str] = {}
    rejected: set[bytes] = set()
    count = 0
    for operation in record.named_in(number):
        count += 1
        if isinstance(operation, Add):
            added[operation.digest] = operation.label
        elif isinstance(operation, Reject):
            rejected.add(operation.digest)
    content = record.content(number)
    size = sum(
        path.stat().st_size for path in (record.delta(number), record.full(number)) if path.exists()
    )
    version = Version(
        number,
        time.time(),
        record.head(number).content,
        content.count(),
        len(content.pictures),
        count,
        size,
        note,
    )
    with desk.store.changing() as connection:
        connection.execute(
            "INSERT OR IGNORE INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            tuple(vars(version).values()),
        )
        update = (
            "UPDATE proposal SET state = ?, decided_as = ?, version = ?, named_at = ?, again = 0, "
            "body = x'' WHERE digest = ?"
        )
        at = version.published_at
        connection.executemany(
            update, ((ACCEPTED, label, number, at, digest) for digest, label in added.items())
        )
        connection.executemany(
            update, ((REJECTED, "", number, at, digest) for digest in rejected - added.keys())
        )
    return version

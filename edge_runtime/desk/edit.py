"""Change the desk's gallery: accept and reject proposals, return to an earlier version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from edge_runtime.desk.difference import content_of, difference
from edge_runtime.desk.folder import Desk
from edge_runtime.desk.intake import parse_body
from edge_runtime.desk.publish import catch_up, publish_with
from edge_runtime.desk.record import Record
from edge_runtime.desk.store import ACCEPTED, PENDING, REJECTED, Proposal, Version, reopen_accepted
from edge_runtime.errors import DeskError, InputError
from edge_runtime.fleet.content import ALL, codes_of, every_label, read_numbered
from edge_runtime.fleet.operations import Add, Label, Relabel, Remove
from edge_runtime.gallery import Gallery, LabelData, LabeledCode, changes, check_label
from edge_runtime.gallery.pictures import DIGEST_BYTES
from edge_runtime.gallery.rows import Meta

SHORTEST_PREFIX = 6
"""Hexadecimal digits of a digest that a command accepts."""
PART = 500
"""Proposals that are accepted in one transaction."""


@dataclass(frozen=True)
class Choice:
    """Which pending proposals a command means: all conditions together."""

    digests: tuple[str, ...] = ()
    """Beginnings of digests, as hexadecimal text."""
    label: str | None = None
    board: str | None = None
    every: bool = False


def chosen(desk: Desk, choice: Choice) -> list[Proposal]:
    """Return the pending proposals that `choice` means; raises `InputError` if there are none."""
    if not (choice.digests or choice.label or choice.board or choice.every):
        raise InputError("name proposals by their digests, --from-label or --board, or give --all")
    pending = desk.store.proposals(PENDING, bodies=False)
    found: list[Proposal] = []
    for prefix in choice.digests:
        text = prefix.lower()
        matches = [each for each in pending if each.digest.hex().startswith(text)]
        if len(text) < SHORTEST_PREFIX or len(matches) != 1:
            raise InputError(
                f"{len(matches)} pending proposals begin with this digest"
                if len(text) >= SHORTEST_PREFIX
                else f"give at least {SHORTEST_PREFIX} digits of the digest",
                where=prefix,
                remedy="see: edge-runtime desk proposals list",
            )
        found += matches
    if not choice.digests:
        found = pending
    label = None if choice.label is None else check_label(choice.label)
    return [
        each for each in found if label in (None, each.label) and choice.board in (None, each.board)
    ]


def accept(desk: Desk, proposals: Sequence[Proposal], label: str | None = None) -> int:
    """Enroll `proposals` in the desk's gallery, all under `label` if it is given; count them.

    Raises `EdgeRuntimeError`. What the gallery has already is accepted as it is there. After a
    kill, an accepted picture is in the gallery, or its proposal is pending. A proposal of another
    model stays pending: its board sends it again, hashed for the model in use.
    """
    target = None if label is None else check_label(label)
    done = 0
    for start in range(0, len(proposals), PART):
        part = list(proposals[start : start + PART])
        with desk.gallery() as gallery:
            codes: list[LabeledCode] = []
            with gallery.reading() as connection:
                known = _present(connection, [each.digest for each in part])
                width = _width(connection)
            bodies = desk.store.pending_bodies([each.digest for each in part], gallery.model_id)
            part = [each for each in part if each.digest in bodies]
            for each in part:
                if each.digest not in known:
                    add = parse_body(bodies[each.digest], gallery.bits)
                    widths = set(map(len, add.features or ())) - {0}
                    width = width or max(widths, default=0)
                    if widths - {width}:  # useless here, and no reason to lose the picture
                        add = replace(add, features=None)
                    codes += codes_of(replace(add, label=target or add.label), gallery.bits)
            gallery.enroll(codes)
        by_label: dict[str, list[bytes]] = {}
        for each in part:
            by_label.setdefault(target or each.label, []).append(each.digest)
        for name, digests in by_label.items():
            done += desk.store.decide(digests, ACCEPTED, name)
    return done


def reject(desk: Desk, proposals: Iterable[Proposal]) -> int:
    """Reject `proposals`; the next version tells the boards. Returns their number."""
    return desk.store.decide((each.digest for each in proposals), REJECTED)


def accept_by_rule(desk: Desk, rule: str) -> int:
    """Accept all pending proposals, those of known labels, or none; return the number."""
    if rule == "none":
        return 0
    pending = desk.store.proposals(PENDING, bodies=False)
    if pending and rule == "known":
        with desk.gallery(read_only=True) as gallery:
            labels = gallery.labels()
        pending = [each for each in pending if each.label in labels]
    return accept(desk, pending) if pending else 0


def _width(connection: sqlite3.Connection) -> int:
    """Return how many features a code of the gallery has; 0 if none has any."""
    row = connection.execute("SELECT length(value) FROM feature LIMIT 1").fetchone()
    return int(row[0]) if row else 0


def _present(connection: sqlite3.Connection, digests: Sequence[bytes]) -> set[bytes]:
    """Return those of `digests` that the gallery has under any label."""
    wanted = set(digests)
    rows = connection.execute(
        "SELECT DISTINCT substr(digest, 1, ?) FROM item WHERE digest NOT NULL", (DIGEST_BYTES,)
    )
    return {digest for (digest,) in rows if digest in wanted}


def roll_back(desk: Desk, number: int, *, discard: bool = False) -> Version | None:
    """Publish a new version with the content of version `number`.

    Returns None if the present version has this content. Without `discard`, a gallery with changes
    that are not published is left as it is. Raises `DeskError`.
    """
    with desk.signing() as repository:
        version, record = catch_up(desk, repository), Record(desk.published)
        if not 1 <= number <= version:
            raise DeskError(
                f"there is no version {number}",
                where=desk.path,
                remedy=f"the versions are 1 to {version}",
            )
        with desk.gallery() as gallery:
            head = record.head(number)
            if (head.model_id, head.bits) != (gallery.model_id, gallery.bits):
                raise DeskError(
                    f"version {number} has codes of another model",
                    where=gallery.path,
                    remedy="roll back the model first: edge-runtime desk roll",
                )
            if not discard:
                _check_unchanged(gallery, record, version)
            _restore(gallery, *record.pictures(number))
        reopen_accepted(desk.store)  # discarded before any version
        return publish_with(desk, repository, f"rolled back to version {number}")


def _check_unchanged(gallery: Gallery, record: Record, version: int) -> None:
    labels = list(every_label(gallery))
    with gallery.reading() as connection:
        present = content_of((add for _, add in _stored(gallery, connection)), labels)
    if difference(record.content(version), present):
        raise DeskError(
            "the gallery has changes that are not published",
            where=gallery.path,
            remedy="publish them first, or give --discard-changes",
        )


def _restore(gallery: Gallery, pictures: list[Add], labels: list[Label]) -> None:
    """Give the gallery this content, in one transaction."""
    target = content_of(pictures, labels)
    present_labels = list(every_label(gallery))
    with gallery.writing() as connection:
        ids: dict[tuple[str, bytes], list[int]] = {}
        present = content_of()
        for numbers, add in _stored(gallery, connection):
            ids[add.label, add.digest] = numbers
            present.apply(add)
        for each in present_labels:
            if each.label in present.pictures:
                present.apply(each)
        change = difference(present, target)
        for operation in change.operations(pictures, labels):
            match operation:
                case Add(label, digest):
                    if old := ids.get((label, digest)):
                        changes.delete(connection, None, old)
                    codes = codes_of(operation, gallery.bits)
                    changes.insert(connection, changes.Batch(codes, {}, gallery.bits))
                case Remove(label, None):
                    changes.delete(connection, label, [])
                case Remove(label, digest) if digest is not None:
                    changes.delete(connection, None, ids.pop((label, digest)))
                case Relabel(old_label, new_label):
                    changes.relabel(connection, old_label, new_label)
                    for label, digest in [key for key in ids if key[0] == old_label]:
                        numbers = ids.pop((label, digest))
                        ids.setdefault((new_label, digest), numbers)
                case Label(label, payload, thumbnail):
                    data = LabelData(payload, thumbnail)
                    changes.set_label_data(connection, label, data)


def _stored(gallery: Gallery, connection: sqlite3.Connection) -> Iterator[tuple[list[int], Add]]:
    meta = Meta(gallery.model_id, gallery.bits)
    return read_numbered(connection, gallery.path, meta, ALL)

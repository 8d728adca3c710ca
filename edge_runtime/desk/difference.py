"""The operations that lead from one content to another."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from edge_runtime.fleet.operations import Add, Label, Operation, Reject, Relabel, Remove, to_line

V = TypeVar("V")


def fingerprint(operation: Add | Label) -> bytes:
    """Return a digest of a picture, or of a label's data, whatever its label is."""
    return hashlib.sha256(to_line(replace(operation, label=""), source=False)).digest()


@dataclass
class Contents(Generic[V]):
    """What a version holds: what `keep` makes of each picture and of each label's data."""

    keep: Callable[[Add | Label], V]
    pictures: dict[str, dict[bytes, V]] = field(default_factory=dict)
    """By label and digest."""
    labels: dict[str, V] = field(default_factory=dict)
    """Only labels that have pictures and data."""

    def apply(self, operation: Operation) -> None:
        """Do what a board does with `operation`."""
        match operation:
            case Add(label, digest):
                self.pictures.setdefault(label, {})[digest] = self.keep(operation)
            case Remove(label, None):
                self.pictures.pop(label, None)
                self.labels.pop(label, None)
            case Remove(label, digest) if digest is not None:
                self.pictures.get(label, {}).pop(digest, None)
                self._forget_if_empty(label)
            case Relabel(old, new) if old != new and old in self.pictures:
                moved = self.pictures.pop(old)
                self.pictures[new] = moved | self.pictures.get(new, {})
                self._forget_if_empty(old)
            case Label(label, payload, thumbnail):
                if payload or thumbnail:
                    self.labels[label] = self.keep(operation)
                else:
                    self.labels.pop(label, None)

    def _forget_if_empty(self, label: str) -> None:
        if not self.pictures.get(label):
            self.pictures.pop(label, None)
            self.labels.pop(label, None)

    def digests(self) -> set[bytes]:
        """Return the digests of all pictures."""
        return {digest for each in self.pictures.values() for digest in each}

    def count(self) -> int:
        """Return the number of pictures."""
        return sum(map(len, self.pictures.values()))


Content = Contents[bytes]
"""Fingerprints. It takes about 200 bytes of memory per picture."""


def content_of(pictures: Iterable[Add] = (), labels: Iterable[Label] = ()) -> Content:
    """Return the content of a gallery."""
    content = Content(fingerprint)
    for picture in pictures:
        content.apply(picture)
    for label in labels:
        if label.label in content.pictures:
            content.apply(label)
    return content


@dataclass(frozen=True)
class Difference:
    """What leads from one content to another: operations, and the pictures to add after them."""

    before: tuple[Operation, ...]
    """Labels that were renamed, and what is removed."""
    added: frozenset[tuple[str, bytes]]
    """Label and digest of each picture to add."""
    label_data: frozenset[str]
    """Labels whose data is to be sent."""
    removed_data: frozenset[str]
    """Labels that have no data any more."""

    def __bool__(self) -> bool:
        return bool(self.before or self.added or self.label_data or self.removed_data)

    def operations(self, pictures: Iterable[Add], labels: Iterable[Label]) -> Iterator[Operation]:
        """Yield the operations, with what is added taken from the new content."""
        yield from self.before
        for picture in pictures:
            if (picture.label, picture.digest) in self.added:
                yield picture
        yield from (Label(label) for label in sorted(self.removed_data))
        yield from (each for each in labels if each.label in self.label_data)


def difference(old: Content, new: Content) -> Difference:
    """Return what leads from `old` to `new`; `old` is changed."""
    before: list[Operation] = []

    def do(operation: Operation) -> None:
        before.append(operation)
        old.apply(operation)

    for label, target in _renamed(old, new):
        if label in old.labels:  # data does not move, and must not stay
            do(Label(label))
        do(Relabel(label, target))
    for label in sorted(old.pictures):
        if label not in new.pictures:
            if label in old.labels:
                do(Label(label))
            do(Remove(label))
            continue
        gone = old.pictures[label].keys() - new.pictures[label].keys()
        for digest in sorted(gone):
            do(Remove(label, digest))
    added = frozenset(
        (label, digest)
        for label, pictures in new.pictures.items()
        for digest, print_ in pictures.items()
        if old.pictures.get(label, {}).get(digest) != print_
    )
    changed = {label for label, print_ in new.labels.items() if old.labels.get(label) != print_}
    removed = {label for label in old.labels if label not in new.labels}
    return Difference(tuple(before), added, frozenset(changed), frozenset(removed))


def _renamed(old: Content, new: Content) -> Iterator[tuple[str, str]]:
    """Yield the labels that are gone, and those that have most of their pictures now."""
    gone = [label for label in sorted(old.pictures) if label not in new.pictures]
    if not gone:
        return
    owners: dict[bytes, list[str]] = {}
    wanted = {digest for label in gone for digest in old.pictures[label]}
    for label, pictures in new.pictures.items():
        for digest in pictures:
            if digest in wanted:
                owners.setdefault(digest, []).append(label)
    for label in gone:
        pictures = dict(old.pictures[label])
        votes = Counter(
            owner
            for digest, print_ in pictures.items()
            for owner in owners.get(digest, ())
            if new.pictures[owner][digest] == print_
            and old.pictures.get(owner, {}).get(digest) != print_
        )
        target, count = max(votes.items(), key=lambda each: (each[1], each[0]), default=("", 0))
        if 2 * count > len(pictures):
            yield label, target


def rejects(digests: Iterable[bytes]) -> list[Operation]:
    """Return the operations that reject these pictures."""
    return [Reject(digest) for digest in sorted(digests)]

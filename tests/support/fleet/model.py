"""What versions do to a gallery, said again with dicts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edge_runtime.fleet.operations import Add, Label, Operation, Reject, Relabel, Remove

Key = tuple[str, bytes]


class Model:
    """Pictures by label and digest, and the data of labels by name."""

    def __init__(self) -> None:
        self.shared: dict[Key, Add] = {}
        self.pending: set[Key] = set()
        self.data: dict[str, Label] = {}

    def enroll(self, add: Add) -> bool:
        """Return whether the picture is new."""
        key = (add.label, add.digest)
        new = key not in self.shared and key not in self.pending
        if new:
            self.pending.add(key)
        return new

    def apply(self, operations: Iterable[Operation], *, full: bool) -> None:
        before = dict(self.shared)
        if full:
            self.shared, self.data = {}, {}
        for operation in operations:
            match operation:
                case Add(label, digest):
                    key = (label, digest)
                    if key not in self.shared and not (full and key in before):
                        self.drop(digest)
                    self.shared[key] = operation
                    self.pending.discard(key)
                case Remove(label, digest):
                    self.shared = {
                        key: add
                        for key, add in self.shared.items()
                        if key[0] != label or digest not in (None, key[1])
                    }
                case Relabel(old, new) if old != new:
                    self.relabel(old, new)
                case Label(label):
                    if any(key[0] == label for key in self.shared):
                        self.data[label] = operation
                case Reject(digest):
                    self.drop(digest)
        used = {label for label, _ in self.shared}
        self.data = {label: data for label, data in self.data.items() if label in used}

    def drop(self, digest: bytes) -> None:
        self.pending = {key for key in self.pending if key[1] != digest}

    def relabel(self, old: str, new: str) -> None:
        for key, add in [*self.shared.items()]:
            if key[0] == old:
                del self.shared[key]
                self.pending.discard((new, key[1]))
                self.shared.setdefault((new, key[1]), replace(add, label=new))
        for key in [*self.pending]:
            if key[0] == old:
                self.pending.discard(key)
                if (new, key[1]) not in self.shared:
                    self.pending.add((new, key[1]))

    def pictures(self) -> list[Add]:
        return list(self.shared.values())

    def shared_labels(self) -> list[Label]:
        return [data for data in self.data.values() if data.payload or data.thumbnail]

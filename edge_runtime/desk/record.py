"""Every version as it was published, in the desk's own folder, to compare with and to return to.

`published/delta/NNNNNN.jsonl.gz` is what led to a version, and `published/full/NNNNNN.jsonl.gz` all
of it, where one was made. A file is only believed if its version is signed: one that was written
before a kill is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edge_runtime.desk.difference import Content, Contents, V, content_of
from edge_runtime.errors import DeskError, FleetFormatError, storage_error
from edge_runtime.fleet.operations import Add, Head, Label, Operation, read_version
from edge_runtime.system.durable import make_folder, write_file
from edge_runtime.system.files import open_regular

_REMEDY = "restore the folder published from a backup"


class Record:
    """The folder of the published versions."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def delta(self, version: int) -> Path:
        """Return the file that leads to `version` from the one before."""
        return self._folder / "delta" / f"{version:06d}.jsonl.gz"

    def full(self, version: int) -> Path:
        """Return the file of all of `version`, which may not exist."""
        return self._folder / "full" / f"{version:06d}.jsonl.gz"

    def write(self, path: Path, data: bytes) -> None:
        """Write a file durably; raises `StorageError`."""
        try:
            make_folder(path.parent)
            write_file(path, data)
        except OSError as error:
            raise storage_error(error, path) or error from error

    def discard(self, path: Path) -> None:
        """Remove a file that an earlier attempt left; raises `StorageError`."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, path) or error from error

    def files_to(self, version: int) -> list[Path]:
        """Return the files that lead to `version`, a full one first; raises `DeskError`."""
        at = next((n for n in range(version, 0, -1) if self.full(n).exists()), None)
        if at is None:
            raise DeskError(
                f"version {version} is not recorded", where=self._folder, remedy=_REMEDY
            )
        return [self.full(at), *map(self.delta, range(at + 1, version + 1))]

    def operations(self, path: Path) -> Iterator[Head | Operation]:
        """Yield the head and the operations of a file; raises `DeskError` or `StorageError`."""
        try:
            with open_regular(path) as file:
                head, operations = read_version(file)
                yield head
                yield from operations
        except OSError as error:
            raise storage_error(error, path) or error from error
        except FleetFormatError as error:
            raise DeskError(f"damaged: {error}", where=path, remedy=_REMEDY) from error

    def content(self, version: int) -> Content:
        """Return the content of a version; an empty one for 0. Raises as `operations` does."""
        return self._replayed(version, content_of())

    def pictures(self, version: int) -> tuple[list[Add], list[Label]]:
        """Return the pictures and the data of labels of a version; see `content`."""
        everything = self._replayed(version, Contents[Add | Label](lambda operation: operation))
        adds = [
            replace(add, label=label)
            for label, pictures in everything.pictures.items()
            for add in pictures.values()
            if isinstance(add, Add)
        ]
        return adds, [each for each in everything.labels.values() if isinstance(each, Label)]

    def _replayed(self, version: int, content: Contents[V]) -> Contents[V]:
        for path in self.files_to(version) if version else ():
            for operation in self.operations(path):
                if not isinstance(operation, Head):
                    content.apply(operation)
        return content

    def head(self, version: int) -> Head:
        """Return the head of a version; raises as `operations` does."""
        path = self.files_to(version)[-1]
        head = next(self.operations(path))
        assert isinstance(head, Head)
        return head

    def named_in(self, version: int) -> Iterator[Operation]:
        """Yield the operations that were published as `version`."""
        path = self.delta(version)
        for operation in self.operations(path if path.exists() else self.full(version)):
            if not isinstance(operation, Head):
                yield operation

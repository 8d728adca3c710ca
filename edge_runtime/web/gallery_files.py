"""The gallery as files: copies to download, and one that takes its place.

The files lie beside the gallery, since the memory of a small board cannot hold them, and its
folder for temporary files may be memory. Each disappears when it has been sent, whatever ends.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from edge_runtime.errors import (
    BusyError,
    GalleryBusyError,
    GalleryDamagedError,
    GalleryError,
    GalleryNotFoundError,
    InputError,
)
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.backup import backup, restore
from edge_runtime.gallery.exchange.export import export_lines
from edge_runtime.gallery.schema import translated
from edge_runtime.gallery.upkeep.first_query import prepare
from edge_runtime.model import ModelInfo
from edge_runtime.system.durable import sync_folder
from edge_runtime.system.files import discard
from edge_runtime.web.photos import UploadError

T = TypeVar("T")
BLOCK = 1 << 18
PAUSE_S = 20.0
"""Longest time without a byte of an upload."""
MOST_AT_ONCE = 2
"""Downloads at a time."""
_BESIDE = ("-wal", "-shm", "-journal", ".codes")
"""What SQLite and the gallery write beside a gallery file."""


class GalleryFiles:
    """Copies of the gallery at `path()`, made on a thread of their own."""

    def __init__(self, path: Callable[[], Path], most_bytes: int) -> None:
        """`most_bytes` is the limit of an upload."""
        self._path = path
        self.most_bytes = most_bytes
        self._downloads = 0
        self._uploading = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="files")
        self._thread.submit(self._clean).add_done_callback(lambda done: done.exception())

    def close(self, wait_s: float) -> None:
        """Refuse new files and wait up to `wait_s` for the one that is written."""
        last = self._thread.submit(int)
        self._thread.shutdown(wait=False)
        wait([last], wait_s)

    @property
    def previous(self) -> Path:
        """The gallery that the last restore replaced; it may not exist."""
        return _beside(self._path(), "previous")

    async def backup(self) -> tuple[int, AsyncIterator[bytes]]:
        """Return the size and the content of a backup of one generation."""
        return await self._download(self._write_backup)

    async def export(self) -> tuple[int, AsyncIterator[bytes]]:
        """Return the size and the content of an export as JSON lines."""
        return await self._download(self._write_export)

    async def upload(self, request: Request) -> Path:
        """Write the body of `request` to a file beside the gallery; the caller discards it.

        Raises `UploadError`, `BusyError` or `StorageError`.
        """
        if self._uploading:
            raise BusyError("another gallery is being received", remedy="try again in a minute")
        self._uploading = True
        path = self._temporary("upload")
        try:
            limits = Limits(self.most_bytes, self._too_large())
            await receive_file(request, path, limits, self._thread)
        except BaseException:
            discard(path)
            raise
        finally:
            self._uploading = False
        return path

    def discard(self, path: Path) -> None:
        """Delete an uploaded file, and what SQLite wrote beside it."""
        for suffix in ("", *_BESIDE):
            discard(path.with_name(path.name + suffix))

    def _too_large(self) -> UploadError:
        return UploadError(
            413,
            f"larger than {self.most_bytes} bytes",
            "raise http.max_restore_mb, or use edge-runtime gallery restore on the board",
        )

    async def _download(self, write: Callable[[Path], None]) -> tuple[int, AsyncIterator[bytes]]:
        if self._downloads >= MOST_AT_ONCE:
            raise BusyError("too many downloads at once", remedy="try again in a minute")
        self._downloads += 1
        try:
            file = await self._do(lambda: self._written(write))
        except BaseException:
            self._downloads -= 1
            raise
        return os.fstat(file.fileno()).st_size, self._read(file)

    async def _read(self, file: IO[bytes]) -> AsyncIterator[bytes]:
        try:
            while part := await self._do(lambda: file.read(BLOCK)):
                yield part
        finally:
            file.close()
            self._downloads -= 1

    async def _do(self, work: Callable[[], T]) -> T:
        return await _on(self._thread, work)

    # -- on the thread --------------------------------------------------------------------------

    def _written(self, write: Callable[[Path], None]) -> IO[bytes]:
        """Return a file that has no name any longer, so that nothing of it can remain."""
        path = self._temporary("download")
        try:
            write(path)
            return path.open("rb")
        finally:
            discard(path)

    def _write_backup(self, target: Path) -> None:
        backup(self._path(), target)

    def _write_export(self, target: Path) -> None:
        with translated(target), target.open("xb") as file:
            export_lines(self._path(), file)

    def _temporary(self, kind: str) -> Path:
        return temporary(self._path(), kind)

    def _clean(self) -> None:
        """Delete what a process that was killed left behind."""
        path = self._path()
        for kind in ("upload", "download"):
            for each in path.parent.glob(f"{path.name}.*-*.{kind}*"):
                writer = each.name.removeprefix(f"{path.name}.").partition("-")[0]
                if not Path("/proc", writer).exists() or int(writer) == os.getpid():
                    discard(each)


@dataclass(frozen=True)
class Limits:
    """Limits of an upload to a file."""

    most_bytes: int
    too_large: UploadError
    """What is raised for more bytes."""
    most_s: float | None = None
    """Seconds that it may take in all."""


async def receive_file(
    request: Request, path: Path, limits: Limits, thread: ThreadPoolExecutor
) -> None:
    """Write the body of `request` to the new file `path`, on `thread`; the caller discards it.

    Raises `UploadError` or `StorageError`.
    """
    with translated(path):
        file = await _on(thread, lambda: path.open("xb"))

    async def write(part: bytes) -> None:
        with translated(path):
            await _on(thread, partial(file.write, part))

    try:
        await receive_body(request, limits, write)
        with translated(path):
            await _on(thread, file.close)
    finally:
        with suppress(OSError):
            file.close()


async def receive_body(
    request: Request, limits: Limits, write: Callable[[bytes], Awaitable[None]] | None = None
) -> None:
    """Pass the body of `request` to `write`, or discard it; raises `UploadError`."""
    size = 0
    body = request.stream()
    claimed = request.headers.get("content-length", "0")
    if claimed.isdecimal() and int(claimed) > 2 * limits.most_bytes:
        raise limits.too_large
    try:
        async with asyncio.timeout(limits.most_s):
            while size <= 2 * limits.most_bytes:
                async with asyncio.timeout(PAUSE_S):
                    part = await anext(body, None)
                if part is None:
                    break
                size += len(part)
                if write is not None and size <= limits.most_bytes:
                    await write(part)
    except TimeoutError:
        raise UploadError(408, "the upload takes too long, or has stopped") from None
    except ClientDisconnect:
        raise UploadError(400, "the connection was closed") from None
    if size > limits.most_bytes:
        raise limits.too_large


async def _on(thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.wrap_future(thread.submit(work))


def temporary(gallery: Path, kind: str) -> Path:
    """Return a new path beside the gallery for a file that this process writes."""
    return _beside(gallery, f"{os.getpid()}-{os.urandom(4).hex()}.{kind}")


def take_place(path: Path, source: Path, model: ModelInfo) -> dict[str, Any]:
    """Replace the content of the gallery `path` by that of `source`, and keep the old one.

    The old one becomes `path` + ".previous", unless it is corrupt or missing. Raises `InputError`
    if `source` cannot be used; nothing has changed then.
    """
    try:
        Gallery(source, model, read_only=True).close()  # before a copy is made
    except GalleryBusyError:
        raise
    except GalleryError as error:
        raise _unusable(error) from error
    kept = _beside(path, "previous.new")
    discard(kept)
    with suppress(GalleryDamagedError, GalleryNotFoundError):
        backup(path, kept)
    try:
        moved = restore(path, source)
    except GalleryBusyError:
        discard(kept)
        raise
    except GalleryError as error:
        discard(kept)
        raise _unusable(error) from error
    except BaseException:
        discard(kept)
        raise
    with translated(path):
        if kept.exists():
            kept.replace(_beside(path, "previous"))
            sync_folder(path.parent)
    prepare(path)
    return {"corrupt_file": None if moved is None else str(moved)}


def _unusable(error: GalleryError) -> InputError:
    return InputError(
        f"this file cannot take the place of the gallery: {error.what}",
        remedy="choose a backup of this board's model",
    )


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}.{ending}")


def about(path: Path) -> dict[str, Any] | None:
    """Return the time and size of a file for the page; None if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    time = datetime.fromtimestamp(found.st_mtime, UTC).isoformat(timespec="seconds")
    return {"time": time, "bytes": found.st_size}

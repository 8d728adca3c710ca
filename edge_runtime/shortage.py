"""Recognize errors whose cause is the system: no memory, threads or open files, or noexec."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from edge_runtime.errors import EdgeRuntimeError, ResourceError, StorageError

_NO_MEMORY = (
    "bad_alloc",
    "cannot allocate memory",
    "insufficient memory",
    "failed to allocate memory",
    "failed to map segment from shared object",
    "memory allocation failed",
    "out of memory",
)
"""Texts of errors that libraries raise without a type of their own, in lower case."""
_CV_NO_MEMORY = -4
_LITTLE_BYTES = 64 << 20
_FEW_FILES = 4
_UNMAPPED = r"(/.*?): failed to map segment from shared object"


def shortage(
    error: BaseException, where: object = "", *, busy: bool = True
) -> EdgeRuntimeError | None:
    """Return the error to report if the system's limits caused `error`, else None.

    It is a `ResourceError`, or a `StorageError` for a library on a disk that is mounted noexec.
    `busy`: whether EAGAIN tells that there are too many threads. A lock that is held gives it, too.
    """
    for cause in _causes(error):
        if isinstance(cause, ResourceError):
            return cause
        if isinstance(cause, OSError):
            if cause.errno in (errno.EMFILE, errno.ENFILE):
                return ResourceError(
                    "too many open files", where=where, remedy="raise the limit: ulimit -n"
                )
            if busy and cause.errno == errno.EAGAIN and not cause.filename:
                return _no_threads(where)
        if isinstance(cause, RuntimeError) and "can't start new thread" in str(cause):
            return _no_threads(where)
        library = re.match(_UNMAPPED, str(cause))
        if library and is_noexec(library[1]):
            return noexec_error(library[1])
        if _is_memory(cause):
            return _no_memory(where)
    return None


def check_memory(count: int, where: object) -> None:
    """Raise `ResourceError` if `count` bytes cannot be allocated.

    Decoders report a lack of memory as damage; this tells the two apart.
    """
    import mmap

    try:
        if count:
            mmap.mmap(-1, count).close()  # reserves the memory, and touches none of it
    except (OSError, MemoryError) as error:
        raise _no_memory(where) from error


def check_limits(where: object) -> None:
    """Raise `ResourceError` if this process can have almost no further memory or open files.

    Libraries that open a file report both as damage of the file.
    """
    check_memory(_LITTLE_BYTES, where)
    opened: list[int] = []
    try:
        opened += (os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(_FEW_FILES))
    except OSError as error:
        raise shortage(error, where) or error from error
    finally:
        for each in opened:
            os.close(each)


def is_noexec(path: str | os.PathLike[str]) -> bool:
    """Return whether the file `path` lies on a disk from which nothing may be run."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)
    except OSError:
        return False


def noexec_error(path: str | os.PathLike[str]) -> StorageError:
    """Return the error for a program or library on such a disk."""
    return StorageError(
        "its disk is mounted noexec, so nothing on it can be run",
        where=path,
        remedy="move it to another disk, or mount this one with exec",
    )


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    if type(error).__module__.startswith("cv2") and getattr(error, "code", 0) == _CV_NO_MEMORY:
        return True
    text = str(error).lower()
    return any(each in text for each in _NO_MEMORY)


def _no_memory(where: object) -> ResourceError:
    return ResourceError(
        "too little memory",
        where=where,
        remedy="close other programs, or raise the memory limit",
    )


def _no_threads(where: object) -> ResourceError:
    return ResourceError(
        "the system allows no more threads or processes",
        where=where,
        remedy="raise the limit: ulimit -u, or TasksMax of the service",
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield `error` and what it was raised from."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)

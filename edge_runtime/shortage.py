"""Recognize errors whose cause is the system's limits: memory, threads, open files."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from edge_runtime.errors import ResourceError

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


def shortage(error: BaseException, where: object = "") -> ResourceError | None:
    """Return `error` as a `ResourceError` if the system's limits caused it, else None."""
    for cause in _causes(error):
        if isinstance(cause, ResourceError):
            return cause
        if isinstance(cause, OSError):
            if cause.errno in (errno.EMFILE, errno.ENFILE):
                return ResourceError(
                    "too many open files", where=where, remedy="raise the limit: ulimit -n"
                )
            if cause.errno == errno.EAGAIN and not cause.filename:
                return _no_threads(where)
        if isinstance(cause, RuntimeError) and "can't start new thread" in str(cause):
            return _no_threads(where)
        if _is_memory(cause):
            return ResourceError(
                "too little memory",
                where=where,
                remedy="close other programs, or raise the memory limit",
            )
    return None


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    if type(error).__module__.startswith("cv2") and getattr(error, "code", 0) == _CV_NO_MEMORY:
        return True
    text = str(error).lower()
    return "not permitted" not in text and any(each in text for each in _NO_MEMORY)


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

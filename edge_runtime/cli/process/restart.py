"""Starts the command again if SQLite loses the memory that its processes share.

SQLite maps NAME-shm, its index of the log. If this file is truncated or its disk fails, what the
process knows about the log is gone, and another process may know something else already. Nothing
may be read or written with it, and even closing the file could lose changes. A new start of the
same program rebuilds the index from the log, and is as safe as after a kill.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.gallery import Gallery
    from edge_runtime.model import ModelInfo

_VARIABLE = "EDGE_RUNTIME_STARTED_AGAIN_S"
_LAST_START = os.environ.pop(_VARIABLE, "")
_once = False


def may_start_again(*, service: bool = False) -> None:
    """Allow this process to start again: a service always, a command until it prints something.

    A command that allows it must change nothing, and must not read its standard input. Each process
    starts again only if it has run for 10 seconds or has not done so before.
    """
    from edge_runtime.lookup.compiled import hamming

    global _once
    if hamming is None or not sys.executable:
        return
    _once = not service
    arguments = [sys.executable, *sys.orig_argv[1:]]
    variables = [f"{_VARIABLE}={0:012}".encode()]
    variables += [name + b"=" + value for name, value in os.environb.items()]
    started_s = int(_LAST_START) if _LAST_START.isascii() and _LAST_START.isdecimal() else 0
    hamming.start_again([os.fsencode(one) for one in arguments], variables, min(started_s, 2**40))


def open_to_read(path: Path, model: ModelInfo | None = None) -> Gallery:
    """Open a gallery for a command that changes nothing, and may therefore start again."""
    from edge_runtime.gallery import Gallery

    may_start_again()
    return Gallery(path, model, read_only=True)


def has_printed() -> None:
    """Do not start a command again whose output would be printed twice."""
    global _once
    if _once:
        from edge_runtime.lookup.compiled import hamming

        _once = False
        hamming.start_again(None, [], 0)

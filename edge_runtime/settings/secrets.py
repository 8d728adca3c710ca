"""Read the files that hold passwords, tokens and keys."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edge_runtime.errors import ConfigError, storage_error

MAX_BYTES = 1 << 16
SHORTEST_TOKEN = 16
"""Characters. A token of 16 random letters and digits has more than 80 bits."""
_OPEN_TO_OTHERS = stat.S_IRWXO | stat.S_IWGRP
_REMEDY = "check its path and permissions"


def read_secret(path: str) -> str:
    """Return the first line of the file `path`, a password or token; raises `ConfigError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:  # a FIFO without a writer must not block
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError("not a regular file", where=path, remedy=_REMEDY)
            lines = file.read(MAX_BYTES).decode().splitlines()
    except (OSError, ValueError) as error:  # not UTF-8 is a ValueError
        fault = storage_error(error, path) if isinstance(error, OSError) else None
        raise ConfigError(
            fault.what if fault else "not UTF-8 text", where=path, remedy=_REMEDY
        ) from error
    if not lines or not lines[0].strip():
        raise ConfigError(
            "the first line is empty", where=path, remedy="put the secret on the first line"
        )
    return lines[0].strip()


def read_token(path: str) -> str:
    """Return the token in the file `path`, which others cannot read; raises `ConfigError`."""
    token = read_secret(path)
    check_private(path)
    if len(token) < SHORTEST_TOKEN:
        raise ConfigError(
            f"the token has {len(token)} characters, at least {SHORTEST_TOKEN} are required",
            where=path,
            remedy=f"make one with: openssl rand -hex 16 > {path}",
        )
    if not (token.isascii() and token.isprintable()):
        raise ConfigError(
            "the token contains characters that cannot be sent in a header",
            where=path,
            remedy="use ASCII letters and digits",
        )
    return token


def check_private(path: str) -> None:
    """Raise `ConfigError` if other users can read the file `path`, or its group can change it."""
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        fault = storage_error(error, path)
        raise ConfigError(
            fault.what if fault else str(error), where=path, remedy=_REMEDY
        ) from error
    if mode & _OPEN_TO_OTHERS:
        raise ConfigError(
            f"other users can read or change this secret (mode {mode & 0o777:04o})",
            where=path,
            remedy=f"chmod 600 {path}",
        )

"""Files in sealed memory: what was checked is what is loaded.

A file on a disk can change between its check and its use. A copy in an anonymous file of this
process, sealed against changes (memfd_create(2)), cannot.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from threading import Lock

from edge_runtime.errors import TrustStoreError
from edge_runtime.system.files import open_regular

_CHUNK = 1 << 20
_copies: dict[str, Path] = {}
"""SHA-256 to the path of the copy. Copies stay open, so that a path never gets other content:
dlopen recognizes a library by its path."""
_lock = Lock()


class SealedFile:
    """An anonymous file with the given content, for as long as it is open."""

    def __init__(self, name: str, content: bytes = b"") -> None:
        try:
            self.descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except OSError as error:
            raise TrustStoreError(
                f"this kernel gives no memory for signed files: {error.strerror}",
                where=name,
                remedy="check the sysctl vm.memfd_noexec and the limit of open files",
            ) from error
        self.path = Path(f"/proc/self/fd/{self.descriptor}")
        try:
            self.append(content)
        except OSError:
            self.close()
            raise

    def append(self, content: bytes) -> None:
        """Write `content` at the end."""
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]

    def seal(self) -> None:
        """Make further changes impossible."""
        import fcntl  # only Linux has what is used here

        changes = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, changes | fcntl.F_SEAL_SEAL)

    def close(self) -> None:
        """Free the memory."""
        os.close(self.descriptor)


def private_copy(path: Path, sha256: str, size_bytes: int) -> Path | None:
    """Return the path of a sealed copy of `path`; None unless it has this digest and size.

    The copy lives as long as the process. Raises `OSError` if the file cannot be read.
    """
    with _lock:
        if sha256 in _copies:
            return _copies[sha256]
        copy, digest, copied = SealedFile(path.name), hashlib.sha256(), 0
        try:
            with open_regular(path) as source:
                while copied <= size_bytes and (chunk := source.read(_CHUNK)):
                    digest.update(chunk)
                    copy.append(chunk)
                    copied += len(chunk)
            copy.seal()
        except OSError:
            copy.close()
            raise
        if copied != size_bytes or digest.hexdigest() != sha256:
            copy.close()
            return None
        return _copies.setdefault(sha256, copy.path)

"""Fetch the fleet's files over HTTP or from a folder, within limits of size and time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from edge_runtime import __version__
from edge_runtime.errors import ExtraMissingError, InputError
from edge_runtime.redaction import redact

try:
    from tuf.api.exceptions import (
        DownloadError,
        DownloadHTTPError,
        DownloadLengthMismatchError,
        SlowRetrievalError,
    )
    from tuf.ngclient import FetcherInterface
    from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher
except ImportError as error:
    raise ExtraMissingError(
        f"python-tuf cannot be imported: {error}",
        where="fleet",
        remedy="pip install edge-runtime[fleet]",
    ) from error

GAP_S = 20
"""Limit for a connection, and between two parts of a file."""
FILE_S = 60.0
"""Limit for a small file. A large one gets more, at `LEAST_RATE`."""
LEAST_RATE = 2_000
"""Bytes per second."""
CHUNK_BYTES = 1 << 16


def base_of(url: str) -> str:
    """Return the address of the fleet's folder with a slash at its end; raises `InputError`.

    A path becomes a file:// address.
    """
    try:
        scheme = urlsplit(url).scheme if "://" in url else ""
    except ValueError:  # such as http://[::1
        scheme = "unusable"
    if not scheme and url:
        return Path(url).absolute().as_uri().rstrip("/") + "/"
    if scheme in ("http", "https", "file"):
        return url.rstrip("/") + "/"
    raise InputError(
        "the fleet's files are at an http://, https:// or file:// address, or in a folder",
        where=redact(url) or "URL",
        remedy="copy the address from the desk",
    )


class _Http(Urllib3Fetcher):
    """Gives the bytes as they are stored, also if the server says that they are compressed."""

    def _chunks(self, response: Any) -> Iterator[bytes]:
        # read1 returns what has arrived, so that a slow server cannot hold the caller.
        read = getattr(response, "read1", response.read)
        try:
            while data := read(self.chunk_size, decode_content=False):
                yield data
        except Exception as error:  # urllib3's
            raise DownloadError(f"the connection broke: {error}") from error
        finally:
            response.close()  # the rest of an answer must not be taken for the next one


class Fetcher(FetcherInterface):
    """Fetches from http(s):// and file:// addresses; temporary files are in `folder`."""

    def __init__(self, folder: Path) -> None:
        """`folder` exists and can be written."""
        self._folder = folder
        agent = f"edge-runtime/{__version__}"
        self._http = _Http(socket_timeout=GAP_S, chunk_size=CHUNK_BYTES, app_user_agent=agent)

    def _fetch(self, url: str) -> Iterator[bytes]:
        if url.startswith("file://"):
            return _read(Path(unquote(urlsplit(url).path)))
        return self._http._fetch(url)

    def _fetched(self, url: str) -> Generator[bytes, None, None]:
        yield from self.fetch(url)

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        """Yield a temporary file with the bytes at `url`.

        Unlike that of python-tuf, it ends a server that is too slow, and does not fill /tmp, which
        is memory on many boards. Raises `DownloadError`.
        """
        begin, received = time.monotonic(), 0
        with tempfile.TemporaryFile(dir=self._folder) as file:
            with closing(self._fetched(url)) as chunks:
                for chunk in chunks:
                    received += len(chunk)
                    if received > max_length:
                        raise DownloadLengthMismatchError(f"more than {max_length} bytes")
                    if time.monotonic() - begin > FILE_S + received / LEAST_RATE:
                        raise SlowRetrievalError("the server is too slow")
                    file.write(chunk)
            file.seek(0)
            yield file


def _read(path: Path) -> Iterator[bytes]:
    try:
        file = path.open("rb")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise DownloadHTTPError(f"no such file: {path}", 404) from error
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk

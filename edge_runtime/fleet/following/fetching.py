"""Fetch the fleet's files over HTTP or from a folder, within limits of size and time."""

from __future__ import annotations

import logging
import re
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
from edge_runtime.system.files import open_regular

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
PART = ".part"
"""Ends the name of a file that is not complete yet. The rest is fetched at the next try."""
_DIGEST = re.compile(r"[0-9a-f]{64}(?=\.)")


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

    def rest_of(self, url: str, begin: int) -> tuple[int, Iterator[bytes]]:
        """Return where the bytes that follow start, and them: at `begin` if the server can.

        It asks once. What is wrong with the server shows when the whole file is asked for.
        """
        response = self._proxy_env.request(
            "GET",
            url,
            headers={"Range": f"bytes={begin}-"},
            preload_content=False,
            timeout=self.socket_timeout,
        )
        sent = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if response.status == 206 and sent and int(sent[1]) == begin:
            return begin, self._chunks(response)
        response.close()
        return 0, self._fetch(url)

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
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # its retries, with the address
        agent = f"edge-runtime/{__version__}"
        self._http = _Http(socket_timeout=GAP_S, chunk_size=CHUNK_BYTES, app_user_agent=agent)

    def _fetch(self, url: str) -> Iterator[bytes]:
        if url.startswith("file://"):
            return _read(Path(unquote(urlsplit(url).path)))
        return self._http._fetch(url)

    def _fetched(self, url: str, file: IO[bytes], most: int) -> Generator[bytes, None, None]:
        """Yield what `file` lacks of the `most` bytes at `url`, and set its position for them."""
        begin = file.seek(0, 2)
        if 0 < begin < most and not url.startswith("file://"):
            try:
                begin, chunks = self._http.rest_of(url, begin)
            except Exception as error:  # urllib3's
                raise DownloadError(f"the connection broke: {error}") from error
            file.seek(begin)
            yield from chunks
        else:
            file.seek(0)
            yield from self.fetch(url)

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        """Yield a temporary file with the bytes at `url`.

        Unlike that of python-tuf, it ends a server that is too slow, does not fill /tmp, which is
        memory on many boards, and continues with a download that was cut. Raises `DownloadError`.
        """
        begin, received = time.monotonic(), 0
        with self._file(url) as file:
            with closing(self._fetched(url, file, max_length)) as chunks:
                for chunk in chunks:
                    received += len(chunk)
                    if file.tell() + len(chunk) > max_length:
                        raise DownloadLengthMismatchError(f"more than {max_length} bytes")
                    if time.monotonic() - begin > FILE_S + received / LEAST_RATE:
                        raise SlowRetrievalError("the server is too slow")
                    file.write(chunk)
            file.truncate()
            file.seek(0)
            yield file

    @contextmanager
    def _file(self, url: str) -> Iterator[IO[bytes]]:
        """Yield the file to write to. If its content can never change, it may be there in part.

        It is kept only if the connection broke, or after a kill. Whether the bytes are right, the
        caller checks, inside the block.
        """
        digest = _DIGEST.match(url.rpartition("/")[2])
        if digest is None:
            with tempfile.TemporaryFile(dir=self._folder) as file:
                yield file
            return
        path = self._folder / (digest[0] + PART)
        with path.open("r+b" if path.exists() else "w+b") as file:
            keep = False
            try:
                yield file
            except DownloadError as error:
                keep = file.tell() > 0 and not isinstance(error, DownloadLengthMismatchError)
                raise
            finally:
                if not keep:
                    path.unlink(missing_ok=True)


def _read(path: Path) -> Iterator[bytes]:
    """Yield the parts of a file; on a stick that others fill, it may be a FIFO or a device."""
    try:
        with open_regular(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise DownloadHTTPError(f"no such file: {path}", 404) from error
    except OSError as error:  # such as a damaged medium
        raise DownloadError(str(error)) from error

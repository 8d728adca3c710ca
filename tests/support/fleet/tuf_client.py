"""A static file server, and TUF's own client that reads from it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tuf.ngclient import Updater


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """Serve `folder`; yields the URL, which ends with a slash."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class TufClient:
    """A client with its own cache, which trusts the root it began with and what follows from it."""

    def __init__(self, folder: Path, url: str, root: bytes) -> None:
        self._folder, self._url, self._root = folder, url, root
        (folder / "files").mkdir(parents=True)

    def refreshed(self) -> Updater:
        updater = Updater(
            str(self._folder),
            f"{self._url}metadata/",
            str(self._folder / "files"),
            f"{self._url}targets/",
            bootstrap=self._root,
        )
        updater.refresh()
        return updater

    def read(self, name: str) -> tuple[bytes, dict[str, Any]]:
        """Return the content of a signed file, and what its signature states; refreshes first."""
        updater = self.refreshed()
        info = updater.get_targetinfo(name)
        assert info is not None, f"{name} is not signed"
        return Path(updater.download_target(info)).read_bytes(), dict(info.custom or {})

    def knows(self, name: str) -> bool:
        return self.refreshed().get_targetinfo(name) is not None

"""What the follower hands to root's part of a roll-out (deploy/rollout.py), and its answer.

The follower is not root. It leaves files in a folder of the service; a path unit starts root's
script, which believes nothing there, and answers in a file that only root can write.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.system.durable import make_folder, replacing, write_file

PREFIX_VARIABLE = "EDGE_RUNTIME_PREFIX"
REQUEST, RECORD = "request.json", "rollout.json"


@dataclass(frozen=True)
class Answer:
    """What became of a request; all empty before the first one."""

    id: str = ""
    attempt: int = 0
    action: str = ""
    state: str = ""
    """working, ready, failed, or back."""
    why: str = ""
    release: str = ""


class Spool:
    """The releases of this board, and the folder for requests."""

    def __init__(self, folder: Path, prefix: Path | None = None) -> None:
        self.folder = folder
        self.prefix = prefix or Path(os.environ.get(PREFIX_VARIABLE, "/opt/edge-runtime"))

    @property
    def release(self) -> str:
        """The release in use; empty on a board without releases."""
        try:
            return (self.prefix / "current").readlink().name
        except OSError:
            return ""

    @property
    def cpu(self) -> str:
        """The target of the bundle in use; empty if it is none."""
        try:
            manifest = json.loads((self.prefix / "current/model/manifest.json").read_bytes())
            return str(manifest["target"]["name"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    @property
    def accepts(self) -> bool:
        """Whether this board has what a roll-out needs."""
        return bool(self.release) and (self.prefix / "rollout.py").is_file()

    def answer(self) -> Answer:
        """Return root's answer to the last request that it took."""
        try:
            content = json.loads((self.prefix / RECORD).read_bytes())
            return Answer(**{name: content[name] for name in Answer.__annotations__})
        except (OSError, ValueError, KeyError, TypeError):
            return Answer()

    def put(self, rollout: str, attempt: int, archive: Path, gallery: str) -> None:
        """Ask for an installation: copy the `archive`, then write the request; raises OSError.

        `gallery` names the file of the model's gallery, or is empty for the present one.
        """
        self._make()
        digest = hashlib.sha256()
        with replacing(self.folder / f"{rollout}.tar") as temporary:
            with archive.open("rb") as source, temporary.open("wb") as out:
                while chunk := source.read(1 << 20):
                    digest.update(chunk)
                    out.write(chunk)
            size = temporary.stat().st_size
        request = {"sha256": digest.hexdigest(), "bytes": size, "gallery": gallery}
        self._write({"id": rollout, "attempt": attempt, "action": "install", **request})

    def put_back(self, rollout: str, attempt: int) -> None:
        """Ask for a rollback; raises OSError."""
        self._make()
        self._write({"id": rollout, "attempt": attempt, "action": "back"})

    def pending(self) -> dict[str, Any]:
        """Return the request that was written last, or an empty one."""
        try:
            content = json.loads((self.folder / REQUEST).read_bytes())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def remind(self) -> None:
        """Write the last request again: the path unit sees only what changes while it waits."""
        if content := self.pending():
            self._write(content)

    def clean(self) -> None:
        """Delete archives, once root has its answer."""
        for path in self._archives():
            with suppress(OSError):
                path.unlink()

    def _archives(self) -> Iterator[Path]:
        with suppress(OSError):
            yield from self.folder.glob("*.tar*")

    def _make(self) -> None:
        if self.folder.is_symlink() or (self.folder.exists() and not self.folder.is_dir()):
            self.folder.unlink()
        make_folder(self.folder)
        self.clean()

    def _write(self, content: dict[str, Any]) -> None:
        write_file(self.folder / REQUEST, json.dumps(content, sort_keys=True).encode())

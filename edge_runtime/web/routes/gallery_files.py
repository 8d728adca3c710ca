"""Download the gallery, and put a backup in its place."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from edge_runtime.gallery import Gallery
from edge_runtime.web.endpoint import Endpoint
from edge_runtime.web.gallery_files import GalleryFiles, about, take_place
from edge_runtime.web.openapi import binary_body, operation, responses, text_response
from edge_runtime.web.routes import gallery_schemas as schemas
from edge_runtime.web.routes.context import Context, Group

_SQLITE = "application/vnd.sqlite3"
_LINES = "application/x-ndjson"


class GalleryFileEndpoints(Group):
    """The whole gallery as a file."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        most = int(context.settings.max_restore_mb * 1e6)
        self._files = GalleryFiles(lambda: context.service.pipeline.gallery.path, most)

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """See `Endpoints`."""
        numbers = operation(
            "The gallery in numbers",
            responses((200, "Numbers", schemas.GALLERY), faults=(503,)),
        )
        backup = operation(
            "Download a backup, an SQLite file; safe while the gallery is in use",
            text_response("The file", _SQLITE, (503, 507)),
        )
        export = operation(
            "Download codes and labels as JSON lines",
            text_response("The file", _LINES, (503, 507)),
        )
        faults = (400, 404, 408, 413, 422, 503, 507)
        restore = operation(
            "Replace the content of the gallery by that of a backup; the previous one is kept",
            responses((200, "Restored", schemas.RESTORED), faults=faults),
            requestBody=binary_body("application/octet-stream"),
        )
        undo = operation(
            "Go back to the gallery that the last restore replaced",
            responses((200, "Restored", schemas.RESTORED), faults=(404, 422, 503, 507)),
        )
        return [
            Endpoint("GET", "/api/gallery", self._numbers, numbers),
            Endpoint("GET", "/api/gallery/backup", self._backup, backup),
            Endpoint("GET", "/api/gallery/export", self._export, export),
            Endpoint("POST", "/api/gallery/restore", self._restore, restore),
            Endpoint("POST", "/api/gallery/restore/undo", self._undo, undo),
        ]

    def close(self, wait_s: float) -> None:
        """See `Endpoints`."""
        self._files.close(wait_s)

    async def _numbers(self, _request: Request) -> Response:
        def numbers(gallery: Gallery) -> dict[str, Any]:
            stats = gallery.stats()
            return {
                "pictures": stats.pictures,
                "codes": stats.codes,
                "labels": stats.labels,
                "size_bytes": stats.size_bytes,
                "kept_pictures": stats.kept_pictures,
                "kept_bytes": stats.kept_bytes,
                "previous": about(self._files.previous),
                "max_restore_bytes": self._files.most_bytes,
            }

        return JSONResponse(await self.context.gallery.ask(numbers))

    async def _backup(self, _request: Request) -> Response:
        return self._download(*await self._files.backup(), _SQLITE, "sqlite")

    async def _export(self, _request: Request) -> Response:
        return self._download(*await self._files.export(), _LINES, "jsonl")

    def _download(self, size: int, parts: AsyncIterator[bytes], kind: str, suffix: str) -> Response:
        board = re.sub(r"[^A-Za-z0-9.-]+", "-", self.context.service.board).strip("-.") or "board"
        day = datetime.now(UTC).date().isoformat()
        headers = {
            "Content-Length": str(size),
            "Content-Disposition": f'attachment; filename="gallery-{board}-{day}.{suffix}"',
        }
        return StreamingResponse(parts, media_type=kind, headers=headers)

    async def _restore(self, request: Request) -> Response:
        path = await self._files.upload(request)
        try:
            return await self._take_place(path)
        finally:
            self._files.discard(path)

    async def _undo(self, _request: Request) -> Response:
        previous = self._files.previous
        if about(previous) is None:
            raise HTTPException(404, "there is no previous gallery")
        return await self._take_place(previous)

    async def _take_place(self, source: Path) -> Response:
        model = self.context.service.engine.model
        outcome = await self.context.gallery.replace(lambda path: take_place(path, source, model))
        return JSONResponse(outcome | {"previous": about(self._files.previous)})

"""Labels as a whole: rename, merge, remove several, their pictures and payloads."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge_runtime.gallery import Gallery, check_label
from edge_runtime.gallery.removal import Moved, Removed
from edge_runtime.web.endpoint import Endpoint
from edge_runtime.web.openapi import LABEL, json_body, operation, responses
from edge_runtime.web.photos import UploadError
from edge_runtime.web.routes import gallery_schemas as schemas
from edge_runtime.web.routes.context import Context, Group, label_in, small_json

MOST_BODY = 1 << 20
"""Bytes of a list of labels, or of a payload as JSON text in JSON."""
MOST_UNDO_BYTES = 8_000_000
"""What was removed or merged is kept in memory up to this size, to be put back."""
_FAULTS = (400, 404, 408, 413, 422, 503, 507)


class LabelEndpoints(Group):
    """Changes of labels. The last removal, rename or merge can be undone."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._undo: tuple[str, Removed | Moved] | None = None

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """See `Endpoints`."""
        pictures = operation(
            "The pictures of a label, the oldest first",
            responses((200, "Pictures", schemas.LABEL_PICTURES), faults=(404, 422, 503)),
            parameters=[LABEL],
        )
        rename = operation(
            "Rename a label, or merge it into another one",
            responses((200, "Renamed", schemas.RENAMED), faults=_FAULTS),
            parameters=[LABEL],
            requestBody=json_body(schemas.RENAME),
        )
        payload = operation(
            "The JSON text that an application stored with the label",
            responses((200, "Payload", schemas.PAYLOAD), faults=(404, 422, 503)),
            parameters=[LABEL],
        )
        set_payload = operation(
            "Store JSON text with the label; an empty text removes it",
            responses((200, "Stored", schemas.PAYLOAD), faults=_FAULTS),
            parameters=[LABEL],
            requestBody=json_body(schemas.NEW_PAYLOAD),
        )
        remove = operation(
            "Remove labels and single pictures, all of them or none",
            responses((200, "Removed", schemas.REMOVED_TOGETHER), faults=_FAULTS),
            requestBody=json_body(schemas.REMOVE),
        )
        undo = operation(
            "Undo the last removal, rename or merge",
            responses((200, "Put back", schemas.PUT_BACK), faults=_FAULTS),
            requestBody=json_body(schemas.UNDO),
        )
        label = "/api/labels/{label}"
        return [
            Endpoint("GET", f"{label}/pictures", self._pictures, pictures),
            Endpoint("POST", f"{label}/rename", self._rename, rename),
            Endpoint("GET", f"{label}/payload", self._payload, payload),
            Endpoint("PUT", f"{label}/payload", self._set_payload, set_payload),
            Endpoint("POST", "/api/gallery/remove", self._remove, remove),
            Endpoint("POST", "/api/gallery/undo", self._put_back, undo),
        ]

    async def _pictures(self, request: Request) -> Response:
        label = check_label(label_in(request))
        found = await self.context.gallery.ask(lambda gallery: gallery.pictures(label))
        return JSONResponse({"label": label, "pictures": [each._asdict() for each in found]})

    async def _rename(self, request: Request) -> Response:
        label, body = label_in(request), await small_json(request)
        to = _typed(body, "to", str)
        merge = _typed(body, "merge", bool, missing=False)

        def rename(gallery: Gallery) -> Moved:
            return gallery.relabel(label, to, merge=merge)

        moved = await self.context.gallery.change(rename)
        return JSONResponse(
            {
                "label": moved.new,
                "pictures_moved": moved.counts.pictures,
                "codes_moved": moved.counts.codes,
                "undo": self._undo_of(moved),
            }
        )

    async def _payload(self, request: Request) -> Response:
        label = check_label(label_in(request))
        text = await self.context.gallery.ask(lambda gallery: gallery.payload(label))
        return JSONResponse({"label": label, "payload": text})

    async def _set_payload(self, request: Request) -> Response:
        label, body = check_label(label_in(request)), await small_json(request, MOST_BODY)
        text = _typed(body, "payload", str).strip()
        await self.context.gallery.change(lambda gallery: gallery.set_payload(label, text))
        return JSONResponse({"label": label, "payload": text})

    async def _remove(self, request: Request) -> Response:
        body = await small_json(request, MOST_BODY)
        labels, pictures = _list(body, "labels", str), _list(body, "pictures", int)
        if not labels and not pictures:
            raise UploadError(422, "nothing to remove", 'send {"labels": [...], "pictures": [...]}')
        if any(not 0 < each < 2**63 for each in pictures):
            raise HTTPException(404, "there is no such picture")
        removed = await self.context.gallery.change(
            lambda gallery: gallery.remove_together(labels, pictures)
        )
        return JSONResponse(
            {
                "pictures_removed": removed.counts.pictures,
                "codes_removed": removed.counts.codes,
                "undo": self._undo_of(removed),
            }
        )

    def _undo_of(self, done: Removed | Moved) -> str | None:
        """Keep the latest change; return what undoes it, or None if it is too large to keep."""
        small = done.size_bytes <= MOST_UNDO_BYTES
        self._undo = (secrets.token_hex(8), done) if small else None
        return self._undo[0] if self._undo else None

    async def _put_back(self, request: Request) -> Response:
        wanted = _typed(await small_json(request), "undo", str)
        undo, self._undo = self._undo, None
        if undo is None or undo[0] != wanted:
            self._undo = undo
            raise HTTPException(404, "this change can no longer be undone")
        try:
            codes = await self.context.gallery.change(lambda gallery: gallery.put_back(undo[1]))
        except BaseException:
            self._undo = self._undo or undo  # to be tried again
            raise
        done = undo[1]
        labels = {done.old} if isinstance(done, Moved) else set(done.label_data)
        return JSONResponse({"labels": sorted(labels), "codes": codes})


def _typed(body: dict[str, Any], key: str, kind: type, *, missing: Any = None) -> Any:
    """Return a value of the body; raises `UploadError` if it is not of this kind."""
    value = body.get(key, missing)
    if not isinstance(value, kind):
        names = {str: "a text", bool: "true or false"}
        raise UploadError(422, f"'{key}' must be {names[kind]}")
    return value


def _list(body: dict[str, Any], key: str, kind: type) -> list[Any]:
    """Return a list of the body, empty if it is missing; raises `UploadError`."""
    values = body.get(key, [])
    if not isinstance(values, list) or any(type(each) is not kind for each in values):
        raise UploadError(422, f"'{key}' must be a list of {'texts' if kind is str else 'numbers'}")
    return values

"""The history: events with snapshots, downloads, and what the user says is wrong."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from edge_runtime.errors import BusyError, EdgeRuntimeError
from edge_runtime.gallery import Gallery, check_label
from edge_runtime.gallery.records import UNKNOWN
from edge_runtime.web.endpoint import Endpoint, Role
from edge_runtime.web.openapi import LIMIT, json_body, operation, responses, text_response
from edge_runtime.web.photos import UploadError
from edge_runtime.web.routes import history_schemas as schemas
from edge_runtime.web.routes.context import Context, Group, small_json

if TYPE_CHECKING:
    from edge_runtime.history.archive import Archive
    from edge_runtime.history.reading import StoredEvent

log = logging.getLogger(__name__)
T = TypeVar("T")

MOST_WAITING = 12
"""Questions to the history that wait; more are refused."""
MOST_DOWNLOADS = 4
_ID = re.compile(r"[0-9a-f]{1,40}")
_PATTERNS = {"kind": re.compile("enter|leave"), "day": re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)}
_FILTERS = ("label", "camera", "kind", "day")


class HistoryEndpoints(Group):
    """What was seen, and corrections."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._lock = asyncio.Lock()
        """One correction at a time: it changes the gallery and the history."""
        self._waiting = self._downloads = 0
        self._counting = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history")
        if context.history is not None:
            self._thread.submit(int)  # starts the thread now, while it can be

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """See `Endpoints`.

        A reader sees the list, which has no pictures: those of the past tell more than the live
        view.
        """
        events = operation(
            "Events of the history, newest first",
            responses((200, "Events", schemas.EVENTS), faults=(422, 503, 507)),
            parameters=[*schemas.WANTED, schemas.BEFORE, LIMIT],
        )
        days = operation(
            "How often each label came into view on each day, the newest day first",
            responses((200, "Days", schemas.DAYS), faults=(503, 507)),
        )
        table = operation(
            "Download the history as a table, oldest first",
            text_response("CSV", "text/csv", (404, 422, 503, 507)),
            parameters=schemas.WANTED,
        )
        download = operation(
            "Download the history, oldest first",
            responses((200, "Events", schemas.DOWNLOAD), faults=(404, 422, 503, 507)),
            parameters=schemas.WANTED,
        )
        snapshot = operation(
            "What the camera or the region showed at an event",
            text_response("JPEG", "image/jpeg", (404, 503, 507)),
            parameters=[schemas.EVENT_ID],
        )
        wrong = operation(
            "Say that an event has the wrong label, and teach the gallery the right one",
            responses((200, "Marked", schemas.MARKED), faults=(400, 404, 408, 413, 422, 503, 507)),
            parameters=[schemas.EVENT_ID],
            requestBody=json_body(schemas.MARK),
        )
        right = operation(
            "Take back that an event has the wrong label",
            responses((200, "Taken back", schemas.MARKED), faults=(404, 503, 507)),
            parameters=[schemas.EVENT_ID],
        )
        one = "/api/history/{id}"
        return [
            Endpoint("GET", "/api/history", self._events, events, Role.READER),
            Endpoint("GET", "/api/history/days", self._days, days, Role.READER),
            Endpoint("GET", "/api/history.csv", self._csv, table, Role.READER),
            Endpoint("GET", "/api/history.json", self._json, download, Role.READER),
            Endpoint("GET", f"{one}/snapshot", self._snapshot, snapshot),
            Endpoint("POST", f"{one}/wrong", self._wrong, wrong),
            Endpoint("DELETE", f"{one}/wrong", self._right, right),
        ]

    def begin(self) -> None:
        """See `Endpoints`."""
        self._lock = asyncio.Lock()  # the old one belongs to its event loop
        self._downloads = 0

    def close(self, wait_s: float) -> None:
        """See `Endpoints`."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    # -- reading ------------------------------------------------------------------------------

    async def _events(self, request: Request) -> Response:
        wanted, limit, before = _wanted(request), _limit(request), _before(request)
        archive = self.context.history
        if archive is None:
            return JSONResponse({"enabled": False, "fault": None, "events": [], "more": False})
        events, more = await self._ask(archive.newest, wanted, limit, before)
        fault = archive.fault or None
        return JSONResponse({"enabled": True, "fault": fault, "events": events, "more": more})

    async def _days(self, _request: Request) -> Response:
        archive = self.context.history
        return JSONResponse([] if archive is None else await self._ask(archive.days))

    async def _csv(self, request: Request) -> Response:
        return await self._download(request, "text/csv; charset=utf-8", "csv")

    async def _json(self, request: Request) -> Response:
        return await self._download(request, "application/json", "json")

    async def _download(self, request: Request, kind: str, ending: str) -> Response:
        archive, wanted = self._archive(), _wanted(request)
        if self._downloads >= MOST_DOWNLOADS:
            raise BusyError("too many downloads at once", remedy="try again in a minute")
        first = await self._ask(archive.part, wanted, 0, ending == "csv")

        async def stream() -> AsyncIterator[bytes]:
            self._downloads += 1
            try:
                text, after = first
                yield text.encode()
                while after >= 0:
                    text, after = await self._ask(archive.part, wanted, after, ending == "csv")
                    yield text.encode()
            except EdgeRuntimeError as error:
                log.warning("a download of the history was cut: %s", error)
                raise
            finally:
                self._downloads -= 1

        name = f'attachment; filename="history.{ending}"'
        return StreamingResponse(stream(), media_type=kind, headers={"Content-Disposition": name})

    async def _snapshot(self, request: Request) -> Response:
        data = await self._ask(self._archive().snapshot, _event_id(request))
        if not data:
            raise HTTPException(404, "there is no snapshot of this event")
        headers = {"Cache-Control": "private, max-age=86400, immutable"}
        return Response(data, media_type="image/jpeg", headers=headers)

    # -- corrections --------------------------------------------------------------------------

    async def _wrong(self, request: Request) -> Response:
        archive, event_id = self._archive(), _event_id(request)
        label = _label(await small_json(request))
        async with self._lock:
            stored = await self._stored(archive, event_id)
            if stored.event.kind != "enter":
                raise UploadError(422, "only an event of the kind enter names what is in view")
            if label == stored.event.label:
                raise UploadError(422, "this is the label that the event has", "name another one")
            removed = 0
            if stored.wrong is not None and stored.wrong.label != label:
                removed = await self._forget(stored)
            added, answer = 0, None
            if data := await self._ask(archive.snapshot, event_id):
                enrolled = await self.context.gallery.enroll_pictures(
                    label or UNKNOWN, [data], _source(event_id)
                )
                added = enrolled["pictures_added"]
                result, _ = await self.context.gallery.query(data)
                answer = {"label": result.verdict.label}
            if not await self._ask(archive.mark, event_id, label):
                raise _no_such_event()
        return _marked(event_id, {"label": label}, added, removed, answer)

    async def _right(self, request: Request) -> Response:
        archive, event_id = self._archive(), _event_id(request)
        async with self._lock:
            stored = await self._stored(archive, event_id)
            removed = 0 if stored.wrong is None else await self._forget(stored)
            if not await self._ask(archive.unmark, event_id):
                raise _no_such_event()
        return _marked(event_id, None, 0, removed, None)

    async def _stored(self, archive: Archive, event_id: str) -> StoredEvent:
        stored = await self._ask(archive.find, event_id)
        if stored is None:
            raise _no_such_event()
        return stored

    async def _forget(self, stored: StoredEvent) -> int:
        """Remove from the gallery what the mark of an event had added; return how many pictures."""
        assert stored.wrong is not None
        label, source = stored.wrong.label or UNKNOWN, _source(stored.event.id)

        def forget(gallery: Gallery) -> int:
            if label not in gallery.labels():
                return 0
            ids = [one.id for one in gallery.pictures(label) if one.source == source]
            return gallery.remove_together(pictures=ids).counts.pictures if ids else 0

        return await self.context.gallery.change(forget)

    # -- the thread ---------------------------------------------------------------------------

    def _archive(self) -> Archive:
        if self.context.history is None:
            raise HTTPException(404, "there is no history (table [history] of the configuration)")
        return self.context.history

    async def _ask(self, function: Callable[..., T], *arguments: object) -> T:
        with self._counting:
            if self._waiting >= MOST_WAITING:
                raise BusyError("too many requests at once", remedy="try again in a second")
            self._waiting += 1
        done = self._thread.submit(function, *arguments)
        done.add_done_callback(self._finished)
        return await asyncio.wrap_future(done)

    def _finished(self, _done: object) -> None:
        with self._counting:
            self._waiting -= 1


def _wanted(request: Request) -> dict[str, str]:
    """Return the filters of the query; raises `UploadError`."""
    wanted = {name: request.query_params.get(name, "") for name in _FILTERS}
    for name, pattern in _PATTERNS.items():
        if wanted[name] and not pattern.fullmatch(wanted[name]):
            hint = "enter or leave" if name == "kind" else "a date such as 2026-11-29"
            raise UploadError(422, f"{name} must be {hint}, got {wanted[name]!a:.40}")
    return wanted


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", "50")
    digits = text.isascii() and text.isdecimal() and len(text) <= 3
    if not digits or not 1 <= int(text) <= 200:
        raise UploadError(422, f"limit must be a number from 1 to 200, got {text!a:.40}")
    return int(text)


def _before(request: Request) -> str:
    text = request.query_params.get("before", "")
    if text and not _ID.fullmatch(text):
        raise UploadError(422, f"before must be the id of an event, got {text!a:.40}")
    return text


def _event_id(request: Request) -> str:
    text: str = request.path_params["id"]
    if not _ID.fullmatch(text):
        raise _no_such_event()
    return text


def _label(body: dict[str, Any]) -> str | None:
    """Return the right label; None if it is nothing that has one. Raises `LabelError`, too."""
    if set(body) != {"label"} or not isinstance(body["label"], str | None):
        raise UploadError(422, "label is missing", 'send {"label": "..."} or {"label": null}')
    label = None if body["label"] is None else check_label(body["label"])
    return None if label == UNKNOWN else label


def _source(event_id: str) -> str:
    return f"history {event_id}"


def _no_such_event() -> HTTPException:
    return HTTPException(404, "there is no such event")


def _marked(
    event_id: str,
    wrong: dict[str, Any] | None,
    added: int,
    removed: int,
    answer: dict[str, Any] | None,
) -> Response:
    return JSONResponse(
        {
            "id": event_id,
            "wrong": wrong,
            "pictures_added": added,
            "pictures_removed": removed,
            "answer": answer,
        }
    )

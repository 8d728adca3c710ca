"""The inbox: recurring things that are not enrolled, to be named or dismissed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge_runtime.errors import InputError
from edge_runtime.gallery import check_label
from edge_runtime.web.endpoint import Endpoint
from edge_runtime.web.openapi import PICTURE, json_body, operation, responses, text_response
from edge_runtime.web.routes.context import Group, id_in, small_json
from edge_runtime.web.schemas import (
    CODES,
    COUNT,
    FLAG,
    NUMBER,
    PICTURES,
    TEXT,
    TIME,
    array,
    described,
    nullable,
    record,
)

if TYPE_CHECKING:
    from edge_runtime.unknowns.inbox import Group as Shown
    from edge_runtime.unknowns.inbox import Inbox, Listing
    from edge_runtime.unknowns.part import Unknowns

T = TypeVar("T")
MOST_IDS = 1000
MOST_BODY = 16_384
MOST_ENROLLED = 40
"""Pictures that one request enrolls. Of more, the newest of each group are taken."""
AT_ONCE = 8
"""Pictures per commit; other requests for the gallery have their turn between two."""
MOST_GROUPS = 200
"""Groups in a listing."""

_ID = {"type": "integer", "minimum": 1}
_IDS = {"type": "array", "items": _ID, "maxItems": MOST_IDS}
_CHOICE = {"groups": _IDS, "pictures": _IDS}
_NAME = {
    "type": "object",
    "properties": {**_CHOICE, "label": {"type": "string", "minLength": 1, "maxLength": 128}},
    "required": ["label"],
    "additionalProperties": False,
}
_DISMISS = {"type": "object", "properties": _CHOICE, "additionalProperties": False}
LISTING = record(
    enabled=described(FLAG, "Whether the configuration has a table [unknowns]."),
    groups=described(
        array(
            record(
                id=COUNT,
                pictures=described(
                    array(record(id=COUNT, time=TIME, camera=TEXT, region=nullable(TEXT))),
                    "The newest first.",
                ),
                count=described(COUNT, "How often it was seen."),
                first=TIME,
                last=TIME,
                empty=described(FLAG, "Whether a camera shows it most of the time."),
                nearest=described(
                    nullable(record(label=TEXT, similarity=NUMBER)),
                    "The enrolled label that is most like it, if one is more like it than most.",
                ),
            )
        ),
        "What was seen most comes first.",
    ),
    pictures=described(COUNT, "Pictures that are kept, those of rare things too."),
    bytes=described(COUNT, "Bytes of the file that are in use."),
)
NAMED = record(
    label=TEXT,
    pictures_added=PICTURES,
    codes_added=CODES,
    pictures_known=described(COUNT, "Pictures that the label had already."),
    pictures=described(array(COUNT), "Ids of the added pictures: of the first code of each."),
)
DISMISSED = record(
    groups=described(COUNT, "Groups that were dismissed."),
    pictures=described(COUNT, "Single pictures that were removed."),
)


class UnknownsEndpoints(Group):
    """The inbox of unknown things."""

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """See `Endpoints`."""
        listing = operation(
            "Recurring things that are not enrolled",
            responses((200, "Groups", LISTING), faults=(503, 507)),
        )
        picture = operation(
            "A picture of an unknown thing",
            text_response("JPEG", "image/jpeg", (404, 503, 507)),
            parameters=[PICTURE],
        )
        faults = (400, 404, 408, 413, 422, 503, 507)
        name = operation(
            "Enroll groups and pictures under a label, new or existing, and remove them here",
            responses((200, "Enrolled", NAMED), faults=faults),
            requestBody=json_body(_NAME),
        )
        dismiss = operation(
            "Remove groups and do not collect them again; or remove single pictures",
            responses((200, "Dismissed", DISMISSED), faults=faults),
            requestBody=json_body(_DISMISS),
        )
        path = "/api/unknowns"
        return [
            Endpoint("GET", path, self._listing, listing),
            Endpoint("GET", f"{path}/pictures/{{id}}", self._picture, picture),
            Endpoint("POST", f"{path}/name", self._name, name),
            Endpoint("POST", f"{path}/dismiss", self._dismiss, dismiss),
        ]

    @property
    def _unknowns(self) -> Unknowns | None:
        unknowns = self.context.service.unknowns
        return None if unknowns is None or unknowns.paused else unknowns

    async def _ask(self, question: Callable[[Inbox], T]) -> T:
        unknowns = self._unknowns
        if unknowns is None:
            raise HTTPException(404, "unknown things are not collected (table [unknowns])")
        return await asyncio.wrap_future(unknowns.ask(question))

    async def _listing(self, _request: Request) -> Response:
        if self._unknowns is None:
            return JSONResponse({"enabled": False, "groups": [], "pictures": 0, "bytes": 0})
        found: Listing = await self._ask(lambda inbox: inbox.listing())
        groups = found.groups[:MOST_GROUPS]
        nearest = await self.context.gallery.nearest_labels(
            [group.pictures[0].embedding for group in groups]
        )
        listed = [
            _group(group)
            | {
                "nearest": best
                and {"label": best.label, "similarity": round(float(best.similarity), 4)}
            }
            for group, best in zip(groups, nearest, strict=True)
        ]
        return JSONResponse(
            {"enabled": True, "groups": listed, "pictures": found.pictures, "bytes": found.bytes}
        )

    async def _picture(self, request: Request) -> Response:
        number = id_in(request)
        data = await self._ask(lambda inbox: inbox.store.jpeg(number))
        if not data:
            raise HTTPException(404, "there is no such picture")
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "no-cache"})

    async def _name(self, request: Request) -> Response:
        body = await small_json(request, MOST_BODY)
        groups, pictures = _choice(body, "label")
        label = body.get("label")
        if not isinstance(label, str):
            raise InputError("label is missing", remedy='send {"groups": [...], "label": "..."}')
        label = check_label(label)
        chosen = await self._ask(lambda inbox: inbox.selected(groups, pictures, MOST_ENROLLED))
        added: list[int] = []
        total = dict.fromkeys(("pictures_added", "codes_added", "pictures_known"), 0)
        for start in range(0, len(chosen), AT_ONCE):
            part = [data for _, data in chosen[start : start + AT_ONCE]]
            answer = await self.context.gallery.enroll_pictures(label, part, "inbox")
            total = {key: count + answer[key] for key, count in total.items()}
            added += answer["pictures"]
        await self._ask(lambda inbox: inbox.forget(groups, pictures))
        return JSONResponse({"label": label, **total, "pictures": added})

    async def _dismiss(self, request: Request) -> Response:
        groups, pictures = _choice(await small_json(request, MOST_BODY))
        await self._ask(lambda inbox: inbox.dismiss(groups, pictures))
        return JSONResponse({"groups": len(groups), "pictures": len(pictures)})


def _group(group: Shown) -> dict[str, Any]:
    thing = group.thing
    return {
        "id": thing.id,
        "pictures": [
            {
                "id": one.id,
                "time": _time(one.taken_s),
                "camera": one.camera,
                "region": one.region,
            }
            for one in group.pictures
        ],
        "count": thing.sightings,
        "first": _time(thing.first_s),
        "last": _time(thing.last_s),
        "empty": group.empty,
    }


def _time(since_epoch_s: float) -> str:
    return datetime.fromtimestamp(since_epoch_s, UTC).isoformat(timespec="milliseconds")


def _choice(body: dict[str, Any], *more: str) -> tuple[list[int], list[int]]:
    """Return the ids of groups and pictures in a request; raises `InputError`."""
    if unknown := body.keys() - {"groups", "pictures", *more}:
        raise InputError(f"unknown key {min(unknown)!a:.40}")
    chosen = []
    for key in ("groups", "pictures"):
        ids = body.get(key, [])
        if not isinstance(ids, list) or not all(
            type(one) is int and 0 < one < 1 << 53 for one in ids
        ):
            raise InputError(f"{key} must be a list of ids")
        if len(ids) > MOST_IDS:
            raise InputError(f"{key} has more than {MOST_IDS} ids")
        chosen.append(list(dict.fromkeys(ids)))
    if not any(chosen):
        raise InputError("no group or picture is chosen", remedy='send {"groups": [1]}')
    return chosen[0], chosen[1]

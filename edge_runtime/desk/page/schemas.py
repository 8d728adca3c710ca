"""JSON schemas and the OpenAPI operations of the desk's page."""

from __future__ import annotations

from typing import Any

from edge_runtime.web import openapi, schemas
from edge_runtime.web.schemas import Schema, array, described, mapping, nullable, record

MOMENT = described(schemas.NUMBER, "Seconds since 1970, by the desk's clock.")
PICTURES = described(schemas.COUNT, "Pictures.")
BOARD = record(
    name=schemas.TEXT,
    version=schemas.COUNT,
    behind=described(schemas.COUNT, "Versions that it lacks."),
    release=schemas.TEXT,
    model_id=schemas.TEXT,
    ready=nullable(schemas.FLAG),
    pending=described(schemas.COUNT, "Pictures that no version has named."),
    complaints=described(schemas.COUNT, "Events of the last 30 days that people marked as wrong."),
    clock=schemas.TEXT,
    error=schemas.TEXT,
    since=described(schemas.TEXT, "Since when it has this version."),
    first_seen=MOMENT,
    last_seen=MOMENT,
)
PROPOSAL = record(
    digest=described(schemas.TEXT, "SHA-256 of the picture's file."),
    board=schemas.TEXT,
    label=schemas.TEXT,
    received_at=MOMENT,
)
VERSION = record(
    number=schemas.COUNT,
    published_at=MOMENT,
    content=described(schemas.TEXT, "Content digest of the gallery."),
    pictures=PICTURES,
    labels=schemas.COUNT,
    operations=described(schemas.COUNT, "Lines of the delta."),
    bytes=described(schemas.COUNT, "Size of the delta."),
    note=schemas.TEXT,
)
ROLLOUT = record(
    id=schemas.TEXT,
    cpu=described(schemas.TEXT, "Target of the bundle."),
    model_id=schemas.TEXT,
    percent=described(schemas.NUMBER, "Share of the boards that the roll-out has reached."),
    waves=array(schemas.NUMBER),
    state={"enum": ["running", "halted", "done", "aborted"]},
    attempt=schemas.COUNT,
    gallery=described(schemas.FLAG, "Whether a gallery of its model comes with it."),
    previous=described(schemas.TEXT, "Id of the roll-out before; empty: none."),
)
FLEET = record(
    fleet=schemas.TEXT,
    time=MOMENT,
    version=described(schemas.COUNT, "The version that boards see."),
    root_expires=MOMENT,
    timestamp_expires=MOMENT,
    broker=described(
        nullable(record(connected=schemas.FLAG, fault=schemas.TEXT)), "null: no broker."
    ),
    faults=described(mapping(schemas.TEXT), "What fails now, by the name of the step."),
    boards=described(array(BOARD), "As they report themselves."),
    counts=described(
        record(pending=schemas.COUNT, accepted=schemas.COUNT, rejected=schemas.COUNT),
        "Proposals by state; each is one picture.",
    ),
    proposals=described(array(PROPOSAL), "The first of those that wait for a decision."),
    refused=described(schemas.COUNT, "Messages that were not taken."),
    versions=described(array(VERSION), "The latest ones, the newest first."),
    rollout=described(nullable(ROLLOUT), "null: there has been none."),
)
ACCEPTED = record(accepted=described(schemas.COUNT, "Proposals; each is one picture."))
REJECTED = record(rejected=described(schemas.COUNT, "Proposals; each is one picture."))
PUBLISHED = record(
    version=described(nullable(schemas.COUNT), "The new version; null: nothing had changed.")
)
HEALTH = record(ready=schemas.FLAG)
_DIGESTS = {"digests": array(schemas.TEXT)}
ACCEPT: Schema = {
    "type": "object",
    "required": ["digests"],
    "properties": {
        **_DIGESTS,
        "label": described(nullable(schemas.TEXT), "Accept them under this label instead."),
    },
}
REJECT: Schema = {"type": "object", "required": ["digests"], "properties": _DIGESTS}
_FAULT_TEXTS = {
    408: "The body did not arrive in time",
    413: "The body is too large",
    422: "Not a valid choice of proposals or label",
    500: "The desk's files cannot be used",
    507: "The disk is full",
}


def operation(summary: str, schema: Schema, body: Schema | None = None) -> dict[str, Any]:
    """Return the operation that answers with `schema`, and takes `body` if it changes anything."""
    answers = openapi.responses((200, summary, schema))
    for code in (500,) if body is None else (408, 413, 422, 500, 507):
        answers[str(code)] = openapi.json_response(_FAULT_TEXTS[code], schemas.ERROR)
    more = {} if body is None else {"requestBody": openapi.json_body(body)}
    return openapi.operation(summary, answers, **more)

"""JSON schemas and parameters of the history's endpoints."""

from __future__ import annotations

from edge_runtime.web import schemas

MARK = schemas.record(
    label=schemas.described(
        schemas.nullable(schemas.TEXT), "The right label; null: it is nothing that has one."
    )
)
EVENT = schemas.record(
    **schemas.EVENT["properties"],
    snapshot=schemas.described(schemas.FLAG, "Whether there is a picture of it."),
    wrong=schemas.described(schemas.nullable(MARK), "null: not marked as wrong."),
)
EVENTS = schemas.record(
    enabled=schemas.described(schemas.FLAG, "Whether there is a table [history]."),
    fault=schemas.described(schemas.nullable(schemas.TEXT), "Why nothing can be stored now."),
    events=schemas.array(EVENT),
    more=schemas.described(schemas.FLAG, "Whether there are older ones."),
)
DOWNLOAD = schemas.record(events=schemas.array(EVENT))
DAYS = schemas.array(
    schemas.record(
        day=schemas.described(schemas.TEXT, "YYYY-MM-DD, in the board's time zone."),
        labels=schemas.described(
            schemas.mapping(schemas.COUNT), "How often each label came into view."
        ),
    )
)
MARKED = schemas.record(
    id=schemas.TEXT,
    wrong=schemas.nullable(MARK),
    pictures_added=schemas.described(schemas.COUNT, "To the gallery; 0 without a snapshot."),
    pictures_removed=schemas.described(schemas.COUNT, "That an earlier mark had added."),
    answer=schemas.described(
        schemas.nullable(schemas.record(label=schemas.nullable(schemas.TEXT))),
        "What the snapshot is recognized as from now on; null without a snapshot.",
    ),
)
EVENT_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The id of an event",
    "schema": {"type": "string", "pattern": "^[0-9a-f]{1,40}$"},
}
BEFORE = {
    "name": "before",
    "in": "query",
    "description": "Only events stored before the one with this id",
    "schema": {"type": "string", "pattern": "^[0-9a-f]{1,40}$"},
}
WANTED = [
    {"name": name, "in": "query", "description": text, "schema": schema}
    for name, text, schema in (
        ("label", "Only events of this label", schemas.TEXT),
        ("camera", "Only events of this camera", schemas.TEXT),
        ("kind", "Only events of this kind", {"enum": ["enter", "leave"]}),
        ("day", "Only events of this day", {"type": "string", "format": "date"}),
    )
]

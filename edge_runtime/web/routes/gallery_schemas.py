"""JSON schemas of requests and answers about labels and files of the gallery."""

from __future__ import annotations

from edge_runtime.web.schemas import (
    CODES,
    COUNT,
    FLAG,
    PICTURES,
    TEXT,
    TIME,
    Schema,
    array,
    described,
    nullable,
    record,
)

LABEL_PICTURES = record(
    label=TEXT,
    pictures=array(
        record(
            id=described(COUNT, "Id of its first code."),
            source=TEXT,
            time=TIME,
            codes=CODES,
            kept=described(FLAG, "Whether the picture itself is kept (gallery.keep_pictures)."),
        )
    ),
)
RENAME: Schema = {
    "type": "object",
    "properties": {
        "to": TEXT,
        "merge": described(FLAG, "Whether `to` may exist; the two are then merged."),
    },
    "required": ["to"],
}
_UNDO = described(nullable(TEXT), "For /api/gallery/undo; null: too large to be undone.")
RENAMED = record(label=TEXT, pictures_moved=PICTURES, codes_moved=CODES, undo=_UNDO)
PAYLOAD = record(label=TEXT, payload=described(TEXT, "JSON text, or empty."))
NEW_PAYLOAD = record(payload=described(TEXT, "JSON text, or empty."))
REMOVE: Schema = {
    "type": "object",
    "properties": {
        "labels": array(TEXT),
        "pictures": described(array(COUNT), "Ids of their first codes."),
    },
}
REMOVED_TOGETHER = record(
    pictures_removed=PICTURES,
    codes_removed=CODES,
    undo=_UNDO,
)
UNDO = record(undo=TEXT)
PUT_BACK = record(labels=array(TEXT), codes=CODES)
_FILE = nullable(record(time=TIME, bytes=COUNT))
GALLERY = record(
    pictures=PICTURES,
    codes=CODES,
    labels=COUNT,
    size_bytes=COUNT,
    kept_pictures=COUNT,
    kept_bytes=COUNT,
    previous=described(_FILE, "The gallery that the last restore replaced."),
    max_restore_bytes=described(COUNT, "Limit of an uploaded backup."),
)
RESTORED = record(
    pictures=PICTURES,
    codes=CODES,
    labels=COUNT,
    corrupt_file=described(nullable(TEXT), "New path of the gallery, if it was corrupt."),
    previous=described(_FILE, "The gallery that was replaced."),
)

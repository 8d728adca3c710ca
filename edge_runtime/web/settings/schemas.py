"""JSON schemas of the requests and answers about settings."""

from __future__ import annotations

from edge_runtime.web.schemas import (
    COUNT,
    FLAG,
    NUMBER,
    TEXT,
    Schema,
    array,
    described,
    mapping,
    nullable,
    record,
)

TYPES = ("boolean", "integer", "number", "choice", "text", "texts", "numbers")
VALUE: Schema = {"type": ["number", "string", "boolean", "array", "null"]}
STORED = described(mapping(COUNT), "Size of what history and unknowns store, by table.")
NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,32}$"}
NEW_CAMERA = record(name=NAME, source=TEXT)
NEW_NAME = record(to=NAME)
SETTINGS = record(
    file=described(nullable(TEXT), "null: the daemon was started without --config"),
    writable=FLAG,
    fault=described(nullable(TEXT), "Why the page cannot change the file, and what to do."),
    version=described(nullable(TEXT), "Changes with the file; send it as If-Match."),
    undo=described(FLAG, "Whether the latest change can be taken back."),
    stored_bytes=STORED,
    tables=array(
        record(
            name=TEXT,
            text=TEXT,
            present=described(FLAG, "Whether the feature is on."),
            optional=described(FLAG, "Whether the feature is off without the table."),
            reloadable=described(FLAG, "Whether changes take effect without a restart."),
            keys=array(
                record(
                    name=TEXT,
                    type={
                        "enum": [
                            "boolean",
                            "integer",
                            "number",
                            "choice",
                            "text",
                            "texts",
                            "numbers",
                        ],
                    },
                    minimum=nullable(NUMBER),
                    above=described(nullable(NUMBER), "The value is greater than this."),
                    maximum=nullable(NUMBER),
                    choices=nullable(array(TEXT)),
                    required=FLAG,
                    default=VALUE,
                    value=described(VALUE, "Secrets in it are replaced by ***."),
                    text=TEXT,
                    lock=described(nullable(TEXT), "Why the page may not change this key."),
                )
            ),
        )
    ),
)
CHANGES = described(mapping(VALUE), 'For example {"decision.window": 7, "mqtt.host": null}.')
CHANGED = record(
    version=TEXT,
    undo=FLAG,
    changed=described(array(TEXT), "The keys whose values differ now."),
    applied=described(array(TEXT), "Tables that have taken effect."),
    need_restart=described(array(TEXT), "Tables that take effect after a restart."),
)
REGIONS: Schema = {
    "type": "object",
    "properties": {
        "camera": TEXT,
        "regions": array(
            {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,32}$"},
                    "area": {"type": "array", "items": NUMBER, "minItems": 4, "maxItems": 4},
                    "labels": array(TEXT),
                },
                "required": ["name", "area"],
            }
        ),
    },
    "required": ["camera", "regions"],
}
SINK_TEST = record(
    sink=TEXT,
    delivered=FLAG,
    error=nullable(TEXT),
    seconds=NUMBER,
)
AVAILABLE = record(
    cameras=array(
        record(
            source=described(TEXT, "For the key source."),
            name=described(TEXT, "As the hardware calls itself."),
            fault=described(nullable(TEXT), "Why it cannot be used."),
            used_by=described(nullable(TEXT), "The daemon's camera that uses it."),
        )
    )
)

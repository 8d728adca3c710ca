"""JSON schemas and the OpenAPI operations of the server."""

from __future__ import annotations

from typing import Any

from edge_runtime.server.parameters import METERS_PER_BIT, MOST_CODES, MOST_NEIGHBORS
from edge_runtime.web import openapi, schemas
from edge_runtime.web.schemas import Schema, array, described, nullable, record

CODE = described(
    {"type": "string", "pattern": "^[0-9a-fA-F]+$"},
    "A code in hexadecimal: bit i is bit i % 8 of byte i // 8.",
)
VERSION = described(schemas.TEXT, "Changes with every change of what is searched; also the ETag.")
MODEL = described(schemas.TEXT, "SHA-256 of the model that computed the codes.")
MATCH = record(
    id=described(schemas.COUNT, "Id of the picture's nearest code."),
    label=schemas.TEXT,
    distance=described(schemas.COUNT, "Bits between the query and that code."),
    penalty=described(schemas.NUMBER, "Bits added for the distance between the positions."),
    meters=described(nullable(schemas.NUMBER), "Ground distance, meters; null if unknown."),
    similarity=described(nullable(schemas.NUMBER), "Cosine of the features; null without them."),
)
LABEL = record(label=schemas.TEXT, similarity=schemas.NUMBER)
VERDICT = record(
    label=nullable(schemas.TEXT),
    confidence=schemas.NUMBER,
    distance=nullable(schemas.COUNT),
    similarity=nullable(schemas.NUMBER),
)
MATCHES = described(array(MATCH), "Pictures, nearest first, ties by id.")
NEAR = record(version=VERSION, model_id=MODEL, code=CODE, matches=MATCHES)
ANSWER = record(
    code=CODE,
    matches=MATCHES,
    labels=described(
        nullable(array(LABEL)), "By similarity; null unless features were sent and are known."
    ),
    verdict=described(nullable(VERDICT), "By similarity, as calibrated; null as above."),
)
BATCH = record(
    version=VERSION, model_id=MODEL, answers=described(array(ANSWER), "In order of the codes.")
)
CONTENT = record(
    version=VERSION,
    model_id=MODEL,
    bits=described(schemas.COUNT, "Bits of a code."),
    codes=schemas.COUNT,
    labels=schemas.COUNT,
)
HEALTH = record(status={"enum": ["ok", "failing"]})
FAULT_TEXTS = {
    408: "The body did not arrive in time",
    409: "The codes come from another model",
    413: "The body is too large",
    422: "Not a valid code or parameter",
    500: "The gallery cannot be read",
    503: "Too many queries at once, or a part of the codes cannot be reached",
}
"""What the statuses of this server mean; the others are those of every request."""


def _parameter(name: str, text: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": text, "schema": schema}


PARAMETERS = [
    _parameter(
        "k",
        "Number of pictures",
        {"type": "integer", "minimum": 1, "maximum": MOST_NEIGHBORS, "default": 5},
    ),
    _parameter("r", "Largest distance, bits", {"type": "integer", "minimum": 0}),
    _parameter("at", "LATITUDE,LONGITUDE[,HEADING] of the query, degrees", schemas.TEXT),
    _parameter("within_m", "With at: exclude pictures farther away, meters", schemas.NUMBER),
    _parameter(
        "meters_per_bit",
        "With at: meters that count as one bit",
        {"type": "number", "exclusiveMinimum": 0, "default": METERS_PER_BIT},
    ),
    _parameter("model", "The client's model; another one than the server's is refused", MODEL),
]
BODY = {
    "type": "object",
    "required": ["codes"],
    "additionalProperties": False,
    "properties": {
        "codes": {"type": "array", "items": CODE, "minItems": 1, "maxItems": MOST_CODES},
        "features": described(
            nullable(array(nullable(schemas.TEXT))),
            "For each code, the features behind it: base64 of one signed byte per number.",
        ),
        **{each["name"]: each["schema"] for each in PARAMETERS},
    },
}


def answers(text: str, schema: Schema, *faults: int) -> Schema:
    """Return the answer 200 with `schema`, and the faults."""
    found: dict[str, Any] = openapi.responses((200, text, schema))
    for code in faults:
        found[str(code)] = openapi.json_response(FAULT_TEXTS[code], schemas.ERROR)
    return found

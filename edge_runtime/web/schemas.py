"""JSON schemas of the API's answers. Each lists every field, and no others are allowed."""

from __future__ import annotations

from typing import Any, get_args

from edge_runtime.camera.recovery import State
from edge_runtime.image.quality import PhotoFault, PhotoHint

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}


def described(schema: Schema, text: str) -> Schema:
    """Return `schema` with a description."""
    return {**schema, "description": text}


def nullable(schema: Schema) -> Schema:
    """Return `schema`, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def array(items: Schema) -> Schema:
    """Return the schema of an array."""
    return {"type": "array", "items": items}


def mapping(values: Schema) -> Schema:
    """Return the schema of an object with arbitrary keys."""
    return {"type": "object", "additionalProperties": values}


def record(**properties: Schema) -> Schema:
    """Return the schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


PICTURES = described(COUNT, "Enrolled pictures.")
CODES = described(COUNT, "Codes; a picture has one per view.")
STAGE_MS = described(mapping(NUMBER), "Milliseconds per stage.")
STATE = described({"enum": [state.value for state in State]}, "State of the camera.")
ENGINE = record(name=TEXT, reason=described(TEXT, "Why this engine is used."), threads=COUNT)
MATCH = record(
    id=described(COUNT, "Id of the picture's nearest code."),
    label=TEXT,
    distance=described(COUNT, "Bits to the picture's nearest code."),
    source=described(TEXT, "The photo that was enrolled; empty in the status."),
    penalty=described(NUMBER, "Bits added for the distance between positions."),
    meters=described(nullable(NUMBER), "Ground distance from the query's position, meters."),
    similarity=described(nullable(NUMBER), "Cosine of the features; null without features."),
)

FAULT = {"enum": list(get_args(PhotoFault))}

ERROR = record(error=TEXT, remedy=TEXT)
SESSION = record(
    session={"const": "open"},
    role=described({"enum": ["owner", "reader"]}, "A reader has read access only."),
)
CONFIDENCE = described(NUMBER, "Estimated probability that the label is right.")
AGREEMENT = described(NUMBER, "Share of the recent frames that name the label.")
ORIGIN = described({"enum": ["gallery", "server"]}, "Who named the label.")
EVENT = record(
    kind={"enum": ["enter", "leave"]},
    label=TEXT,
    confidence=CONFIDENCE,
    distance=nullable(COUNT),
    sequence=COUNT,
    time=TIME,
    frame_time=TIME,
    latency_ms=NUMBER,
    agreement=AGREEMENT,
    id=described(TEXT, "Unique on every board."),
    board=TEXT,
    camera=TEXT,
    region=described(nullable(TEXT), "null: the whole frame"),
    reason=described(TEXT, 'Why the label left: "camera lost", or empty.'),
    next_label=described(nullable(TEXT), "The label that replaces this one at once."),
    origin=ORIGIN,
)
EVENTS = record(events=array(EVENT))
QUERY = record(
    label=described(nullable(TEXT), "null: unknown"),
    confidence=described(NUMBER, "Probability that the label is right."),
    distance=nullable(COUNT),
    similarity=described(nullable(NUMBER), "To the label, or to the most similar label."),
    origin=ORIGIN,
    matches=described(array(MATCH), "The nearest pictures, each once, nearest first."),
    stage_ms=STAGE_MS,
)
_VERDICT = record(
    label=nullable(TEXT),
    confidence=NUMBER,
    distance=nullable(COUNT),
    similarity=nullable(NUMBER),
    origin=ORIGIN,
)
CLIP = record(
    **_VERDICT["properties"],
    frames=described(COUNT, "Frames that were used."),
    seconds=described(NUMBER, "Place of the last of them in the clip."),
    sure=described(FLAG, "Whether the answer was sure, so that no further frame was read."),
    stage_ms=STAGE_MS,
    sound=described(
        nullable(
            record(
                heard=array(record(label=TEXT, bit_error_rate=NUMBER, source=TEXT)),
                note=described(TEXT, "Why the sound was not used, or empty."),
            )
        ),
        "Labels whose sound the clip has. null: the clip or the gallery has no sound.",
    ),
    label_scores=described(
        array(record(label=TEXT, share=NUMBER, frames=COUNT)), "The best label first."
    ),
    matches=described(array(MATCH), "The nearest picture of each of the best labels."),
    frame_answers=array(
        record(
            seconds=NUMBER,
            alone=described(_VERDICT, "The answer for this frame as a single picture."),
            fused=described(_VERDICT, "The answer for all frames so far."),
            independent=described(NUMBER, "Number of independent frames that these count as."),
        )
    ),
)
PHOTO_OR_CLIP = {
    "oneOf": [described(QUERY, "For a photo."), described(CLIP, "For a clip.")],
}
LABELS = record(labels=array(record(label=TEXT, pictures=PICTURES, codes=CODES)))
PICTURE_NAME = record(id=described(COUNT, "Id of its first code."), label=TEXT, source=TEXT)
PICTURE_PAIR = record(picture=PICTURE_NAME, other=PICTURE_NAME, similarity=NUMBER)
LABEL_ACCURACY = record(label=TEXT, pictures=COUNT, right=COUNT, unknown=COUNT, wrong=COUNT)
ADVICE = record(
    actions=described(array(TEXT), "One to three things to do, the most useful first."),
    pictures=PICTURES,
    labels=COUNT,
    queried=described(COUNT, "Pictures that were compared with the others."),
    note=described(TEXT, "Why pictures could not be compared, or empty."),
    accuracy=described(
        nullable(
            record(
                pictures=described(COUNT, "Pictures that were queried without themselves."),
                right=COUNT,
                unknown=COUNT,
                wrong=COUNT,
                first=described(COUNT, "Pictures whose own label is the most similar."),
                strangers=described(COUNT, "Pictures that were queried without their label."),
                strangers_named=COUNT,
                labels=array(LABEL_ACCURACY),
            )
        ),
        "Expected for new photos that are like the enrolled ones.",
    ),
    few=array(
        record(
            label=TEXT,
            pictures=described(COUNT, "Without near duplicates."),
            needed=described(COUNT, "More pictures, to have enough."),
            reason=TEXT,
        )
    ),
    mislabeled=described(
        array(
            record(
                picture=PICTURE_NAME,
                similarity=described(NUMBER, "To the other pictures of its label."),
                other=PICTURE_NAME,
                other_similarity=described(NUMBER, "To the other label."),
            )
        ),
        "Pictures that probably have the wrong label.",
    ),
    alike=described(
        array(
            record(
                label=TEXT,
                other_label=TEXT,
                mistaken=described(COUNT, "Pictures of both that may be mistaken."),
                checked=COUNT,
                picture=PICTURE_NAME,
                other=PICTURE_NAME,
                similarity=described(NUMBER, "Similarity of the two pictures."),
            )
        ),
        "Labels that are hard to tell apart.",
    ),
    duplicates=described(array(PICTURE_PAIR), "Almost the same picture under two labels."),
    repeated=described(array(PICTURE_PAIR), "Near duplicates under one label."),
    photos=record(
        checked=described(COUNT, "Pictures whose pixels were checked."),
        unavailable=described(COUNT, "Pictures that were not kept, and whose file is gone."),
        skipped=described(COUNT, "Pictures beyond the limit."),
        faulty=array(record(picture=PICTURE_NAME, fault=FAULT)),
    ),
)
ENROLLED = record(
    label=TEXT,
    pictures_added=described(COUNT, "1, or 0 if the picture is already enrolled."),
    codes_added=CODES,
    pictures_known=described(COUNT, "1 if the picture is already enrolled, otherwise 0."),
    pictures_completed=described(
        COUNT, "1 if it lacked features or the kept picture, which were added; otherwise 0."
    ),
    pictures=described(array(COUNT), "Ids of the added pictures: of the first code of each."),
    fault=described(nullable(FAULT), "What is wrong with the frame."),
)
REMOVED = record(label=TEXT, pictures_removed=PICTURES, codes_removed=CODES)
PICTURES_REMOVED = record(pictures_removed=PICTURES, codes_removed=CODES)
LOOK = record(
    hint=described(
        nullable({"enum": list(get_args(PhotoHint))}),
        "What would make a better picture; null: nothing.",
    ),
    nearest=described(
        array(record(label=TEXT, similarity=nullable(NUMBER), distance=COUNT)),
        "The labels that are most similar, the best first.",
    ),
    known_from=described(
        record(similarity=nullable(NUMBER), distance=nullable(COUNT)),
        "From which similarity, or up to which distance in bits, a label counts as known. One of "
        "them is null.",
    ),
)
HEALTH = {
    **record(
        status={"enum": ["ok", "failing"]},
        cameras=described(mapping(STATE), "State of each camera, by name."),
        frame_age_s=nullable(NUMBER),
        turn_age_s=NUMBER,
        engine=ENGINE,
        model_id=TEXT,
        gallery_generation=COUNT,
        gallery_fault=nullable(TEXT),
        last_error=nullable(TEXT),
    ),
    "required": ["status"],
    "description": "Without a required token, only status is present.",
}
REGION = record(
    name=described(nullable(TEXT), "null: the whole frame"),
    area=described(nullable(array(NUMBER)), "Left, top, width and height, 0 to 1."),
    labels=described(nullable(array(TEXT)), "null: all"),
    recognition=nullable(
        record(
            label=TEXT,
            confidence=CONFIDENCE,
            agreement=AGREEMENT,
            since_s=described(NUMBER, "Seconds that the label has been in view."),
        )
    ),
    age_s=described(nullable(NUMBER), "Age of the newest processed frame, seconds."),
    nearest=described(nullable(MATCH), "The picture nearest to that frame."),
    gate=record(enabled=FLAG, hashed=COUNT, unchanged=COUNT),
    hash_ms=described(nullable(NUMBER), "Milliseconds of the latest hash."),
    stage_ms=STAGE_MS,
)
CAMERA = record(
    name=TEXT,
    source=TEXT,
    state=STATE,
    state_s=described(NUMBER, "Seconds in this state."),
    fresh=described(FLAG, "Whether its frames are being recognized."),
    frame_age_s=nullable(NUMBER),
    fault=nullable(TEXT),
    restarts=COUNT,
    dropped=COUNT,
    damaged=COUNT,
    skipped=COUNT,
    hung=COUNT,
    fps=NUMBER,
    regions=array(REGION),
)
SERVER_STATUS = record(
    url=TEXT,
    asked=described(COUNT, "Codes that were sent."),
    answered=COUNT,
    failed=described(COUNT, "Codes whose question failed."),
    dropped=described(COUNT, "Codes that were not asked: too many, or soon after a failure."),
    version=described(TEXT, "Version of the server's codes; empty before the first answer."),
    last_error=described(nullable(TEXT), "null: the last question was answered."),
)
FLEET_STATUS = record(
    version=described(COUNT, "The signed version that was applied last."),
    newest=described(nullable(COUNT), "The newest signed version; null: the last poll failed."),
    pending=described(nullable(COUNT), "Pictures that this board proposes."),
    ready=described(FLAG, "Whether the last poll succeeded."),
    last_error=nullable(TEXT),
)
STATUS = record(
    version=TEXT,
    alive=FLAG,
    ready=FLAG,
    uptime_s=NUMBER,
    turn_age_s=described(NUMBER, "Seconds since the last iteration of the main loop."),
    frame_age_s=nullable(NUMBER),
    last_error=nullable(TEXT),
    frames=COUNT,
    faults=described(COUNT, "Frames that could not be processed."),
    events=COUNT,
    cameras=array(CAMERA),
    engine=ENGINE,
    model=record(id=TEXT, name=TEXT, version=TEXT, bits=COUNT),
    gallery=record(
        path=TEXT,
        fault=described(nullable(TEXT), "What is wrong with the file."),
        generation=COUNT,
        codes=CODES,
        labels=COUNT,
    ),
    sinks=mapping(
        record(
            published=COUNT,
            delivered=COUNT,
            dropped=COUNT,
            failed=COUNT,
            waiting=COUNT,
            last_error=nullable(TEXT),
        )
    ),
    threads=described(
        mapping(record(alive=FLAG, restarts=COUNT, last_error=nullable(TEXT))),
        "Helper threads by name, and those that read cameras. One that fails is restarted.",
    ),
    board=record(
        name=TEXT,
        temperature_c=nullable(NUMBER),
        throttling=nullable(array(TEXT)),
        slow=FLAG,
    ),
    unknowns=described(nullable(COUNT), "Groups in the inbox; null without [unknowns]."),
    server=described(nullable(SERVER_STATUS), "The server of codes; null without [server]."),
    fleet=described(nullable(FLEET_STATUS), "As the follower reported it; null without a fleet."),
    rss_bytes=COUNT,
    budget_ms=described(NUMBER, "Time budget per frame."),
    live_view=FLAG,
)

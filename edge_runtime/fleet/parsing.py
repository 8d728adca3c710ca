"""Operations from JSON objects that may contain anything."""

from __future__ import annotations

import base64
import json
import math
import re
from typing import Any

from edge_runtime.fleet.kinds import Add, Head, Label, Operation, Reject, Relabel, Remove
from edge_runtime.gallery.pictures import DIGEST_BYTES
from edge_runtime.gallery.records import LabelData, check_label
from edge_runtime.gallery.rows import MODEL_ID, MOST_BITS
from edge_runtime.position import Position

FORMAT = 1
MOST_VIEWS = 256
MOST_FEATURES = 1 << 14
MOST_SOURCE = 4096
MOST_VERSION = (1 << 53) - 1
_CONTENT = re.compile(r"[0-9a-f]{64}")
MALFORMED = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What these functions raise for malformed objects, beside `InputError`."""


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not a finite number")
    return value


decoder = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def head_from(value: dict[str, Any]) -> Head:
    """Return the head of a version; raises an error of `MALFORMED`."""
    number = value.get("edge_runtime_fleet")
    if number != FORMAT:
        raise ValueError(f"not a version of a gallery in format {FORMAT}")
    version, base, bits = value["version"], value["base"], value["bits"]
    model_id, content = _text(value, "model_id"), _text(value, "content")
    if not _is_count(version, 1, MOST_VERSION):
        raise ValueError("'version' must be a whole number from 1")
    if base is not None and not _is_count(base, 0, version - 1):
        raise ValueError("'base' must be null or an earlier version")
    if not _is_count(bits, 1, MOST_BITS):
        raise ValueError(f"'bits' must be from 1 to {MOST_BITS}")
    if not MODEL_ID.fullmatch(model_id):
        raise ValueError("'model_id' is not the id of a model")
    if not _CONTENT.fullmatch(content):
        raise ValueError("'content' is not a SHA-256 digest")
    return Head(version, base, model_id, bits, content)


def _is_count(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def from_object(value: dict[str, Any], bits: int) -> Operation:
    """Return the operation of a JSON object; raises `InputError` or an error of its types."""
    if len(value) != 1:
        raise ValueError("expected one operation per line")
    ((kind, inner),) = value.items()
    if not isinstance(inner, dict):
        raise TypeError(f"'{kind}' must be an object")
    match kind:
        case "add":
            return _add(inner, bits)
        case "remove":
            named = None if inner.get("digest") is None else _digest(inner)
            return Remove(_label(inner), named)
        case "relabel":
            return Relabel(_label(inner, "from"), _label(inner, "to"))
        case "label":
            return _label_data(inner)
        case "reject":
            return Reject(_digest(inner))
    raise ValueError(f"unknown operation '{kind}' (update edge-runtime)")


def _add(value: dict[str, Any], bits: int) -> Add:
    texts = _list(value, "codes", MOST_VIEWS)
    if not texts:
        raise ValueError("a picture needs a code")
    codes = tuple(_code(text, bits) for text in texts)
    features = None
    if value.get("features") is not None:
        listed = _list(value, "features", MOST_VIEWS)
        if len(listed) != len(codes):
            raise ValueError(f"{len(codes)} codes with {len(listed)} features")
        features = tuple(base64.b64decode(text, validate=True) for text in listed)
        if len({len(each) for each in features if each}) > 1 or (
            max(map(len, features)) > MOST_FEATURES
        ):
            raise ValueError(f"features must be of one length, up to {MOST_FEATURES}")
        features = features if any(features) else None
    position = None
    if (given := value.get("position")) is not None:
        latitude, longitude, *heading = (None if x is None else float(x) for x in given)
        if latitude is None or longitude is None or len(heading) > 1:
            raise ValueError("a position is [latitude, longitude, heading or null]")
        position = Position(latitude, longitude, *heading)
    source = _text(value, "source", "")
    if len(source) > MOST_SOURCE:
        raise ValueError(f"a source must not exceed {MOST_SOURCE} characters")
    return Add(_label(value), _digest(value), codes, features, position, source)


def _code(text: str, bits: int) -> bytes:
    code = bytes.fromhex(text)
    if len(code) != (bits + 7) // 8:
        raise ValueError(f"expected codes of {bits} bits, got {len(code)} bytes")
    if bits % 8 and code[-1] >> bits % 8:
        raise ValueError(f"a code has bits set beyond bit {bits}")
    return code


def _label_data(value: dict[str, Any]) -> Label:
    thumbnail = base64.b64decode(_text(value, "thumbnail", ""), validate=True)
    label, payload = _label(value), _text(value, "payload", "")
    LabelData(payload, thumbnail).checked(label)
    return Label(label, payload, thumbnail)


def _label(value: dict[str, Any], key: str = "label") -> str:
    return check_label(_text(value, key))


def _digest(value: dict[str, Any]) -> bytes:
    digest = bytes.fromhex(_text(value, "digest"))
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"a digest must have {DIGEST_BYTES} bytes, got {len(digest)}")
    return digest


def _text(value: dict[str, Any], key: str, missing: str | None = None) -> str:
    text = value[key] if missing is None else value.get(key, missing)
    if not isinstance(text, str):
        raise TypeError(f"'{key}' must be text")
    return text


def _list(value: dict[str, Any], key: str, most: int) -> list[str]:
    listed = value[key]
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise TypeError(f"'{key}' must be a list of text")
    if len(listed) > most:
        raise ValueError(f"'{key}' has more than {most} values")
    return listed

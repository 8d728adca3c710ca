"""Read what a request asks for, with a limit on everything."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.position import Position, QueryPosition, parse_position
from edge_runtime.server.codes import Content, Query, Scope, code_from_hex
from edge_runtime.web.photos import UploadError

MOST_CODES = 1000
"""Codes in one request."""
MOST_NEIGHBORS = 100
MOST_FEATURES = 4096
"""Numbers behind one code."""
MOST_BYTES = 2 << 20
"""Largest body of a request."""
METERS_PER_BIT = 25.0
NAMES = frozenset({"k", "r", "at", "within_m", "meters_per_bit", "model"})
"""Parameters of an address; a body has them too, with `codes` and `features`."""


def scope_of(given: Mapping[str, Any], bits: int) -> Scope:
    """Return the scope in the parameters of an address or a body; raises `InputError`."""
    k = _whole(given, "k", 1, MOST_NEIGHBORS)
    radius = _whole(given, "r", 0, bits)
    return Scope(5 if k is None else k, radius, _near(given))


def check_model(given: Mapping[str, Any], content: Content) -> None:
    """Raise `UploadError` if the codes come from another model than those that are searched."""
    model = given.get("model")
    if model is not None and model != content.model_id:
        raise UploadError(
            409,
            f"the codes searched come from model {content.model_id[:12]}, not {model!a:.14}",
            "hash with the model of the server",
        )


def check_names(given: Mapping[str, Any], *more: str) -> None:
    """Raise `InputError` for a parameter that does not exist: its writer meant something."""
    wrong = sorted(set(given) - NAMES - set(more))
    if wrong:
        known = ", ".join(sorted({*more, *NAMES}))
        raise InputError(f"there is no parameter {wrong[0]!a:.40}", remedy=f"use {known}")


def queries_of(body: Mapping[str, Any], bits: int) -> list[Query]:
    """Return the queries in a request's body; raises `InputError`."""
    check_names(body, "codes", "features")
    scope = scope_of(body, bits)
    codes = body.get("codes")
    if not isinstance(codes, list) or not 1 <= len(codes) <= MOST_CODES:
        raise InputError(f"codes must be a list of 1 to {MOST_CODES} codes")
    features = body.get("features")
    if features is None:
        features = [None] * len(codes)
    if not isinstance(features, list) or len(features) != len(codes):
        raise InputError("features must be a list with one entry for each code")
    return [
        Query(code_from_hex(code if isinstance(code, str) else "", bits), scope, _features(values))
        for code, values in zip(codes, features, strict=True)
    ]


def _features(text: object) -> NDArray[np.float32] | None:
    if text is None:
        return None
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        data = b""
    if not 1 <= len(data) <= MOST_FEATURES:
        raise InputError(
            "features must be base64 of one signed byte per number",
            remedy=f"send at most {MOST_FEATURES} numbers",
        )
    return np.frombuffer(data, np.int8).astype(np.float32)


def _near(given: Mapping[str, Any]) -> QueryPosition | None:
    at = given.get("at")
    within, per_bit = _number(given, "within_m"), _number(given, "meters_per_bit")
    if at is None:
        if within is not None or per_bit is not None:
            raise InputError("within_m and meters_per_bit need a position", remedy="send at")
        return None
    position = _position(at)
    return QueryPosition(position, within, METERS_PER_BIT if per_bit is None else per_bit)


def _position(at: object) -> Position:
    if not isinstance(at, str) or len(at) > 100:
        raise InputError("at must be a text LATITUDE,LONGITUDE[,HEADING]")
    return parse_position(at)


def _whole(given: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = given.get(name)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 6:
        value = int(value)
    if value is not None and not (type(value) is int and low <= value <= high):
        raise InputError(f"{name} must be a whole number from {low} to {high}, got {value!a:.40}")
    return value


def _number(given: Mapping[str, Any], name: str) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, str) and len(value) <= 40:
            value = json.loads(value)
        if type(value) in (int, float):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise InputError(f"{name} must be a number, got {value!a:.40}")

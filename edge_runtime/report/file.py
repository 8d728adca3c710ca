"""Reports as files: written whole or not at all, checked when read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec

from edge_runtime.errors import ReportError, discard, storage_error
from edge_runtime.report.schema import SCHEMA_VERSION, Report

MAX_BYTES = 1 << 28
"""Twice what a million samples take, the most that can be asked for."""


def to_json(report: Report) -> bytes:
    """A line for each of the report's parts: readable, and small with many samples."""
    parts = (
        f'"{name}": '.encode() + _encoded(getattr(report, name))
        for name in report.__struct_fields__
    )
    return b"{\n" + b",\n".join(parts) + b"\n}\n"


def _encoded(part: object) -> bytes:
    try:
        return msgspec.json.encode(part)
    except UnicodeEncodeError:  # the name of a file need not be UTF-8, as JSON must
        return msgspec.json.encode(_readable(msgspec.to_builtins(part)))


def _readable(value: Any) -> Any:
    """`value` with the bytes that are no UTF-8 written out, as in caf\\udce9."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_readable(item) for item in value]
    if isinstance(value, dict):
        return {_readable(name): _readable(item) for name, item in value.items()}
    return value


def check_place(path: Path) -> None:
    """Whether a report can be kept in the file `path`, which is left as it is; raises
    `StorageError`."""
    new = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.touch()
    except OSError as error:
        raise storage_error(error, path) or ReportError(str(error), where=path) from error
    finally:
        discard(new)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def write_report(path: Path, report: Report) -> None:
    """Replace the file `path`, durably; raises `StorageError`."""
    new = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new.open("wb") as file:
            file.write(to_json(report))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        discard(new)
        raise storage_error(error, path) or ReportError(str(error), where=path) from error


def read_report(path: Path) -> Report:
    """The report in the file `path`; raises `ReportError`."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ReportError("larger than any report", where=path)
        data = path.read_bytes()
    except OSError as error:
        fault = storage_error(error, path)
        raise ReportError(
            fault.what if fault else str(error),
            where=path,
            remedy="edge-runtime profile --out FILE makes one",
        ) from error
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ReportError("truncated, or not JSON", where=path, remedy="copy it again") from error
    version = found.get("schema_version") if isinstance(found, dict) else None
    if version is None:
        raise ReportError("JSON, but not a report of edge-runtime profile", where=path)
    if version != SCHEMA_VERSION:
        raise ReportError(
            f"its schema is version {version}, this program reads {SCHEMA_VERSION}",
            where=path,
            remedy="read it with the version of edge-runtime that wrote it, or measure again",
        )
    try:
        return msgspec.convert(found, Report)
    except msgspec.ValidationError as error:
        raise ReportError(f"damaged: {error}", where=path, remedy="copy it again") from error

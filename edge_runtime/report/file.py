"""Read and write reports. Files are replaced atomically and validated when read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from edge_runtime.errors import ReportError, storage_error
from edge_runtime.report.schema import SCHEMA_VERSION, Report
from edge_runtime.system.durable import make_folder, write_file
from edge_runtime.system.files import discard

MAX_BYTES = 1 << 28
"""Twice the size of a report with a million samples, the maximum of --samples."""


def to_json(report: Report) -> bytes:
    """Return the report as JSON with one line per part: readable, and small with many samples."""
    parts = (
        f'"{name}": '.encode() + _encoded(getattr(report, name))
        for name in report.__struct_fields__
    )
    return b"{\n" + b",\n".join(parts) + b"\n}\n"


def _encoded(part: object) -> bytes:
    try:
        return msgspec.json.encode(part)
    except UnicodeEncodeError:  # JSON must be UTF-8, but the name of a file need not be
        return msgspec.json.encode(_readable(msgspec.to_builtins(part)))


def _readable(value: Any) -> Any:
    """Return `value` with bytes that are not UTF-8 escaped, as in caf\\udce9."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_readable(item) for item in value]
    if isinstance(value, dict):
        return {_readable(name): _readable(item) for name, item in value.items()}
    return value


def check_writable(path: Path) -> None:
    """Check that a report can be written to `path`, without touching the file.

    Raises `StorageError`.
    """
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.touch()
    except OSError as error:
        raise storage_error(error, path) or ReportError(str(error), where=path) from error
    finally:
        discard(new)


def write_report(path: Path, report: Report) -> None:
    """Replace the file `path` atomically and durably; raises `StorageError`."""
    try:
        make_folder(path.parent)
        write_file(path, to_json(report))
    except OSError as error:
        raise storage_error(error, path) or ReportError(str(error), where=path) from error


def read_report(path: Path) -> Report:
    """Read the report in the file `path`; raises `ReportError`."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ReportError(f"larger than {MAX_BYTES >> 20} MiB: not a report", where=path)
        data = path.read_bytes()
    except OSError as error:
        fault = storage_error(error, path)
        raise ReportError(
            fault.what if fault else str(error),
            where=path,
            remedy="create one with: edge-runtime profile --out FILE",
        ) from error
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ReportError("truncated, or not JSON", where=path, remedy="copy it again") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version is None:
        raise ReportError("not a report of edge-runtime profile", where=path)
    if version != SCHEMA_VERSION:
        raise ReportError(
            f"schema version {version} is not supported (expected {SCHEMA_VERSION})",
            where=path,
            remedy="read it with the version of edge-runtime that wrote it, or measure again",
        )
    try:
        return msgspec.convert(document, Report)
    except msgspec.ValidationError as error:
        raise ReportError(f"corrupt: {error}", where=path, remedy="copy it again") from error
